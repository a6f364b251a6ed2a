"""The measures of one predicted case: a row of ``cases.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from ThickToThinSRLib import consistency
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.evaluation.lung import densitometry, lung_mask
from ThickToThinSRLib.evaluation.metrics import HU_RANGE, distance_groups, slice_errors
from ThickToThinSRLib.evaluation.similarity import OFFICIAL_DROP, official_psnr, official_ssim
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.volume import Volume

from ..data.cases import ScanPair

_DISTANCES = ("psnr_match", "psnr_near", "psnr_far")
COLUMNS = (
    "case", "system", "protocol", "psnr", "ssim", "psnr_body", *_DISTANCES, "bias_body_hu", "bias_lung_hu",
    "laa950", "laa950_reference", "perc15", "perc15_reference", "consistency_mean_hu", "consistency_p999_hu",
    "consistency_worst_slice_hu", "seconds", "peak_mib", "weights", "gflop", "tile",
)  # fmt: skip
_BODY_ABOVE_HU = -500
_STEP_MM = 3.0  # distance of the pixels on which the body is segmented


@dataclass(frozen=True)
class Truth:
    """The thin slices of a case, and what is derived from them once for all systems."""

    pair: ScanPair

    @cached_property
    def hu(self) -> np.ndarray:
        """Thin slices in HU."""
        return np.asarray(self.pair.thin.voxels)

    @cached_property
    def unit(self) -> np.ndarray:
        """Thin slices on [0, 1], clipped."""
        return np.clip(to_unit(self.hu.astype(np.float32)), 0, 1)

    @cached_property
    def body(self) -> np.ndarray:
        """Mask of the body."""
        return body_mask(self.pair.thin)

    @cached_property
    def lung(self) -> np.ndarray:
        """Mask of the lungs."""
        return lung_mask(self.pair.thin)

    @property
    def factor(self) -> int:
        """Upsampling factor."""
        return (len(self.hu) - 1) // (len(self.pair.thick.voxels) - 1)


def measure(truth: Truth, hu: np.ndarray, protocol: str) -> dict[str, float | None]:
    """All measures of a prediction.

    Parameters
    ----------
    truth : Truth
        The true thin slices.
    hu : ndarray, shape (N, H, W)
        Predicted thin slices, HU.
    protocol : {"authors", "seamless"}
        ``authors`` leaves the first and last five slices out of all errors, ``seamless`` leaves nothing out.
        PSNR and SSIM are defined as by the authors in both: on [0, 1], clipped.

    Returns
    -------
    dict
        Values by names of :data:`COLUMNS`.
    """
    drop = OFFICIAL_DROP if protocol == "authors" else 0
    estimate = np.clip(to_unit(hu), 0, 1)
    errors = slice_errors(truth.unit, estimate)
    measured = np.zeros(len(hu), bool)
    measured[drop : len(hu) - drop] = True
    row = {
        "psnr": official_psnr(truth.unit, estimate, drop),
        "ssim": official_ssim(truth.unit, estimate, drop),
    }
    if truth.body[measured].any():
        body = slice_errors(truth.unit, estimate, truth.body)[measured]
        row |= {"psnr_body": body.psnr(1.0), "bias_body_hu": HU_RANGE * body.bias}
    thick = len(truth.pair.thick.voxels)
    groups = distance_groups(len(hu), 1.0, thick, float(truth.factor))
    for name, (_, group) in zip(_DISTANCES, groups, strict=False):
        chosen = group[measured[group]]
        row[name] = errors[chosen].psnr(1.0) if len(chosen) else None
    lung = truth.lung[measured]
    if lung.any():
        row["bias_lung_hu"] = HU_RANGE * slice_errors(truth.unit[measured], estimate[measured], lung).bias
        for suffix, volume in (("", hu), ("_reference", truth.hu)):
            # Whole HU in both: a prediction can have -950.4, which is below -950; a scan cannot.
            density = densitometry(np.rint(volume[measured]), lung)
            row[f"laa950{suffix}"], row[f"perc15{suffix}"] = density["laa950_percent"], density["perc15_hu"]
    if protocol == "seamless":
        row |= _consistency(truth, hu)
    return row


def _consistency(truth: Truth, hu: np.ndarray) -> dict[str, float]:
    thick = truth.pair.thick
    spacing = thick.spacing[2]
    deviation = consistency.measure(hu, thick.voxels, Acquisition(spacing, spacing), spacing / truth.factor)
    if deviation is None:
        return {}
    return {
        "consistency_mean_hu": deviation.mean,
        "consistency_p999_hu": deviation.percentile_99_9,
        "consistency_worst_slice_hu": deviation.worst_slice,
    }


def body_mask(scan: Volume) -> np.ndarray:
    """Mask of the patient with all organs, without the table and the air around: bool, shape (N, H, W)."""
    hu = scan.voxels
    step = max(1, round(_STEP_MM / max(scan.spacing[:2])))
    coarse = hu[:, ::step, ::step] > _BODY_ABOVE_HU
    coarse = ndimage.binary_opening(coarse, np.ones((1, 3, 3), bool))  # removes sheets and tubes
    labels, count = ndimage.label(coarse)
    if not count:
        return np.zeros(hu.shape, bool)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in largest])
    return filled.repeat(step, 1).repeat(step, 2)[:, : hu.shape[1], : hu.shape[2]]


def slice_similarity(truth: Truth) -> dict[str, dict[str, list[float]]]:
    """PSNR and SSIM of thick slices and the thin ones at 0, 1 and 2 thin slices from them.

    Returns
    -------
    dict
        Under ``psnr`` and ``ssim``: the values of all pairs under ``Match``, ``Near`` and ``Far``.
    """
    thick = np.clip(to_unit(np.asarray(truth.pair.thick.voxels, np.float32)), 0, 1)
    measures = {"psnr": official_psnr, "ssim": official_ssim}
    scores = {measure: {"Match": [], "Near": [], "Far": []} for measure in measures}
    for index, plane in enumerate(thick):
        for distance, name in enumerate(("Match", "Near", "Far")):
            for place in {truth.factor * index - distance, truth.factor * index + distance}:
                if 0 <= place < len(truth.unit):
                    for measure, of in measures.items():
                        scores[measure][name].append(of(truth.unit[place][None], plane[None], 0))
    return scores
