"""Random crops of prepared pairs, as the authors of TVSRN draw them.

Seed and step number alone decide the crop of a step, however many processes and loader workers share the
work. So an interrupted run continues with the same crops, and two processes together see the same crops as
one process with twice the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.networks.registry import WindowSpec

from ..ranks import Ranks
from .cases import Case, ScanPair


@dataclass(frozen=True)
class CropPlan:
    """How crops are drawn.

    Attributes
    ----------
    side : int
        In-plane size, pixels.
    flip : float
        Probability of a flip from left to right.
    per_case : int
        Crops of each case in an epoch (1 in the released code).
    seed : int
        Decides order, places and flips.
    fixed : bool
        Always the same crop, to see whether a network can memorize it.
    """

    side: int
    flip: float
    per_case: int
    seed: int
    fixed: bool = False


class Crops(torch.utils.data.Dataset):
    """Pairs of crops by their number 0, 1, 2, ... without end; an epoch has ``len(self)`` of them.

    Parameters
    ----------
    cases : sequence of Case
        Prepared cases, so that a crop is read without the rest of its volume.
    window : WindowSpec
        How many thick slices the network reads, and which thin slices it predicts.
    plan : CropPlan
        How crops are drawn.

    Raises
    ------
    UserError
        If a case is smaller than a crop.
    """

    def __init__(self, cases: Sequence[Case], window: WindowSpec, plan: CropPlan):
        self.cases, self.window, self.plan = list(cases), window, plan
        self.pairs: dict[int, ScanPair] = {}
        for case in self.cases:
            check_crop(case.name, case.geometry["thick"]["shape"], window, plan.side)

    def __len__(self) -> int:
        return len(self.cases) * self.plan.per_case

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, str]:
        """Thick (1, D, side, side) and thin (1, outputs, side, side) in [0, 1], and where they come from."""
        epoch, place = divmod(0 if self.plan.fixed else int(number), len(self))
        order = np.random.default_rng([self.plan.seed, epoch]).permutation(len(self))
        index = int(order[place]) % len(self.cases)
        rng = np.random.default_rng([self.plan.seed, epoch, place])
        if index not in self.pairs:
            self.pairs[index] = self.cases[index].read()
        return self._crop(self.pairs[index], self.cases[index].name, rng)

    def _crop(
        self, pair: ScanPair, name: str, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, str]:
        window, side = self.window, self.plan.side
        slices, height, width = pair.thick.voxels.shape
        # As in the released code: never at the last possible slice.
        z = int(rng.integers(0, max(1, slices - window.depth)))
        y, x = (int(rng.integers(0, size - side + 1)) for size in (height, width))
        plane = (slice(y, y + side), slice(x, x + side))
        first = window.factor * z + window.first_output
        thick = pair.thick.voxels[(slice(z, z + window.depth), *plane)]
        thin = pair.thin.voxels[(slice(first, first + window.outputs), *plane)]
        if rng.random() < self.plan.flip:
            thick, thin = thick[..., ::-1], thin[..., ::-1]
        return _tensor(thick), _tensor(thin), f"{name} at slice {z}, row {y}, column {x}"


def check_crop(name: str, shape: Sequence[int], window: WindowSpec, side: int) -> None:
    """Raise a UserError if a case is smaller than a crop.

    Parameters
    ----------
    name : str
        Name of the case.
    shape : 3 ints
        Its thick slices, their rows and columns.
    window : WindowSpec
        How many thick slices the network reads.
    side : int
        In-plane side of the crop, pixels.
    """
    if shape[0] < window.depth or min(shape[1:]) < side:
        raise UserError(
            f"case {name}: {shape[0]} thick slices of {shape[2]} x {shape[1]} pixels are smaller than a crop "
            f"of {window.depth} x {side} x {side}: set a smaller crop, or leave the case out"
        )


class StepSampler(torch.utils.data.Sampler):
    """Numbers of the crops of each step, for one process of several.

    Parameters
    ----------
    steps : range
        The steps to do.
    batch : int
        Crops of one process in a step.
    ranks : Ranks
        This process among the others.
    crops_per_epoch : int
        Crops of an epoch, for all processes together. If they do not fill the epoch's last step, the first
        crops of the next epoch fill it.
    """

    def __init__(self, steps: range, batch: int, ranks: Ranks, crops_per_epoch: int):
        self.steps, self.batch, self.ranks, self.crops_per_epoch = steps, batch, ranks, crops_per_epoch

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        steps_per_epoch = -(-self.crops_per_epoch // (self.batch * self.ranks.world))
        for step in self.steps:
            epoch, place = divmod(step, steps_per_epoch)
            share = place * self.ranks.world + self.ranks.rank
            start = epoch * self.crops_per_epoch + share * self.batch
            yield list(range(start, start + self.batch))


def _tensor(hu: np.ndarray) -> torch.Tensor:
    unit = np.clip(to_unit(np.asarray(hu, np.float32)), 0.0, 1.0)
    return torch.from_numpy(np.ascontiguousarray(unit))[None]
