"""The method `consistent`: the smoothest volume whose averages over the slice thickness are the input."""

from __future__ import annotations

from ..consistency import ConsistentInterpolation
from ..monitor import Monitor
from ..volume import Volume, refined, slice_count
from .columns import map_columns
from .request import Request


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Interpolate consistently."""
    thick, acquisition = volume.slices_first(request.axis), request.profiled
    count = slice_count(len(thick), acquisition.spacing, request.target_spacing)
    solve = ConsistentInterpolation(acquisition, len(thick), count, request.target_spacing)
    thin = map_columns(solve, thick, count, "consistent interpolation", monitor)
    return refined(volume, request.axis, request.target_spacing, thin)
