"""The resampling of SR4ZCT's released code, for parity with it.

Pixels and slices are laid edge to edge and spread evenly over the extent of the image, which stretches the
spacing a little; slices that do not overlap are point samples. The method `sr4zct` does not use this: it
always averages over the slice profile and keeps spacings exact (:mod:`ThickToThinSRLib.methods.sr4zct`).
"""

from __future__ import annotations

import torch

_SAMPLES = 9  # of a slice that overlaps with its neighbours, over its thickness


def degrade(
    images: torch.Tensor, pixel: float, pixel_overlap: float, thickness: float, overlap: float
) -> torch.Tensor:
    """Thick slices along the rows of images (..., rows, columns): (..., slices, columns).

    Parameters
    ----------
    pixel, pixel_overlap : float
        Size and overlap of the pixels along the rows, mm.
    thickness, overlap : float
        Thickness and overlap of the slices to make, mm.
    """
    rows = images.shape[-2]
    length = pixel + (rows - 1) * (pixel - pixel_overlap)
    slices = _count(length, thickness, overlap)
    centres = torch.linspace(thickness / 2, length - thickness / 2, slices, dtype=torch.float64)
    samples = torch.zeros(1, dtype=torch.float64)
    if overlap > 0:
        reach = _SAMPLES // 2
        samples = torch.arange(-reach, reach + 1, dtype=torch.float64) * (thickness / _SAMPLES)
    matrix = _linear(rows, pixel, length, centres[:, None] + samples).mean(dim=1)
    return _clipped(matrix.to(images) @ images, images)


def restore(
    slices: torch.Tensor, thickness: float, overlap: float, pixel: float, original: torch.Tensor | None = None
) -> torch.Tensor:
    """Pixels from thick slices (..., slices, columns) by linear interpolation: (..., rows, columns).

    Parameters
    ----------
    thickness, overlap, pixel : float
        Of the slices, and the size of the pixels to make, mm.
    original : Tensor, shape (..., rows, columns), optional
        The image that was degraded: gives the number of rows, over whose extent the slices are spread, and
        the limits of the result. By default as many rows as fit into the extent of the slices.
    """
    count = slices.shape[-2]
    if original is None:
        length = thickness + (count - 1) * (thickness - overlap)
        rows = _count(length, pixel, 0.0)
    else:
        rows = original.shape[-2]
        length = rows * pixel
    centres = torch.linspace(pixel / 2, length - pixel / 2, rows, dtype=torch.float64)
    rows_of_slices = _linear(count, thickness, length, centres).to(slices) @ slices
    return _clipped(rows_of_slices, slices if original is None else original)


def _count(length: float, thickness: float, overlap: float) -> int:
    return 1 + int((length - thickness) / (thickness - overlap))


def _linear(count: int, size: float, length: float, places: torch.Tensor) -> torch.Tensor:
    """Weights (..., count) of linear interpolation, beyond the ends extrapolation, at `places` in mm."""
    centres = torch.linspace(size / 2, length - size / 2, count, dtype=torch.float64)
    above = torch.searchsorted(centres, places).clamp(1, count - 1)
    share = (places - centres[above - 1]) / (centres[above] - centres[above - 1])
    weights = torch.zeros(*places.shape, count, dtype=torch.float64)
    weights.scatter_(-1, above[..., None], share[..., None])
    return weights.scatter_(-1, above[..., None] - 1, 1 - share[..., None])


def _clipped(values: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Limited to the least and largest value of each source image."""
    return values.clamp(source.amin((-2, -1), keepdim=True), source.amax((-2, -1), keepdim=True))
