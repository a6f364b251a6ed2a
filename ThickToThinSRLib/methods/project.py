"""The last step of methods that correct an interpolation: agreement with the input."""

from __future__ import annotations

from ..consistency import ConsistencyProjection
from ..inference.place import Place
from ..interpolation import slab_columns
from ..monitor import Monitor
from .request import Request


def project(place: Place, request: Request, monitor: Monitor) -> None:
    """Make the volume "thin" (N, H, W) consistent with "thick" (M, H, W), in place, slab by slab.

    Raises
    ------
    Cancelled
        If the monitor is asked to stop, between two slabs.
    """
    volumes = place.volumes
    count, rows, columns = volumes["thin"].shape
    slices = len(volumes["thick"])
    solve = ConsistencyProjection(request.profiled, slices, count, request.target_spacing)

    def correct(band: slice) -> None:
        thin = volumes["thin"]
        solved = solve(thin[:, band].reshape(count, -1), slab_columns(volumes["thick"], band))
        thin[:, band] = solved.reshape(count, -1, columns)

    place.each_slab(correct, (count, rows, columns), "consistency", monitor)
