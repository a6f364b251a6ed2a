"""The acquisition on planes that hold the through-plane axis, in torch: batched, on any device.

A plane is an image (rows, columns) whose rows lie along the through-plane axis, or along the in-plane axis
that takes its part in self-supervision. Every map along the rows is one matrix for the whole batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ...acquisition import Acquisition, sampling_matrix
from ...intensity import HU_WINDOW, to_unit
from ...interpolation import interpolation_matrix
from ...volume import slice_count

# What a network predicts: HU / 3072 times this. Differences of some ten HU are then of the order of 1.
RESIDUAL_SCALE = 20.0 / (HU_WINDOW[1] - HU_WINDOW[0])
# Channels that tell a network of the acquisition, see `acquisition_channels`.
CONDITIONS = 5


def thin_matrix(rows: int, pixel: float, spacing: float) -> np.ndarray:
    """Rows of an image every `pixel` mm to contiguous rows every `spacing` mm: (count, rows).

    Coarser rows average finer ones; finer rows come from them by cubic interpolation.
    """
    count = slice_count(rows, pixel, spacing)
    if spacing < pixel * (1 - 1e-6):
        return interpolation_matrix(rows, pixel, count, spacing)
    return sampling_matrix(Acquisition(spacing, spacing), count, rows, pixel)


def thick_matrix(rows: int, pixel: float, acquisition: Acquisition) -> np.ndarray:
    """Rows of an image every `pixel` mm to thick slices: (count, rows)."""
    return acquisition.matrix(slice_count(rows, pixel, acquisition.spacing), rows, pixel)


def along_rows(matrix: np.ndarray | torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """Apply a matrix (after, before) along the rows of planes (..., before, columns)."""
    return torch.as_tensor(matrix, dtype=planes.dtype, device=planes.device) @ planes


def acquisition_channels(
    rows: int, acquisition: Acquisition, target_spacing: float, pixel: float
) -> torch.Tensor:
    """What a network is told of each row besides the plane: (CONDITIONS, rows).

    Where the row lies between two thick slices (cosine and sine of its phase); thickness, spacing and pixel,
    each about -1 to 1 over what clinics have.
    """
    ratio = acquisition.spacing / target_spacing
    phase = torch.arange(rows, dtype=torch.float64) * (2 * math.pi / ratio)
    constants = (
        acquisition.thickness / acquisition.spacing - 1,
        math.log2(ratio) - 2,
        2 * math.log2(pixel / target_spacing),
    )
    channels = [phase.cos(), phase.sin(), *(torch.full_like(phase, value) for value in constants)]
    return torch.stack(channels).float()


def plane_input(planes: torch.Tensor, description: torch.Tensor | None) -> torch.Tensor:
    """Interpolated planes (B, rows, columns) in HU and their description to (B, channels, rows, columns)."""
    seen = to_unit(planes.clamp(*HU_WINDOW))[:, None]
    if description is None:
        return seen
    channels = description.to(planes.device)[None, :, :, None]
    return torch.cat([seen, channels.expand(len(planes), -1, -1, planes.shape[2])], dim=1)
