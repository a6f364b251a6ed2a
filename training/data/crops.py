"""Random crops of prepared pairs, as the authors of TVSRN draw them.

Which crop comes at which step follows from the seed and the step's number alone, however many processes and
loader workers share the work. So an interrupted run goes on as if nothing had been, and two processes see
together what one with the double batch sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.networks.registry import WindowSpec

from .cases import Case, Pair


@dataclass(frozen=True)
class CropPlan:
    """How crops are drawn.

    Attributes
    ----------
    side : int
        In-plane size in pixels.
    flip : float
        Probability of a flip from left to right.
    per_case : int
        Crops of each case in an epoch; one in the released code.
    seed : int
        Decides order, places and flips.
    fixed : bool
        The same crop always: to see whether a network can learn it by heart.
    """

    side: int
    flip: float
    per_case: int
    seed: int
    fixed: bool = False


class Crops(torch.utils.data.Dataset):
    """Pairs of crops by their number n = 0, 1, 2, ... without end; an epoch is ``len(self)`` of them.

    Parameters
    ----------
    cases : sequence of Case
        Prepared ones, so that a crop is read without the rest of its volume.
    window : WindowSpec
        Of the network: how many thick slices it reads, which thin ones it predicts.
    """

    def __init__(self, cases: Sequence[Case], window: WindowSpec, plan: CropPlan):
        self.cases, self.window, self.plan = list(cases), window, plan
        self.pairs: dict[int, Pair] = {}
        for case in self.cases:
            shape = case.geometry["thick"]["shape"]
            if shape[0] < window.depth or min(shape[1:]) < plan.side:
                size = f"{window.depth} x {plan.side} x {plan.side}"
                raise UserError(
                    f"case {case.name}: {shape[0]} thick slices of {shape[2]} x {shape[1]} pixels are "
                    f"smaller than a crop of {size}: set a smaller crop, or leave the case out"
                )

    def __len__(self) -> int:
        return len(self.cases) * self.plan.per_case

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, str]:
        """Thick (1, D, side, side) and thin (1, outputs, side, side) in [0, 1], and where they are from."""
        epoch, place = divmod(0 if self.plan.fixed else int(number), len(self))
        order = np.random.default_rng([self.plan.seed, epoch]).permutation(len(self))
        index = int(order[place]) % len(self.cases)
        rng = np.random.default_rng([self.plan.seed, epoch, place])
        if index not in self.pairs:
            self.pairs[index] = self.cases[index].read()
        return self._crop(self.pairs[index], self.cases[index].name, rng)

    def _crop(
        self, pair: Pair, name: str, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, str]:
        window, side = self.window, self.plan.side
        slices, height, width = pair.thick.voxels.shape
        # As released: never at the last possible slice.
        z = int(rng.integers(0, max(1, slices - window.depth)))
        y, x = (int(rng.integers(0, size - side + 1)) for size in (height, width))
        plane = (slice(y, y + side), slice(x, x + side))
        first = window.factor * z + window.first_output
        thick = pair.thick.voxels[(slice(z, z + window.depth), *plane)]
        thin = pair.thin.voxels[(slice(first, first + window.outputs), *plane)]
        if rng.random() < self.plan.flip:
            thick, thin = thick[..., ::-1], thin[..., ::-1]
        return _tensor(thick), _tensor(thin), f"{name} at slice {z}, row {y}, column {x}"


class StepSampler(torch.utils.data.Sampler):
    """The numbers of the crops of each step from `first` to `last`, for one process of several.

    Parameters
    ----------
    batch : int
        Crops that one process takes at a step.
    steps_per_epoch : int
        Where the crops of an epoch do not fill its last step, those of the next epoch's start fill it.
    """

    def __init__(
        self, first: int, last: int, batch: int, rank: int, world: int, steps_per_epoch: int, epoch: int
    ):
        self.first, self.last, self.batch, self.rank, self.world = first, last, batch, rank, world
        self.steps_per_epoch, self.epoch = steps_per_epoch, epoch

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            epoch, place = divmod(step, self.steps_per_epoch)
            start = epoch * self.epoch + (place * self.world + self.rank) * self.batch
            yield list(range(start, start + self.batch))


def _tensor(hu: np.ndarray) -> torch.Tensor:
    unit = np.clip(to_unit(np.asarray(hu, np.float32)), 0.0, 1.0)
    return torch.from_numpy(np.ascontiguousarray(unit))[None]
