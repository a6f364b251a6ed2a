"""SR4ZCT's self-supervision: a scan's own axial slices teach what its thick slices lack.

Each axial slice, degraded along its rows as the scanner degrades along the through-plane axis, gives a plane
whose truth is known; degraded along its columns, and turned, another one. A network that learns to undo this
is then applied to planes that hold the through-plane axis.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from ...acquisition import Acquisition
from ...errors import Cancelled
from ...intensity import HU_WINDOW
from .planes import (
    RESIDUAL_SCALE,
    PlaneInterpolation,
    along_rows,
    describe,
    network_input,
    thick_matrix,
    thin_matrix,
)

_HELD_OUT_EVERY = 8  # of the slices
_BODY_HU = -700.0
# Held-out slices are looked at this often in a budget, but not after fewer steps; so many looks without
# improvement end it.
_LOOKS, _STEPS_BETWEEN_LOOKS, _PATIENCE = 12, 25, 5
_HELD_OUT_BATCHES = 4
_RATE = 1e-3
# Of trained weights: faster, they unlearn what they know of through-plane detail (0.1 to 0.3 dB at 1e-4).
_FINE_RATE = 3e-5
_CROP, _CROPS = 96, 8


@dataclass(frozen=True)
class Budget:
    """How long to adapt: for `seconds`, or for `epochs` passes over the scan's slices.

    Attributes
    ----------
    fine : bool
        Whether the weights are trained already: smaller steps then.
    """

    seconds: float | None = None
    epochs: int | None = None
    fine: bool = False

    @property
    def nothing(self) -> bool:
        return not (self.seconds or self.epochs)


class _Direction:
    """The maps that degrade slices along one in-plane axis."""

    def __init__(self, rows, pixel, across, acquisition, target_spacing, device, described):
        self.truth = thin_matrix(rows, pixel, target_spacing)
        self.thick = thick_matrix(rows, pixel, acquisition)
        count = len(self.truth)
        self.interpolate = PlaneInterpolation(acquisition, len(self.thick), count, target_spacing, device)
        self.description = describe(count, acquisition, target_spacing, across) if described else None


class Pairs:
    """Training pairs of one volume.

    Parameters
    ----------
    slices : ndarray, shape (M, rows, columns)
        The thick axial slices in HU.
    pixels : tuple of 2 floats
        Spacing of rows and of columns, mm.
    acquisition : Acquisition
        How the slices were made; how they are degraded once more.
    target_spacing : float
        Slice spacing to train for, mm.
    device : torch.device
    described : bool
        Whether the network reads the description of the acquisition.
    whole : bool
        Whether a step is one whole slice, and its squared error counts, as in the paper; else a step has
        crops of several slices, and the absolute error counts.
    seed : int
        Of the choice of slices, crops and flips.
    """

    def __init__(
        self,
        slices: np.ndarray,
        pixels: tuple[float, float],
        acquisition: Acquisition,
        target_spacing: float,
        device: torch.device,
        described: bool,
        whole: bool = False,
        seed: int = 0,
    ):
        self.slices, self.seed, self.device, self.squared = slices, seed, device, whole
        self.count, self.side = (1, 1 << 30) if whole else (_CROPS, _CROP)
        self.directions = [
            _Direction(
                slices.shape[1 + axis], pixels[axis], pixels[1 - axis], acquisition, target_spacing, device,
                described,
            )
            for axis in (0, 1)
        ]  # fmt: skip
        numbers = np.arange(len(slices))
        held_out = numbers % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2
        # Too few slices to spare any: they judge themselves.
        self.trained = numbers[~held_out]
        self.held_out = numbers[held_out] if held_out.any() else numbers

    def steps_per_epoch(self) -> int:
        """Steps that see as many pixels as both directions of every training slice have."""
        sizes = [(len(d.truth), self.slices.shape[2 - axis]) for axis, d in enumerate(self.directions)]
        crops = sum(max(1.0, height / self.side) * max(1.0, width / self.side) for height, width in sizes)
        return math.ceil(len(self.trained) * crops / self.count)

    def batch(self, step: int, held_out: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Network input (count, channels, h, w) and difference to predict (count, 1, h, w) of a step."""
        random = np.random.default_rng([self.seed, int(held_out), step])
        axis = step % 2
        direction = self.directions[axis]
        chosen = self.held_out if held_out else self.trained
        images = [self._strip(random, int(random.choice(chosen)), axis) for _ in range(self.count)]
        strips = torch.from_numpy(np.stack(images)).to(self.device)  # (count, rows, side)
        truth = along_rows(direction.truth, strips)
        base = direction.interpolate(along_rows(direction.thick, strips))
        first = int(random.integers(0, max(1, truth.shape[1] - self.side + 1)))
        kept = slice(first, first + self.side)
        base, truth = base[:, kept], truth[:, kept]
        described = None if direction.description is None else direction.description[:, kept]
        difference = (truth.clamp(*HU_WINDOW) - base.clamp(*HU_WINDOW)) * RESIDUAL_SCALE
        return network_input(base, described), difference[:, None]

    def _strip(self, random: np.random.Generator, number: int, axis: int) -> np.ndarray:
        """All rows, and `side` columns that show some of the body, of a slice; flipped at random."""
        image = self.slices[number] if axis == 0 else self.slices[number].T
        width = min(self.side, image.shape[1])
        for _ in range(20):
            first = int(random.integers(0, image.shape[1] - width + 1))
            strip = image[:, first : first + width]
            if strip.mean() > _BODY_HU:
                break
        strip = strip[::-1] if random.random() < 0.5 else strip
        strip = strip[:, ::-1] if random.random() < 0.5 else strip
        return np.ascontiguousarray(strip, np.float32)


