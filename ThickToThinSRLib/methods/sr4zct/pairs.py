"""SR4ZCT's self-supervision: training pairs from the axial slices of the scan.

An axial slice is sharp in both directions. Averaging and sampling it along one in-plane axis, as the scanner
does along the through-plane axis, gives an image like a coronal or sagittal plane, with known truth. A
network that learns to undo this is then applied to the real coronal and sagittal planes.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ...acquisition import Acquisition
from ...consistency import ConsistentInterpolation
from ...intensity import HU_WINDOW
from .planes import (
    RESIDUAL_SCALE,
    acquisition_channels,
    along_rows,
    plane_input,
    thick_matrix,
    thin_matrix,
)

_HELD_OUT_EVERY = 8  # slices
_HELD_OUT_BATCHES = 4
_BODY_HU = -700.0
_CROP, _CROPS = 96, 8


class _Direction:
    """The operators that degrade slices along one in-plane axis."""

    def __init__(self, rows, pixel, across, acquisition, target_spacing, described):
        self.truth = thin_matrix(rows, pixel, target_spacing)
        self.thick = thick_matrix(rows, pixel, acquisition)
        count = len(self.truth)
        self.interpolate = ConsistentInterpolation(acquisition, len(self.thick), count, target_spacing)
        self.description = None
        if described:
            self.description = acquisition_channels(count, acquisition, target_spacing, across)


class PlanePairs:
    """Training pairs of one volume.

    Parameters
    ----------
    slices : ndarray, shape (M, rows, columns)
        The thick axial slices in HU.
    pixels : tuple of 2 floats
        Spacing of rows and of columns, mm.
    acquisition : Acquisition
        The acquisition of the slices; simulated again along an in-plane axis.
    target_spacing : float
        Slice spacing to train for, mm.
    device : torch.device
        Device of the batches.
    described : bool
        Whether the network reads the description of the acquisition.
    whole : bool
        True: a batch is one whole slice, and the loss is the squared error, as in the paper. False: a batch
        has crops of several slices, and the loss is the absolute error.
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
    ):
        self.slices, self.device, self.squared = slices, device, whole
        self.count, self.side = (1, 1 << 30) if whole else (_CROPS, _CROP)
        self.directions = [
            _Direction(
                slices.shape[1 + axis], pixels[axis], pixels[1 - axis], acquisition, target_spacing, described
            )
            for axis in (0, 1)
        ]  # fmt: skip
        numbers = np.arange(len(slices))
        held_out = numbers % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2
        # With too few slices to hold any out, validate on the training slices.
        self.trained = numbers[~held_out]
        self.held_out = numbers[held_out] if held_out.any() else numbers

    def steps_per_epoch(self) -> int:
        """Number of steps whose batches have as many pixels as all training slices in both directions."""
        sizes = [(len(d.truth), self.slices.shape[2 - axis]) for axis, d in enumerate(self.directions)]
        crops = sum(max(1.0, height / self.side) * max(1.0, width / self.side) for height, width in sizes)
        return math.ceil(len(self.trained) * crops / self.count)

    def batch(self, step: int, held_out: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of a step.

        Returns
        -------
        inputs : torch.Tensor, shape (count, channels, h, w)
            Interpolated planes with the description of the acquisition.
        difference : torch.Tensor, shape (count, 1, h, w)
            Target: truth minus interpolation, in HU times ``RESIDUAL_SCALE``.
        """
        random = np.random.default_rng([0, int(held_out), step])
        axis = step % 2
        direction = self.directions[axis]
        numbers = self.held_out if held_out else self.trained
        images = [self._strip(random, int(random.choice(numbers)), axis) for _ in range(self.count)]
        strips = torch.from_numpy(np.stack(images)).to(self.device)  # (count, rows, side)
        truth = along_rows(direction.truth, strips)
        base = direction.interpolate(along_rows(direction.thick, strips))
        first = int(random.integers(0, max(1, truth.shape[1] - self.side + 1)))
        crop = slice(first, first + self.side)
        base, truth = base[:, crop], truth[:, crop]
        description = None if direction.description is None else direction.description[:, crop]
        difference = (truth.clamp(*HU_WINDOW) - base.clamp(*HU_WINDOW)) * RESIDUAL_SCALE
        return plane_input(base, description), difference[:, None]

    def held_out_batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The batches for validation."""
        return [self.batch(number, held_out=True) for number in range(_HELD_OUT_BATCHES)]

    def _strip(self, random: np.random.Generator, number: int, axis: int) -> np.ndarray:
        """All rows of a slice, and `side` of its columns, if possible with body; flipped at random."""
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
