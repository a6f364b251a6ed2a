"""The method `saint`: the upsampling factor follows the request, and the network is told the spacings.

The factor is the whole number nearest to what is asked for; another target spacing is reached from the slices
of this factor by cubic B-spline interpolation, as for networks of a fixed factor.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from ..monitor import Monitor
from ..networks.registry import build
from ..volume import Volume
from ..weights.checkpoint import Weights
from . import fixed_factor
from .request import Request

# The memory of a tile grows with the factor. Finer slices are interpolated from those of this factor.
_LARGEST_FACTOR = 12


def enhance(volume: Volume, request: Request, monitor: Monitor) -> Volume:
    """Run the network of the request's weights at the factor and the spacings of this scan."""
    factor = factor_for(request.acquisition.spacing, request.target_spacing)
    columns, rows = (spacing for axis, spacing in enumerate(volume.spacing) if axis != request.axis)
    spacings = {
        "thin_spacing": request.acquisition.spacing / factor,
        "row_spacing": rows,
        "column_spacing": columns,
    }
    network = network_for(request.weights, factor, spacings)
    return fixed_factor.enhance_with(network, volume, request, monitor)


def factor_for(spacing: float, target: float) -> int:
    """The upsampling factor nearest to what is asked for, from 2 to 12."""
    return min(max(2, round(spacing / target)), _LARGEST_FACTOR)


def network_for(weights: Weights, factor: int, spacings: dict[str, float]) -> nn.Module:
    """The network at another factor and other spacings than those in the weights' own arguments.

    Weights whose arguments state spacings were trained with these alone, so the network is told these.
    """
    trained = weights.load()
    told = {name: float(value) for name, value in spacings.items()}
    network = build("saint", **{**told, **weights.arguments, "factor": factor})
    network.load_state_dict(trained.state_dict())
    network.name = weights.network
    network.window = replace(network.window, tile=weights.window.tile, margin=weights.window.margin)
    return network.eval()