def adapt(
    network: torch.nn.Module, pairs: Pairs, budget: Budget, precision: str, progress, cancelled, say
) -> dict:
    """Train `network` in place on pairs of one scan; it ends with the weights best on held-out slices.

    Returns
    -------
    dict
        ``steps``; ``before_db`` and ``after_db``, the gain over the interpolation on held-out slices.

    Raises
    ------
    Cancelled
        If `cancelled` said so.
    """
    optimiser = torch.optim.Adam(network.parameters(), _FINE_RATE if budget.fine else _RATE)
    clock, judge = _Clock(budget, pairs), _Judge(network, pairs, precision)
    before = judge.look()
    step = 0
    while clock.left(step):
        if cancelled():
            raise Cancelled
        for group in optimiser.param_groups:
            # Half a cosine, with a short start.
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * clock.rate(step)
        network.train()
        error = _error(network, *pairs.batch(step), precision)
        loss = error.square().mean() if pairs.squared else error.abs().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        if clock.time_to_look(step) or not clock.left(step):
            judge.look()
            if judge.looks_without_improvement >= _PATIENCE:
                say(f"adaptation: held-out slices stopped improving after {step} steps")
                break
        progress(f"adaptation (held-out slices {judge.best:+.2f} dB)", *clock.done(step))
    judge.restore()
    say(
        f"adaptation: {step} steps; gain over the interpolation on held-out slices {before:.2f} dB before, "
        f"{judge.best:.2f} dB after"
    )
    return {"steps": step, "before_db": before, "after_db": judge.best}


def _error(network, x: torch.Tensor, difference: torch.Tensor, precision: str) -> torch.Tensor:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        predicted = network(x.contiguous(memory_format=torch.channels_last))
    return predicted.float() - difference


class _Judge:
    """Gain over the interpolation on held-out slices, in dB; keeps the best weights."""

    def __init__(self, network, pairs: Pairs, precision: str):
        self.network, self.precision = network, precision
        self.batches = [pairs.batch(number, held_out=True) for number in range(_HELD_OUT_BATCHES)]
        self.best, self.weights, self.looks_without_improvement = -math.inf, None, 0

    def look(self) -> float:
        """The present gain."""
        self.network.eval()
        with torch.no_grad():
            left = sum(float(_error(self.network, *b, self.precision).square().mean()) for b in self.batches)
        lacking = sum(float(difference.square().mean()) for _, difference in self.batches)
        found = 10 * math.log10(lacking / left) if lacking > 0 and left > 0 else 0.0
        if found > self.best:
            self.best, self.looks_without_improvement = found, 0
            self.weights = {key: value.clone() for key, value in self.network.state_dict().items()}
        else:
            self.looks_without_improvement += 1
        return found

    def restore(self) -> None:
        """Give the network the best weights seen."""
        self.network.load_state_dict(self.weights)
        self.network.eval()


class _Clock:
    """How far a budget is spent, in seconds or in steps."""

    def __init__(self, budget: Budget, pairs: Pairs):
        self.seconds, self.started = budget.seconds, time.monotonic()
        self.steps = None if budget.epochs is None else budget.epochs * pairs.steps_per_epoch()
        self.looked, self.looked_step = 0.0, 0

    def spent(self, step: int) -> float:
        """Share of the budget that is spent."""
        if self.steps is not None:
            return step / self.steps
        return (time.monotonic() - self.started) / self.seconds

    def left(self, step: int) -> bool:
        return self.spent(step) < 1

    def rate(self, step: int) -> float:
        """Share of the full learning rate: up over 20 steps, down by half a cosine."""
        return min(1.0, (step + 1) / 20, 0.5 * (1 + math.cos(math.pi * min(1.0, self.spent(step)))) + 0.01)

    def done(self, step: int) -> tuple[int, int]:
        """Done and total, for the progress."""
        if self.steps is not None:
            return step, self.steps
        return min(1000, int(1000 * self.spent(step))), 1000

    def time_to_look(self, step: int) -> bool:
        """Whether a twelfth of the budget has passed since the last look, and not too few steps."""
        if self.spent(step) - self.looked < 1 / _LOOKS or step - self.looked_step < _STEPS_BETWEEN_LOOKS:
            return False
        self.looked, self.looked_step = self.spent(step), step
        return True
