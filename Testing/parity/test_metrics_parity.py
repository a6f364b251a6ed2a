"""PSNR and SSIM agree with the authors' functions on arrays that those produced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ThickToThinSRLib.evaluation.similarity import official_psnr, official_ssim

ARRAYS = Path(__file__).parent / "arrays"


@pytest.mark.parametrize("case", [0, 1, 2])
def test_psnr_and_ssim_are_those_of_the_authors(case):
    with np.load(ARRAYS / "metrics.npz") as arrays:
        reference, estimate = arrays[f"reference_{case}"], arrays[f"estimate_{case}"]
        expected = float(arrays[f"psnr_{case}"]), float(arrays[f"ssim_{case}"])
    assert official_psnr(reference, estimate, drop=0) == pytest.approx(expected[0], abs=1e-4)
    assert official_ssim(reference, estimate, drop=0) == pytest.approx(expected[1], abs=1e-5)


def test_a_whole_volume_is_measured_without_its_first_and_last_five_slices():
    with np.load(ARRAYS / "tvsrn_authors_volume.npz") as arrays:
        reference, estimate = arrays["thin"].astype(np.float32), arrays["reconstruction"]
        expected = float(arrays["psnr"]), float(arrays["ssim"])
    assert official_psnr(reference, estimate) == pytest.approx(expected[0], abs=1e-4)
    assert official_ssim(reference, estimate) == pytest.approx(expected[1], abs=1e-5)


def test_an_estimate_outside_the_window_is_clamped():
    reference = np.full((11, 16, 16), 1.0)
    assert official_psnr(reference, reference + 3.0) == 40.0
    assert official_ssim(reference, reference + 3.0) == pytest.approx(1.0)
