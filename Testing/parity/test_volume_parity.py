"""A whole volume through the released test loop, from the authors' pickle to a file, to 1e-4."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from ThickToThinSRLib.cli import main
from ThickToThinSRLib.files import read_volume, write_volume
from ThickToThinSRLib.volume import Volume

ARRAYS = Path(__file__).parent / "arrays"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authors")
    pickled = folder / "authors.pkl"
    pickled.write_bytes(lzma.decompress((ARRAYS / "tvsrn_authors_64.pkl.xz").read_bytes()))
    imported = folder / "tvsrn.safetensors"
    assert main(["import-checkpoint", str(pickled), str(imported)]) == 0
    return imported


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_the_authors_tiling_reproduces_their_reconstruction_from_file_to_file(tmp_path, checkpoint, suffix):
    arrays = np.load(ARRAYS / "tvsrn_authors_volume.npz")
    thick, thin = tmp_path / f"thick{suffix}", tmp_path / f"thin{suffix}"
    write_volume(Volume(arrays["thick"].astype(np.float32), (0.7, 0.7, 5.0), (1.0, 2.0, 3.0)), thick)
    command = ["enhance", str(thick), str(thin), "--checkpoint", str(checkpoint), "--tiling", "authors"]
    assert main([*command, "--progress", "none"]) == 0
    result = read_volume(thin)
    assert result.spacing[2] == 1.0
    assert np.abs(result.voxels - arrays["reconstruction"]).max() < 1e-4


def test_the_seamless_tiling_predicts_what_the_authors_loop_leaves_empty(tmp_path, checkpoint):
    arrays = np.load(ARRAYS / "tvsrn_authors_volume.npz")
    write_volume(Volume(arrays["thick"].astype(np.float32), (0.7, 0.7, 5.0)), tmp_path / "thick.nrrd")
    command = ["enhance", str(tmp_path / "thick.nrrd"), str(tmp_path / "thin.nrrd")]
    options = ["--checkpoint", str(checkpoint), "--consistency", "off", "--progress", "none"]
    assert main([*command, *options]) == 0
    result = read_volume(tmp_path / "thin.nrrd").voxels
    assert result.shape == (41, 128, 128)
    assert result[:3].std() > 0
    assert result[-3:].std() > 0
    # The networks' own borders show in the released loop, at the tile's edge in the middle of the image.
    released = arrays["reconstruction"][5:-5]
    jump = np.abs(np.diff(released, axis=2))[:, :, 63].mean() / np.abs(np.diff(released, axis=2)).mean()
    seam = (
        np.abs(np.diff(result[5:-5], axis=2))[:, :, 63].mean() / np.abs(np.diff(result[5:-5], axis=2)).mean()
    )
    assert seam < 1.05 < jump
