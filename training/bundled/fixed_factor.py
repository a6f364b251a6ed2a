"""What recipes of networks of a fixed factor share: crops of distilled scans, objective, model card."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ThickToThinSRLib.interpolation import interpolation_matrix
from ThickToThinSRLib.networks.window_spec import WindowSpec

from .distilled import as_batch, draw_crop, open_scans
from .rates import cosine_fall
from .recipe import Batch, BundledRecipe, Objective

FACTOR = 5
# A phantom has no tissue texture; the head scan has little noise and is soft in-plane.
_WEIGHTS = {"phantom": 0.3, "head": 0.3}
_CROPS_FOR_MATRIX = 200


class Crops:
    """Crops of distilled scans: of the teacher's slices first, of the true ones in the settling steps.

    Parameters
    ----------
    data : Path
        Folder that ``training.bundled.distilled`` wrote.
    leave_out : list of str
        Parts of the names of scans to skip.
    window : WindowSpec
        Of the network.
    sides : tuple of (int, int)
        First step and side, in pixels, of the crops from that step on.
    settling_side : int
        Side of the crops in the settling steps.
    count : int
        Crops in a batch.
    """

    def __init__(
        self,
        data: Path,
        leave_out: list[str],
        *,
        window: WindowSpec,
        sides: tuple[tuple[int, int], ...],
        settling_side: int,
        count: int = 1,
    ):
        self.scans = open_scans(data, _WEIGHTS, leave_out)
        self.names = [scan.name for scan in self.scans]
        self.window, self.sides, self.settling_side, self.count = window, sides, settling_side, count

    def batch(self, generator: np.random.Generator, step: int, settling: bool) -> Batch:
        side = self.settling_side if settling else [side for first, side in self.sides if step >= first][-1]
        return as_batch(
            [draw_crop(self.scans, self.window, side, generator, not settling) for _ in range(self.count)]
        )

    def best_matrix(self) -> np.ndarray:
        """The linear map (outputs, depth) of thick to true thin slices with the least squared error."""
        generator = np.random.default_rng(0)
        thick, thin = zip(
            *(draw_crop(self.scans, self.window, 32, generator, False) for _ in range(_CROPS_FOR_MATRIX)),
            strict=True,
        )
        thick, thin = (
            np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1).clip(-1024, 2048) + 1024.0
            for arrays in (thick, thin)
        )
        return np.linalg.lstsq(thick.T, thin.T, rcond=None)[0].T


def crops(
    window: WindowSpec, *, sides: tuple[tuple[int, int], ...], settling_side: int, count: int = 1
) -> Callable[[Path, list[str]], Crops]:
    """The source of a recipe: see :class:`Crops` for the parameters."""
    return partial(Crops, window=window, sides=sides, settling_side=settling_side, count=count)


def cubic(thick: torch.Tensor, window: WindowSpec) -> torch.Tensor:
    """Cubic interpolation at the slices that a network predicts: (B, 1, D, H, W) -> (B, 1, outputs, H, W)."""
    reach = window.factor * (window.depth - 1) + 1
    matrix = interpolation_matrix(window.depth, window.factor, reach, 1.0)
    rows = torch.tensor(matrix[window.first_output :][: window.outputs], dtype=thick.dtype)
    return torch.einsum("td,bcdhw->bcthw", rows.to(thick.device), thick)


def absolute_error(network: torch.nn.Module, batch: Batch, settling: bool, precision: str) -> Objective:
    """Mean absolute error of the network's output; cubic interpolation is the baseline."""
    thick, thin = batch["thick"], batch["thin"]
    with torch.autocast(thick.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        estimate = network(thick)
    return objective_of(estimate.float(), thin, thick, network.window)


def objective_of(
    estimate: torch.Tensor, thin: torch.Tensor, thick: torch.Tensor, window: WindowSpec
) -> Objective:
    """Mean absolute error of an estimate of the thin slices, beside cubic interpolation."""
    error = estimate - thin
    before = (cubic(thick, window) - thin).square().mean()
    return Objective(error.abs().mean(), before, error.detach().square().mean())


def warm_recipe(network: str, title: str, version: str = "1.0", **chosen: Any) -> BundledRecipe:
    """The recipe `<network>_warm`, a warm-started training of this project.

    Parameters
    ----------
    network : str
        Name in the registry.
    title : str
        Name of the published system.
    version : str
        Of the weights.
    **chosen
        Arguments of :class:`BundledRecipe` that have no usual value, or another one.
    """
    usual = {
        "arguments": {},
        "objective": absolute_error,
        "relative_rate": cosine_fall,
        "rate": 1e-3,
        "card": _card(title, version),
    }
    return BundledRecipe(name=f"{network}_warm", network=network, **{**usual, **chosen})


def _card(title: str, version: str) -> dict[str, Any]:
    return {
        "title": f"{title}, a warm-started training of this project",
        "version": version,
        "licence": "CC BY 4.0",
        "limits": "research weights trained on {scans} scans, not the published ones; not a medical device",
        "trained": {"spacing": [4.0, 5.0], "thickness": [4.0, 5.0]},
    }
