"""First part of the recipe of `universal`: random weights learn from thin scans.

L1 at a level learning rate, then squared errors while the rate falls.

docs/universal_training.md says what was tried, and what the weights are worth.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.methods.universal.pairs import collate, errors, mean_square

from ..optimizers import adamw
from ..rates import cosine_fall
from ..recipe import Batch, BundledRecipe, Objective, channels_last
from ..scans import read_scan, scan_paths, weight_of
from ..universal_pairs import draw_pair, with_fine_slices

PAIRS = 4  # in a batch
# Phantoms have no tissue texture, and some scans teach by their rows and columns only.
_OVERLAPPING = "2mm_every_1mm"
_WEIGHTS = {"phantom": 0.3, _OVERLAPPING: 0.4, "2p5mm": 0.3, "5mm_sharp": 0.4}


class Pairs:
    """Training pairs of thin scans."""

    def __init__(self, data: Path, leave_out: list[str]):
        self.scans = []
        for path in scan_paths(data, leave_out):
            scan = with_fine_slices(read_scan(path, weight_of(path.name, _WEIGHTS)))
            # Overlapping slices are blurred along z, however close they lie.
            in_plane_only = scan.in_plane_only or _OVERLAPPING in path.name
            self.scans.append(replace(scan, in_plane_only=in_plane_only))
        self.names = [scan.name for scan in self.scans]

    def batch(self, generator: np.random.Generator, step: int, settling: bool) -> Batch:
        return collate([draw_pair(self.scans, generator, settling) for _ in range(PAIRS)])


def _objective(network: torch.nn.Module, batch: Batch, settling: bool, precision: str) -> Objective:
    error = errors(network, batch, precision)
    after, before = mean_square(error, batch), mean_square(batch["correction"], batch)
    if settling:
        # Squared errors, so that the mean is learned; divided so that hard acquisitions do not dominate.
        loss = (after / (before + 0.01).sqrt()).mean()
    else:
        loss = error.abs().sum() / (batch["valid"].sum() * error[0, 0].numel())
    return Objective(loss, before.mean(), after.detach().mean())


RECIPE = BundledRecipe(
    name="universal_first",
    network="universal",
    arguments={},
    source=Pairs,
    start=channels_last,
    optimizers=adamw,
    objective=_objective,
    # The rate rises by a hundredth where the fall begins: the shipped weights were trained so.
    relative_rate=partial(cosine_fall, peak=1.01),
    steps=18_000,
    settling=3500,
    rate=6e-4,
    card={
        "title": "Universal",
        "version": "1.1",
        "licence": "CC BY 4.0",
        "limits": "for research; not a medical device; trained on {scans} chest scans, no other body part",
        "trained": {"spacing": [1.5, 8.0], "thickness": [2.0, 8.0]},
    },
)
