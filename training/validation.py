"""Validation while training: the central region of whole scans, by the authors' windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.evaluation.similarity import OFFICIAL_DROP, official_psnr
from ThickToThinSRLib.inference.runner import Runner
from ThickToThinSRLib.inference.sliding_window import predict
from ThickToThinSRLib.intensity import to_unit

from .data.cases import Case
from .ranks import Ranks


def validate(network: torch.nn.Module, cases: list[Case], side: int, ranks: Ranks) -> dict[str, float]:
    """Mean PSNR and absolute error over the cases, each process taking its share.

    Parameters
    ----------
    side : int
        Of the central region in pixels (256 in the released code); less where the scans are smaller.

    Returns
    -------
    dict
        ``psnr`` by the authors' definition, ``l1`` on [0, 1], and an example plane ``picture`` (thick,
        predicted and true, above one another) of the first case, on the first process only.
    """
    network.eval()
    mine = [_score(network, case, side, ranks.device) for case in ranks.share(cases)]
    scores = [score for part in ranks.gathered([(psnr, l1) for psnr, l1, _ in mine]) for score in part]
    psnr, l1 = np.mean(scores, axis=0)
    return {"psnr": float(psnr), "l1": float(l1), "picture": mine[0][2] if mine and ranks.first else None}


def _score(network, case: Case, side: int, device: torch.device) -> tuple[float, float, np.ndarray]:
    pair = case.read()
    window = network.window
    side = min(side, *pair.thick.voxels.shape[1:])
    rows, columns = (_central(size, side, window.multiple) for size in pair.thick.voxels.shape[1:])
    thick, thin = (np.asarray(volume.voxels[:, rows, columns]) for volume in (pair.thick, pair.thin))
    if len(thin) <= 2 * OFFICIAL_DROP or len(thick) < window.depth:
        raise UserError(f"case {case.name}: {len(thick)} thick slices are too few to validate on")
    whole = replace(window, tile=thick.shape[1])
    # The region is one tile, as in the released code.
    runner = Runner(network, whole, 1.0, str(device), "float32")
    predicted = predict(thick, whole, "authors", runner)
    if runner.device.type != device.type:
        # A user's volume may be finished on the CPU; a training must not go on there.
        network.to(device)
        raise UserError(f"{device} has no memory to validate on {case.name}: set a smaller validation_crop")
    truth = np.clip(to_unit(thin.astype(np.float32)), 0, 1)
    kept = slice(OFFICIAL_DROP, -OFFICIAL_DROP)
    l1 = float(np.abs(np.clip(predicted[kept], 0, 1) - truth[kept]).mean(dtype=np.float64))
    return official_psnr(truth, predicted), l1, _picture(thick, predicted, truth, window.factor)


def _central(size: int, side: int, multiple: int) -> slice:
    length = min(side, size) // multiple * multiple
    first = (size - length) // 2
    return slice(first, first + length)


def _picture(thick: np.ndarray, predicted: np.ndarray, truth: np.ndarray, factor: int) -> np.ndarray:
    """Coronal planes through the middle, head up: grey values in [0, 1], shape (rows, columns)."""
    row = thick.shape[1] // 2
    nearest = (np.arange(len(truth)) + factor // 2) // factor
    shown = [to_unit(thick[nearest, row].astype(np.float32)), predicted[:, row], truth[:, row]]
    # Lung and soft tissue: -1024 to 512 HU.
    return np.clip(2 * np.concatenate([plane[::-1] for plane in shown]), 0, 1)
