"""The method `interpolation`: cubic B-spline interpolation along the through-plane axis."""

from __future__ import annotations

import numpy as np

from ..interpolation import interpolation_matrix
from ..monitor import Monitor
from ..volume import Volume, refined, slice_count
from .columns import map_columns
from .request import Request


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Interpolate between the slices."""
    thick, spacing = volume.slices_first(request.axis), request.acquisition.spacing
    count = slice_count(len(thick), spacing, request.target_spacing)
    matrix = interpolation_matrix(len(thick), spacing, count, request.target_spacing).astype(np.float32)
    thin = map_columns(lambda columns: matrix @ columns, thick, count, "interpolation", monitor)
    return refined(volume, request.axis, request.target_spacing, thin)
