"""Recipe of `universal`: the weights of :mod:`.universal_first`, taught further by several networks.

The blocks (:mod:`..taught_blocks`) hold the weights to begin with. docs/universal_training.md says what was
tried, and what the weights are worth.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.universal.pairs import SIDE, THICK, CorrectionPair, collate, pair_between
from ThickToThinSRLib.weights.checkpoint import Weights

from ..rates import cosine_fall
from ..recipe import Batch
from ..taught import NAMES, TEACHER, TaughtBlock, in_hu, read_block
from ..universal_pairs import CROP
from . import universal_first

# Share of the taught thin slices in the target; the rest is the truth, without the teachers' errors.
_TAUGHT = 0.7
# Share of the first weights in those that ship. Half way between both, what the second part has unlearned is
# back, and what it has learned stays (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
_KEPT = 0.5
# Pixels at the border of a block in which the teachers saw too little.
_BORDER = 16


class Taught:
    """Training pairs of blocks with taught thin slices."""

    def __init__(self, data: Path, leave_out: list[str]):
        paths = sorted(data.glob("block_*.npz"))
        if not paths or leave_out:
            raise UserError(
                f"{data}: scans are left out when blocks are made (python -m training.bundled.taught_blocks)"
                if paths
                else f"{data}: no blocks; make them by python -m training.bundled.taught_blocks"
            )
        self.blocks = [read_block(path) for path in paths]
        self.names = json.loads((data / NAMES).read_text(encoding="utf-8"))
        self.teacher = data / TEACHER

    def batch(self, generator: np.random.Generator, step: int, settling: bool) -> Batch:
        chosen = generator.integers(0, len(self.blocks), universal_first.PAIRS)
        return collate([draw_pair(self.blocks[index], generator) for index in chosen])


def draw_pair(block: TaughtBlock, generator: np.random.Generator) -> CorrectionPair:
    """A pair around two random neighbouring thick slices of the block, and at a random place in it."""
    slices, height, width = block.thick.shape
    below = int(generator.integers(0, slices - THICK + 1))
    row, column = (int(generator.integers(_BORDER, size - CROP - _BORDER + 1)) for size in (height, width))
    crop = (slice(None), slice(row, row + CROP), slice(column, column + CROP))
    thick = in_hu(block.thick[below : below + THICK][crop])
    positions = np.arange(len(block.truth)) * (block.step / block.assumed.spacing) - (below + SIDE)
    near = np.flatnonzero(np.abs(positions - 0.5) < 1)
    truth, taught = (in_hu(voxels[near][crop]) for voxels in (block.truth, block.taught))
    thin = _TAUGHT * taught + (1 - _TAUGHT) * truth
    return pair_between(thick, (thin, positions[near]), block.assumed, block.pixel, generator)


def _first(source: Taught) -> dict[str, torch.Tensor]:
    """The weights of the first teacher."""
    state = Weights.open(source.teacher).load().state_dict()
    return {key: value.float() for key, value in state.items()}


def _start(network: torch.nn.Module, source: Taught) -> None:
    """The first teacher's weights, in the layout that convolutions on the CPU are fastest with."""
    network.load_state_dict(_first(source))
    network.to(memory_format=torch.channels_last)


def _finish(mean: dict[str, torch.Tensor], source: Taught) -> dict[str, torch.Tensor]:
    """Weights between the first ones and those that were learned."""
    return {key: torch.lerp(mean[key], first, _KEPT) for key, first in _first(source).items()}


RECIPE = replace(
    universal_first.RECIPE,
    name="universal",
    source=Taught,
    start=_start,
    finish=_finish,
    relative_rate=cosine_fall,
    steps=2500,
    settling=2500,
    rate=3e-4,
    card={**universal_first.RECIPE.card, "version": "1.3"},
)
