"""Training the universal network: an interrupted run ends as an uninterrupted one, and in a usable file."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from Testing.command_line import ENVIRONMENT, REPOSITORY
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import Weights


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with a thin scan of noise and blocks, small but larger than a crop."""
    folder = tmp_path_factory.mktemp("scans")
    generator = np.random.default_rng(0)
    coarse = generator.normal(0, 200, (16, 13, 14))
    voxels = coarse.repeat(5, axis=0).repeat(8, axis=1).repeat(8, axis=2)
    voxels = np.rint(voxels + generator.normal(0, 20, voxels.shape)).astype(np.int16)
    volume = Volume(voxels, (0.7, 0.7, 1.0), (0, 0, 0), np.eye(3), slice_axis=2)
    write_volume(volume, folder / "chest_thin.nii.gz")
    return folder


def train(run, scans, *options):
    return subprocess.run(
        [
            sys.executable, "-m", "training.universal", str(run), "--data", str(scans), "--steps", "4",
            "--settling", "2", "--precision", "float32", *options,
        ],
        env=ENVIRONMENT, cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_an_interrupted_run_ends_in_the_weights_of_an_uninterrupted_one(scans, tmp_path):
    whole = train(tmp_path / "whole", scans)
    assert whole.returncode == 0, whole.stderr
    assert train(tmp_path / "parts", scans, "--stop", "3").returncode == 0
    assert not (tmp_path / "parts" / "universal.safetensors").exists()
    assert train(tmp_path / "parts", scans).returncode == 0
    one, other = (load_file(tmp_path / run / "universal.safetensors") for run in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    # The file is one that `enhance` takes.
    path = tmp_path / "whole" / "universal.safetensors"
    assert Weights.open(path).card["recipe"]["steps"] == 4
    thick = Volume(np.zeros((4, 16, 16), np.int16), (0.7, 0.7, 5.0), (0, 0, 0), np.eye(3))
    assert len(enhance_volume(thick, Settings(checkpoint=path))[0].voxels) == 16


def test_an_empty_folder_is_refused_in_one_line(tmp_path):
    found = train(tmp_path / "run", tmp_path)
    assert found.returncode == 2
    assert found.stderr.strip() == f"training: {tmp_path}: no .nii.gz file to learn from"
    assert not (tmp_path / "run").exists()
