"""Acquisition and interpolation of planes in torch: batched, on any device.

A plane is an image (rows, columns) whose first axis is the through-plane axis, or the in-plane axis that
takes its part in self-supervision. Every linear operation along it is one matrix for the whole batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ...acquisition import Acquisition, sampling_matrix
from ...intensity import HU_WINDOW, to_unit
from ...interpolation import interpolation_matrix
from ...volume import slice_count

# Networks predict differences in HU times this factor (20 / 3072): 150 HU are 1.
RESIDUAL_SCALE = 20.0 / (HU_WINDOW[1] - HU_WINDOW[0])
# Number of channels that describe the acquisition, see `acquisition_channels`.
CONDITIONS = 5


def thin_matrix(rows: int, pixel: float, spacing: float) -> np.ndarray:
    """Matrix (count, rows) from rows every `pixel` mm to contiguous rows every `spacing` mm.

    Coarser rows are averages of the rows; finer rows are interpolated (cubic B-spline).
    """
    count = slice_count(rows, pixel, spacing)
    if spacing < pixel * (1 - 1e-6):
        return interpolation_matrix(rows, pixel, count, spacing)
    return sampling_matrix(Acquisition(spacing, spacing), count, rows, pixel)


def thick_matrix(rows: int, pixel: float, acquisition: Acquisition) -> np.ndarray:
    """Matrix (count, rows) from rows every `pixel` mm to thick slices."""
    return acquisition.matrix(slice_count(rows, pixel, acquisition.spacing), rows, pixel)


def along_rows(matrix: np.ndarray | torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """Apply a matrix (after, before) along the first axis of planes (..., before, columns)."""
    return torch.as_tensor(matrix, dtype=planes.dtype, device=planes.device) @ planes


def acquisition_channels(
    rows: int, acquisition: Acquisition, target_spacing: float, pixel: float
) -> torch.Tensor:
    """The description of the acquisition that a network reads for each row of a plane.

    Parameters
    ----------
    rows : int
        Number of thin rows.
    target_spacing, pixel : float
        Distance of the rows, and pixel spacing along a row, mm.

    Returns
    -------
    torch.Tensor, shape (CONDITIONS, rows), float32
        Position of the row between two thick slices (cosine and sine of its phase); thickness, spacing and
        pixel spacing, each scaled to about -1 to 1 for clinical scans.
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
    """The network's input (B, channels, rows, columns) from interpolated planes (B, rows, columns) in HU."""
    image = to_unit(planes.clamp(*HU_WINDOW))[:, None]
    if description is None:
        return image
    channels = description.to(planes.device)[None, :, :, None]
    return torch.cat([image, channels.expand(len(planes), -1, -1, planes.shape[2])], dim=1)
