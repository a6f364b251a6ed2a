"""``python -m training.bundled``: an interrupted run ends as an uninterrupted one, and in a usable file."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import Weights

from .bundled_data import write_thin_scan
from .runs import process


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    write_thin_scan(folder / "chest_thin.nii.gz")
    return folder


def train(run, scans, *options):
    recipe = ["universal_first", str(run), "--data", str(scans), "--steps", "2", "--settling", "1"]
    return process("-m", "training.bundled", *recipe, "--precision", "float32", *options, timeout=300)


def test_an_interrupted_run_ends_in_the_weights_of_an_uninterrupted_one(scans, tmp_path):
    whole = train(tmp_path / "whole", scans)
    assert whole.returncode == 0, whole.stderr
    # Who draws the batches makes no difference either.
    assert train(tmp_path / "parts", scans, "--stop", "1", "--workers", "1").returncode == 0
    assert not (tmp_path / "parts" / "universal_first.safetensors").exists()
    assert train(tmp_path / "parts", scans).returncode == 0
    one, other = (load_file(tmp_path / run / "universal_first.safetensors") for run in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    # The file is one that `enhance` takes.
    path = tmp_path / "whole" / "universal_first.safetensors"
    recipe = Weights.open(path).card["recipe"]
    assert (recipe["command"], recipe["steps"]) == ("python -m training.bundled universal_first", 2)
    thick = Volume(np.zeros((4, 16, 16), np.int16), (0.7, 0.7, 5.0), (0, 0, 0), np.eye(3))
    assert len(enhance_volume(thick, Settings(checkpoint=path))[0].voxels) == 16


def test_an_empty_folder_is_refused_in_one_line(tmp_path):
    refused = train(tmp_path / "run", tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.strip() == f"training: {tmp_path}: no .nii.gz file to learn from"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--settling", "5"], "settling must lie between 0 and the 4 steps, not 5"),
        (["--steps", "0"], "steps must be 1 or more, not 0"),
        (["--leave-out", "thin"], "no .nii.gz file to learn from"),
    ],
)
def test_mistakes_are_refused_before_the_run_exists(scans, tmp_path, capfd, monkeypatch, options, words):
    from training.bundled.__main__ import main
    from training.command import run

    command = [
        "universal_first",
        str(tmp_path / "run"),
        "--data",
        str(scans),
        "--steps",
        "4",
        "--settling",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["training.bundled", *command, *options])
    assert run(main) == 2
    error = capfd.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
