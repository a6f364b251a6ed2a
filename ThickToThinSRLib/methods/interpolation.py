"""The method `interpolation`: cubic B-spline interpolation along the through-plane axis."""

from __future__ import annotations

from ..interpolation import SliceMap, interpolation_matrix
from ..monitor import Monitor
from ..volume import Volume, refined, slice_count
from .columns import map_columns
from .request import Request


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Interpolate between the slices."""
    thick, spacing = volume.slices_first(request.axis), request.acquisition.spacing
    count = slice_count(len(thick), spacing, request.target_spacing)
    solve = SliceMap(interpolation_matrix(len(thick), spacing, count, request.target_spacing))
    thin = map_columns(solve, thick, count, "interpolation", monitor)
    return refined(volume, request.axis, request.target_spacing, thin)
