"""A whole volume through the released test loop, from the authors' pickle to a file, to 1e-4."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
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


def test_the_authors_tiling_reproduces_their_reconstruction_from_file_to_file(tmp_path, checkpoint):
    arrays = np.load(ARRAYS / "tvsrn_authors_volume.npz")
    thick, thin = tmp_path / "thick.nii.gz", tmp_path / "thin.nii.gz"
    write_volume(Volume(arrays["thick"].astype(np.float32), (0.7, 0.7, 5.0), (1.0, 2.0, 3.0)), thick)
    command = ["enhance", str(thick), str(thin), "--checkpoint", str(checkpoint), "--tiling", "authors"]
    assert main([*command, "--progress", "none"]) == 0
    result = read_volume(thin)
    assert result.spacing[2] == 1.0
    assert np.abs(result.voxels - arrays["reconstruction"]).max() < 1e-4


def test_the_seamless_tiling_predicts_every_slice_and_shows_no_windows_along_z(tmp_path, checkpoint):
    arrays = np.load(ARRAYS / "tvsrn_authors_volume.npz")
    thick = arrays["thick"][:, :40, :48].astype(np.float32)
    write_volume(Volume(thick, (0.7, 0.7, 5.0)), tmp_path / "thick.nrrd")
    command = ["enhance", str(tmp_path / "thick.nrrd"), str(tmp_path / "thin.nrrd")]
    options = ["--checkpoint", str(checkpoint), "--consistency", "off", "--progress", "none"]
    assert main([*command, *options]) == 0
    result = read_volume(tmp_path / "thin.nrrd").voxels
    assert result.shape == (41, 40, 48)
    assert min(result[:3].std(), result[-3:].std()) > 0, "the released loop leaves these empty"
    # Random weights leave a pattern of five thin slices; where it is broken, a window ends.
    assert unevenness(result) < 0.1
    assert unevenness(arrays["reconstruction"]) > 0.3


def unevenness(thin):
    """How much the steps from slice to slice differ between the intervals of thick slices, at equal phase."""
    steps = np.abs(np.diff(thin[5:-5].astype(np.float64), axis=0)).mean(axis=(1, 2)).reshape(-1, 5)
    return np.ptp(steps / steps.mean(), axis=0).max()
