"""A part of a training scan, with a teacher's estimates of it, as bytes and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .packed_arrays import estimate_slices, pack_estimate, pack_scan, unpack_estimate, unpack_scan

FACTOR = 5


@dataclass(frozen=True)
class Block:
    """A part of a scan.

    Attributes
    ----------
    truth : ndarray, shape (slices, rows, columns), int16
        HU.
    teacher : dict of int to ndarray
        The teacher's estimate for each phase, int16; see :class:`training.bundled.distilled.DistilledScan`.
    factor : int
        The teacher's upsampling factor.
    """

    truth: np.ndarray
    teacher: dict[int, np.ndarray]
    factor: int

    def part(self, places: Sequence[slice]) -> Block:
        """What lies at these places, the first of which starts at a multiple of the factor."""
        slices, rows, columns = places
        count, kept = slices.stop - slices.start, {}
        for phase, estimate in self.teacher.items():
            stop = slices.start + estimate_slices(count, phase, self.factor)
            kept[phase] = estimate[slices.start : stop, rows, columns]
        return Block(self.truth[slices, rows, columns], kept, self.factor)


def part_names(phases: Iterable[int]) -> list[str]:
    """Names of the parts that :func:`pack_block` gives for a block with estimates of these phases."""
    return ["", *(f".teacher_{phase}" for phase in phases)]


def pack_block(block: Block, step: int) -> dict[str, bytes]:
    """The bytes of a block's parts; HU are rounded to multiples of `step`."""
    scan = pack_scan(block.truth, step)
    truth = unpack_scan(scan, block.truth.shape, step)
    estimates = [
        pack_estimate(estimate, truth, phase, block.factor, step) for phase, estimate in block.teacher.items()
    ]
    return dict(zip(part_names(block.teacher), [scan, *estimates], strict=True))


def unpack_block(parts: dict[str, bytes], facts: dict[str, Any], step: int) -> Block:
    """A block of the ``shape``, ``factor`` and ``phases`` in `facts` from what :func:`pack_block` gave."""
    scan, *estimates = (parts[name] for name in part_names(facts["phases"]))
    truth, factor = unpack_scan(scan, tuple(facts["shape"]), step), facts["factor"]
    teacher = {
        phase: unpack_estimate(packed, truth, phase, factor, step)
        for phase, packed in zip(facts["phases"], estimates, strict=True)
    }
    return Block(truth, teacher, factor)
