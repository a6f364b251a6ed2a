"""What goes wrong in a training ends in one line, and loses nothing that was there."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from Testing.command_line import ENVIRONMENT, REPOSITORY
from training.train import main

from .runs import TINY, arguments, same, train, weights

pytestmark = pytest.mark.usefixtures("one_thread")


def one_line(capfd):
    """What was written on standard error, but for the progress bar: one line."""
    lines = [part for part in capfd.readouterr().err.replace("\r", "\n").splitlines() if part.strip()]
    lines = [line for line in lines if not line.startswith("training:  ") and "step/s" not in line]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_state_before(prepared, tmp_path, capfd):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(prepared, data)
    assert train("mpunet", data, run, "steps=2") == 0
    before = (run / "state.safetensors").read_bytes()
    for path in (data / "train").glob("*.thin.npy"):
        np.save(path, np.full_like(np.load(path), np.nan, np.float32))
    capfd.readouterr()
    assert train("mpunet", data, run, "steps=4", resume=True) == 2
    error = one_line(capfd)
    assert error.startswith("training: the loss became nan at step 3 (CT")
    assert "try a lower learning_rate" in error
    assert (run / "state.safetensors").read_bytes() == before
    # With the data mended, the run ends as if nothing had been.
    shutil.rmtree(data)
    shutil.copytree(prepared, data)
    assert train("mpunet", data, run, "steps=4", resume=True) == 0
    assert train("mpunet", data, tmp_path / "whole", "steps=4") == 0
    assert same(weights(run), weights(tmp_path / "whole"))


def test_an_empty_split_is_refused_before_the_run_exists(prepared, tmp_path, capfd):
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    index = json.loads((data / "index.json").read_text())
    index["cases"] = [entry for entry in index["cases"] if entry["split"] != "val"]
    (data / "index.json").write_text(json.dumps(index))
    capfd.readouterr()
    assert train("mpunet", data, tmp_path / "run") == 2
    assert one_line(capfd) == f"training: {data}: its split 'val' is empty"
    assert not (tmp_path / "run").exists()


def test_a_case_damaged_meanwhile_ends_the_run_and_a_mended_one_continues_it(prepared, tmp_path, capfd):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(prepared, data)
    assert train("mpunet", data, run, "steps=1") == 0
    for path in (data / "train").glob("*.thick.npy"):
        path.write_bytes(path.read_bytes()[:300])
    capfd.readouterr()
    assert train("mpunet", data, run, "steps=3", resume=True) == 2
    assert "missing or damaged array" in one_line(capfd)
    shutil.rmtree(data)
    shutil.copytree(prepared, data)
    assert train("mpunet", data, run, "steps=3", resume=True) == 0


def test_a_damaged_state_is_named(prepared, tmp_path, capfd):
    run = tmp_path / "run"
    assert train("mpunet", prepared, run, "steps=1") == 0
    state = run / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    capfd.readouterr()
    assert train("mpunet", prepared, run, "steps=2", resume=True) == 2
    assert f"{state}: damaged, or of another network" in one_line(capfd)


@pytest.mark.parametrize(
    ("recipe", "settings", "words"),
    [
        ("mpunet", ["crop=64"], "are smaller than a crop of 4 x 64 x 64: set a smaller crop"),
        ("mpunet", ["crop=18"], "crop must be a multiple of 4 for mpunet, not 18"),
        ("mpunet", ["factor=4"], "its pairs have the factor 5, the network 4"),
        ("mpunet", ["learnin_rate=1"], "--set learnin_rate=1: needs key=value with a key of: crop,"),
        ("mpunet", ["batch=two"], "--set batch=two: needs an int"),
        ("mpunet", ["seed=100000000000000000000"], "seed must lie under 2**63, not at 100000000000000000000"),
        ("mpunet", ["loss=l3"], "loss must be one of l1, mse, not 'l3'"),
        ("mpunet", ["learning_rate=-1"], "learning_rate must be positive"),
        ("sr4zct", [], "sr4zct needs no training beforehand: python -m training.benchmark"),
        ("tvsm", [], "no recipe 'tvsm'; there are: interpolation, tvsrn"),
    ],
)
def test_mistakes_in_the_command_are_refused_before_the_run_exists(
    prepared, tmp_path, capfd, recipe, settings, words
):
    capfd.readouterr()
    run = tmp_path / "run"
    command = [recipe, "--data", str(prepared), "--output", str(run), "--device", "cpu"]
    assert main([*command, "--set", *TINY.get(recipe, []), "crop=16", *settings]) == 2
    assert words in one_line(capfd)
    assert not (run / "run.json").exists()


def test_a_training_asked_to_stop_saves_its_state_and_says_so(prepared, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training.train", *arguments("mpunet", prepared, run, "steps=100000")]
    training = subprocess.Popen(
        command, env=ENVIRONMENT, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline, log = time.monotonic() + 100, run / "log.jsonl"
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        assert training.poll() is None
        time.sleep(0.05)
    training.send_signal(signal.SIGTERM)
    _, err = training.communicate(timeout=100)
    assert training.returncode == 3, err
    assert err.rstrip().endswith("training: stopped")
    assert train("mpunet", prepared, run, "steps=1", resume=True) == 0, "there is a state to go on from"
