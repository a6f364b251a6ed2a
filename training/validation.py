"""Validation during a training: the central region of whole scans, tiled as by the authors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.evaluation.similarity import OFFICIAL_DROP, official_psnr
from ThickToThinSRLib.inference.runner import Runner
from ThickToThinSRLib.inference.sliding_window import predict
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import NetworkEntry

from .data.cases import Case
from .ranks import Ranks

# Of whatever network: it may need as much memory as the largest.
_ENTRY = NetworkEntry("", "", "", bytes_per_pixel=9000.0)


def validate(
    network: torch.nn.Module, cases: list[Case], side: int, ranks: Ranks, precision: str = "float32"
) -> dict:
    """Mean PSNR and absolute error over the cases; each process takes a share of them.

    Parameters
    ----------
    network : Module
        Set to evaluation mode.
    cases : list of Case
        Cases with a truth.
    side : int
        Side of the central region, pixels (256 in the released code); less if a scan is smaller.
    ranks : Ranks
        The processes that take part.
    precision : {"float32", "bfloat16", "float16"}
        That of the training.

    Returns
    -------
    dict
        ``psnr`` by the authors' definition, ``l1`` on [0, 1], and ``picture``: planes of the first case
        (thick, predicted and true, from top to bottom) on the first process, None on the others.
    """
    network.eval()
    mine = [_score(network, case, side, ranks.device, precision) for case in ranks.share(cases)]
    scores = [score for share in ranks.gathered([(psnr, l1) for psnr, l1, _ in mine]) for score in share]
    psnr, l1 = np.mean(scores, axis=0)
    return {"psnr": float(psnr), "l1": float(l1), "picture": mine[0][2] if mine and ranks.first else None}


def _score(
    network: torch.nn.Module, case: Case, side: int, device: torch.device, precision: str
) -> tuple[float, float, np.ndarray]:
    """PSNR, mean absolute error and picture of a case."""
    pair = case.read()
    window = network.window
    side = min(side, *pair.thick.voxels.shape[1:])
    rows, columns = (_central(size, side, window.multiple) for size in pair.thick.voxels.shape[1:])
    thick, thin = (np.asarray(volume.voxels[:, rows, columns]) for volume in (pair.thick, pair.thin))
    if len(thin) <= 2 * OFFICIAL_DROP or len(thick) < window.depth:
        raise UserError(f"case {case.name}: {len(thick)} thick slices are too few to validate on")
    predicted = _predicted(network, thick, device, case.name, precision)
    truth = np.clip(to_unit(thin.astype(np.float32)), 0, 1)
    scored = slice(OFFICIAL_DROP, -OFFICIAL_DROP)
    l1 = float(np.abs(np.clip(predicted[scored], 0, 1) - truth[scored]).mean(dtype=np.float64))
    return official_psnr(truth, predicted), l1, _picture(thick, predicted, truth, window.factor)


def _predicted(
    network: torch.nn.Module, thick: np.ndarray, device: torch.device, name: str, precision: str
) -> np.ndarray:
    """Thin slices on [0, 1]; the region is one tile, as in the released code."""
    window = replace(network.window, tile=thick.shape[1])
    runner = Runner(network, window, _ENTRY, str(device), precision)
    predicted = predict(thick, window, "authors", runner, Monitor())
    if runner.device.type != device.type:
        # The library may finish a user's volume on the CPU; a training must not continue there.
        network.to(device)
        raise UserError(f"{device} has no memory to validate on {name}: set a smaller validation_crop")
    return predicted


def _central(size: int, side: int, multiple: int) -> slice:
    length = min(side, size) // multiple * multiple
    first = (size - length) // 2
    return slice(first, first + length)


def _picture(thick: np.ndarray, predicted: np.ndarray, truth: np.ndarray, factor: int) -> np.ndarray:
    """Coronal planes through the middle, head up: grey values in [0, 1], shape (rows, columns)."""
    row = thick.shape[1] // 2
    nearest = (np.arange(len(truth)) + factor // 2) // factor
    planes = [to_unit(thick[nearest, row].astype(np.float32)), predicted[:, row], truth[:, row]]
    # Lung and soft tissue: -1024 to 512 HU.
    return np.clip(2 * np.concatenate([plane[::-1] for plane in planes]), 0, 1)
