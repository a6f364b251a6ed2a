"""SSIM over any data range, and PSNR and SSIM as the authors of TVSRN and RPLHR-CT define them.

Volumes are (slices, rows, columns) with the through-plane axis first: arrays, or sequences of planes.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import correlate1d

from ..errors import UserError

OFFICIAL_DROP = 5  # thin slices that the authors leave out at each end
_WINDOW = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()


def ssim(reference, estimate, data_range: float) -> float:
    """Structural similarity, mean over slices (Wang et al., IEEE TIP 2004; Gaussian window of sigma 1.5).

    Parameters
    ----------
    reference, estimate : sequences of ndarray, shape (rows, columns)
        The slices of both, in the same unit.
    data_range : float
        Range of the intensities, in that unit.

    Raises
    ------
    UserError
        If scikit-image is missing or the slices are smaller than 11 x 11 pixels.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise UserError(
            'SSIM needs scikit-image, which is not installed: pip install "thicktothin[measure]"'
        ) from error
    if min(np.shape(reference[0])) < len(_WINDOW):
        rows, columns = np.shape(reference[0])
        raise UserError(f"SSIM needs slices of at least 11 x 11 pixels, not {rows} x {columns}")
    options = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": data_range,
    }
    return float(
        np.mean(
            [
                structural_similarity(
                    np.asarray(reference[index], np.float64),
                    np.asarray(estimate[index], np.float64),
                    **options,
                )
                for index in range(len(reference))
            ]
        )
    )


def official_psnr(reference, estimate, drop: int = OFFICIAL_DROP) -> float:
    """PSNR in dB as the authors of TVSRN and RPLHR-CT define it.

    Parameters
    ----------
    reference, estimate : sequences of ndarray, shape (rows, columns)
        Slices on [0, 1]; the estimate is clipped to it.
    drop : int
        Slices left out at each end; 5 in the official protocol.

    Returns
    -------
    float
        10 log10(1 / MSE) over all remaining voxels; 40 by definition if the MSE is 0.

    Raises
    ------
    UserError
        If no slices remain.
    """
    slices = _official_slices(len(reference), drop)
    errors = (np.clip(np.asarray(estimate[i], np.float64), 0, 1) - reference[i] for i in slices)
    mean_square = float(np.mean([np.mean(np.square(error)) for error in errors]))
    return 40.0 if mean_square == 0 else -10 * math.log10(mean_square)


def official_ssim(reference, estimate, drop: int = OFFICIAL_DROP) -> float:
    """SSIM as the authors of TVSRN and RPLHR-CT define it; parameters as in :func:`official_psnr`.

    11 x 11 Gaussian window of sigma 1.5, zero padding, C1 = 1e-4, C2 = 9e-4; mean over slices.
    """
    slices = _official_slices(len(reference), drop)
    return float(np.mean([_zero_padded_ssim(reference[i], np.clip(estimate[i], 0, 1)) for i in slices]))


def _official_slices(count: int, drop: int) -> range:
    if count <= 2 * drop:
        raise UserError(
            f"the official protocol leaves out {drop} slices at each end: of {count} slices none remains"
        )
    return range(drop, count - drop)


def _zero_padded_ssim(reference: np.ndarray, estimate: np.ndarray) -> float:
    def local_mean(plane):
        return correlate1d(correlate1d(plane, _WINDOW, 0, mode="constant"), _WINDOW, 1, mode="constant")

    a, b = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    mean_a, mean_b = local_mean(a), local_mean(b)
    spread = local_mean(a * a) - mean_a**2 + local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    return float(
        np.mean(
            (2 * mean_a * mean_b + 1e-4)
            * (2 * covariance + 9e-4)
            / ((mean_a**2 + mean_b**2 + 1e-4) * (spread + 9e-4))
        )
    )
