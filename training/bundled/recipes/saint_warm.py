"""Recipe of `saint_warm`: the released SAINT architecture, begun as an interpolation, taught by `universal`.

This is this project's own training. The published recipe is :mod:`training.recipes.saint`. A step on all
planes of a crop would take seconds, so the first stage sees some of them. The second stage learns in the
settling steps, on a part of each crop. Every step tells the network random spacings: at one factor, the right
result does not depend on them, and it will be told those of the user's scan.
"""

from __future__ import annotations

import numpy as np
import torch

from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.networks.saint import SAINT, distance_maps, window_for

from ..fixed_factor import FACTOR, Crops, objective_of, warm_recipe
from ..optimizers import Optimizers, muon
from ..rates import cosine_fall
from ..recipe import Batch, Objective
from ..saint_start import start_as_interpolation

_DEPTH = 8
_SCALE = HU_WINDOW[1] - HU_WINDOW[0]  # from [0, 1] to HU + 1024
_SIDE = 40
_PLANES = 8  # of each view
_FUSED_SIDE = 16
# Later steps at the full rate gained nothing; at this share of it they gained 0.7 dB at once.
_FULL_RATE_STEPS = 2600
_LATER_SHARE = 0.3
_PIXELS = (0.4, 1.0)  # mm
_THIN_SPACINGS = (0.6, 1.4)  # mm


class PlaneCrops(Crops):
    """Crops with the planes to learn from, and the spacings that the network is told."""

    def __init__(self, data, leave_out):
        super().__init__(
            data, leave_out, window=window_for(FACTOR, _DEPTH), sides=((0, _SIDE),), settling_side=_SIDE
        )

    def batch(self, generator: np.random.Generator, step: int, settling: bool) -> Batch:
        batch = super().batch(generator, step, settling)
        planes = generator.choice(np.arange(1, _SIDE - 1), (2, _PLANES), replace=False)
        batch["planes"] = torch.from_numpy(planes)
        batch["pixel"] = torch.tensor(generator.uniform(*_PIXELS))
        batch["thin_spacing"] = torch.tensor(generator.uniform(*_THIN_SPACINGS))
        return batch


def _objective(network: SAINT, batch: Batch, settling: bool, precision: str) -> Objective:
    thick, thin = batch["thick"], batch["thin"]
    distances = distance_maps(FACTOR, float(batch["pixel"]), float(batch["thin_spacing"]))
    window = network.window
    outputs = slice(window.first_output, window.first_output + window.outputs)
    estimates, truths, inputs = [], [], []
    with torch.autocast(thick.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        # Both views as (B, planes, length, slices): planes of constant column, then of constant row.
        for order, index in zip(((0, 3, 2, 1), (0, 2, 3, 1)), batch["planes"], strict=True):
            planes = thick[:, 0].permute(order)
            three = torch.stack([planes[:, index + offset] for offset in (-1, 0, 1)], 2).flatten(0, 1)
            fine = network.interpolate(three * _SCALE, distances.to(thick.device)) / _SCALE
            estimates.append(fine[..., outputs])
            truths.append(thin[:, 0].permute(order)[:, index].flatten(0, 1))
            inputs.append(planes[:, index].flatten(0, 1))
    estimate, truth, kept = (torch.cat(parts).float() for parts in (estimates, truths, inputs))
    # As (planes, 1, slices, length, 1), so that cubic interpolation along the slices is the baseline.
    objective = objective_of(
        *(x.transpose(1, 2)[:, None, ..., None] for x in (estimate, truth, kept)), window
    )
    if not settling:
        return objective
    return Objective(
        objective.loss + _fusion_loss(network, batch, precision), objective.before, objective.after
    )


def _fusion_loss(network: SAINT, batch: Batch, precision: str) -> torch.Tensor:
    part = np.s_[..., :_FUSED_SIDE, :_FUSED_SIDE]
    with torch.autocast(batch["thick"].device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        with torch.no_grad():
            views = network.views(batch["thick"][part])
        fused = network.fuse(views)
    return (fused.float() - batch["thin"][part]).abs().mean()


def _optimizers(network: SAINT, rate: float) -> Optimizers:
    # The filters multiply large features, so they learn slowly.
    shares = {"extractor.shallow": 0.03, "filters.convs.4": 1e-2, "filters": 1e-3, "fusion.1": 0.1}
    return muon(network, rate, lambda name, parameter: parameter.ndim > 1, shares)


def _relative_rate(step: int, steps: int, settled_from: int) -> float:
    share = 1.0 if step < _FULL_RATE_STEPS else _LATER_SHARE
    return share * cosine_fall(step, steps, settled_from)


RECIPE = warm_recipe(
    "saint",
    "SAINT",
    arguments={"factor": FACTOR, "depth": _DEPTH},
    source=PlaneCrops,
    start=lambda network, source: start_as_interpolation(network),
    optimizers=_optimizers,
    objective=_objective,
    relative_rate=_relative_rate,
    steps=4_284,
    settling=800,
)
