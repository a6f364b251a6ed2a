"""SR4ZCT's resampling operator agrees with arrays that the authors' released code produced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.parity.sr4zct_operator import degrade, restore

ARRAYS = Path(__file__).parent / "arrays" / "sr4zct_resampling.npz"


@pytest.fixture(scope="module")
def arrays():
    with np.load(ARRAYS) as held:
        return {key: held[key] for key in held.files}


@pytest.mark.parametrize("case", range(5))
def test_degraded_and_restored_images_are_the_authors(arrays, case):
    image = torch.from_numpy(arrays["image"])
    pixel, pixel_overlap, thickness, overlap = arrays["cases_inplane_spacing_overlap_thickness_overlap"][case]
    for axis, along in ((0, image), (1, image.T)):
        thick = degrade(along, pixel, pixel_overlap, thickness, overlap)
        back = restore(thick, thickness, overlap, pixel, original=along)
        if axis == 0:
            assert np.abs(thick.numpy() - arrays[f"down_axis0_{case}"]).max() < 1e-6
        found = back.numpy() if axis == 0 else back.numpy().T
        assert np.abs(found - arrays[f"down_up_axis{axis}_{case}"]).max() < 1e-6


def test_thick_slices_are_brought_to_pixels_as_by_the_authors(arrays):
    thin = restore(torch.from_numpy(arrays["thick_image"]), 3.0, 1.0, 0.7421875)
    expected = arrays["up_3mm_overlap1_to_0.7421875"]
    assert thin.shape == expected.shape
    assert np.abs(thin.numpy() - expected).max() < 1e-6


def test_a_batch_of_images_gives_what_each_gives_by_itself(arrays):
    image = torch.from_numpy(arrays["image"])
    batch = torch.stack([image, 1 - 0.5 * image])[:, None]
    found = degrade(batch, 1.0, 0.0, 5.0, 2.5)
    for index in range(2):
        assert torch.allclose(found[index, 0], degrade(batch[index, 0], 1.0, 0.0, 5.0, 2.5))
