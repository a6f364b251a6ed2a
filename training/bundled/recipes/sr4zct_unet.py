"""Recipe of `sr4zct_unet`: the U-Net with which `sr4zct` starts, before it adapts to a scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.methods.sr4zct.planes import CONDITIONS

from ..optimizers import adamw
from ..rates import linear_fall
from ..recipe import Batch, BundledRecipe, Objective, channels_last
from ..scans import read_scan, scan_paths, weight_of
from ..sr4zct_planes import SPACING, THICKNESS, draw_batch

# A phantom has vessels and bone but no tissue texture.
_WEIGHTS = {"phantom": 0.3}


class Planes:
    """Planes of scans, degraded along their rows."""

    def __init__(self, data: Path, leave_out: list[str]):
        paths = scan_paths(data, leave_out, dicom=True)
        scans = [read_scan(path, weight_of(path.name, _WEIGHTS)) for path in paths]
        self.scans = [replace(scan, voxels=scan.voxels.astype(np.int16, copy=False)) for scan in scans]
        self.names = [scan.name for scan in scans]

    def batch(self, generator: np.random.Generator, step: int, settling: bool) -> Batch:
        return draw_batch(self.scans, generator)


def _objective(network: torch.nn.Module, batch: Batch, settling: bool, precision: str) -> Objective:
    planes, difference = batch["planes"], batch["difference"]
    with torch.autocast(planes.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        predicted = network(planes.contiguous(memory_format=torch.channels_last))
    error = predicted.float() - difference
    return Objective(error.abs().mean(), difference.square().mean(), error.detach().square().mean())


RECIPE = BundledRecipe(
    name="sr4zct_unet",
    network="unet",
    arguments={"channels": 1 + CONDITIONS},
    source=Planes,
    start=channels_last,
    optimizers=adamw,
    objective=_objective,
    relative_rate=linear_fall,
    steps=18_000,
    settling=0.4,
    rate=1e-3,
    average=0.999,
    card={
        "title": "SR4ZCT, U-Net before adaptation",
        "version": "1.0",
        "licence": "CC BY 4.0",
        "limits": "for research; not a medical device; trained on {scans} chest series, no other body part",
        "trained": {"spacing": list(SPACING), "thickness": list(THICKNESS)},
    },
)
