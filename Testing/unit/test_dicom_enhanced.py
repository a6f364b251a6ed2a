"""A derived series of an enhanced CT, whose rescaling stands in its functional groups alone."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from Testing.make_dicom import enhanced_ct, set_pixels, write_series
from Testing.volumes import dicom_hu
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.io.dicom.series import read_series

INTERCEPT, PADDING_HU = -3000, -2000


def padded_hu():
    """Whole HU, of which the first two rows are padding."""
    voxels = np.clip(dicom_hu((6, 8, 10)), -900, 900)
    voxels[:, :2] = PADDING_HU
    return voxels


def write_enhanced(folder, voxels, place, slope):
    """One multi-frame file whose slope and intercept stand in its frames' groups or in those of all."""
    dataset = enhanced_ct(voxels)
    stored = []
    for hu in voxels:
        single = Dataset()
        set_pixels(single, hu, slope, INTERCEPT)
        stored.append(single.PixelData)
    dataset.PixelData = b"".join(stored)
    dataset["PixelData"].VR = "OW"
    value = Dataset()
    value.RescaleSlope, value.RescaleIntercept, value.RescaleType = slope, INTERCEPT, "HU"
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PixelValueTransformationSequence
        if place == "frames":
            frame.PixelValueTransformationSequence = Sequence([value])
    if place == "shared":
        dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = Sequence([value])
    assert "RescaleSlope" not in dataset
    assert "RescaleIntercept" not in dataset
    dataset.add_new("PixelPaddingValue", "US", round((PADDING_HU - INTERCEPT) / slope))
    write_series([dataset], folder)


@pytest.mark.parametrize("slope", [1, 0.5])
@pytest.mark.parametrize("place", ["frames", "shared"])
def test_hu_and_padding_of_an_enhanced_ct_come_back_in_the_derived_series(tmp_path, place, slope):
    voxels = padded_hu()
    write_enhanced(tmp_path / "thick", voxels, place, slope)
    np.testing.assert_array_equal(read_series(tmp_path / "thick").voxels, voxels)
    command = ["enhance", tmp_path / "thick", tmp_path / "thin", "--spacing", "1"]
    command += ["--method", "interpolation", "--progress", "none"]
    assert main([str(argument) for argument in command]) == 0
    stored = round((PADDING_HU - INTERCEPT) / slope)
    for path in (tmp_path / "thin").glob("*.dcm"):
        result = dcmread(path)
        assert (result.RescaleSlope, result.RescaleIntercept) == (slope, INTERCEPT)
        assert result.PixelPaddingValue == stored
        assert np.all(result.pixel_array[:2] == stored)
        assert not np.any(result.pixel_array[2:] == stored)
    thin = read_series(tmp_path / "thin")
    # Cubic interpolation passes through the measured slices.
    np.testing.assert_array_equal(thin.voxels[::5], voxels)
