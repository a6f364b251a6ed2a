"""The shared cases of volume files: the outcome of each that its README names, through `enhance`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.command_line import expect_refusal
from Testing.nifti_files import AFFINE, FIELD, FIELD_OFFSET, field, write_nifti
from Testing.shared_data import shared
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.io.volume_files import read_volume

# NumPy warns of numbers that the library should have refused or handled before.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def assert_field(volume, tolerance=1.0) -> None:
    """The middle of the volume follows HU = -700 + 3 x + 2 y + 5 z (LPS, mm)."""
    shape = volume.voxels.shape
    for i in range(shape[2] // 4, 3 * shape[2] // 4, 3):
        for j in range(shape[1] // 4, 3 * shape[1] // 4, 3):
            for k in range(shape[0] // 4, 3 * shape[0] // 4):
                expected = FIELD_OFFSET + FIELD @ volume.position(i, j, k)
                assert abs(volume.voxels[k, j, i] - expected) <= tolerance, (i, j, k)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sform_lies_qform_true", ("0.8 x 0.9 x 5 mm", "0.8 x 0.9 x 3 mm", "133", "--nifti")),
        ("sform_and_qform_37mm_apart", ("37 mm", "100", "137", "--nifti")),
        ("off0_unzip_first", ("vox_offset",)),
        ("dim_negative", ("-48",)),
        ("units_metre_wrong", ("slices every 5000 mm",)),
    ],
)
@pytest.mark.parametrize("unzipped", [False, True])
def test_what_is_refused(tmp_path, capfd, name, words, unzipped):
    path = shared(f"cases/{name}.nii.gz")
    if unzipped:
        import gzip

        (tmp_path / f"{name}.nii").write_bytes(gzip.decompress(path.read_bytes()))
        path = tmp_path / f"{name}.nii"
    line = expect_refusal(capfd, tmp_path, "enhance", path, tmp_path / "out.nii.gz")
    assert str(path) in line
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("name", "options", "slices", "warned"),
    [
        ("sform_lies_qform_true", ("--nifti", "qform"), 34, False),
        ("pixdim_lies_sform_only", (), 56, True),
        ("pixdim_negative_sform_only", (), 56, False),
        ("slope0_intercept", (), 56, False),
        ("sform_shear_1e-4", (), 56, False),
        ("units_metre", (), 56, False),
    ],
)
def test_what_is_read_lies_right(tmp_path, name, options, slices, warned):
    path, target = shared(f"cases/{name}.nii.gz"), tmp_path / "thin.nii.gz"
    arguments = ("enhance", path, target, "--method", "consistent", *options)
    assert main([str(argument) for argument in arguments]) == 0
    thin = read_volume(target)
    assert thin.voxels.shape[0] == slices
    assert thin.spacing[2] == 1
    assert_field(thin)
    report = json.loads((tmp_path / "thin.nii.gz.provenance.json").read_text())
    assert any("contradicts itself" in warning for warning in report["warnings"]) == warned


@pytest.mark.parametrize("scale", [(1, 1e-3), (2, 1.0), (3, 1e3)])
@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("suffix", [".nii", ".hdr"])
def test_the_field_keeps_its_place_from_every_way_to_write_it(tmp_path, suffix, codes, slope, scale):
    unit, factor = scale
    source = write_nifti(
        tmp_path / f"thick{suffix}",
        field(),
        units=unit,
        codes=codes,
        scaling=(slope, -1024.0 if slope == 0 else 0.0),
        pixdim=(1.0, 0.8 * factor, 0.9 * factor, 5 * factor, 1, 1, 1, 1),
        qoffset=tuple(AFFINE[:, 3] * factor),
        sform=tuple((AFFINE * factor).ravel()),
    )
    target = tmp_path / "thin.nii.gz"
    assert main(["enhance", str(source), str(target), "--method", "consistent", "--progress", "none"]) == 0
    thin = read_volume(target)
    assert thin.voxels.shape[0] == 56
    assert_field(thin)
    assert np.allclose(thin.origin, (-30, -20, 100), atol=1e-4)
