"""What goes wrong in a training ends in one line, and loses nothing that was there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from Testing.command_line import ENVIRONMENT, REPOSITORY
from Testing.make_dicom import ct_series, write_series
from training import one_step
from training.logs import Log
from training.train import main

from .runs import TINY, arguments, same, train, weights

pytestmark = pytest.mark.usefixtures("one_thread")


def one_line(capfd):
    """What was written on standard error, but for the progress bar: one line."""
    lines = [part for part in capfd.readouterr().err.replace("\r", "\n").splitlines() if part.strip()]
    lines = [line for line in lines if not line.startswith("training:  ") and "step/s" not in line]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_loss_that_is_nan_ends_the_run_and_leaves_the_state_before(prepared, tmp_path, capfd):
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


def test_a_gradient_that_is_nan_ends_the_run_before_it_does_harm(prepared, tmp_path, capfd, monkeypatch):
    run = tmp_path / "run"
    assert train("mpunet", prepared, run, "steps=2", "validate_below=10", "validate_every=1") == 0
    before = {name: (run / f"{name}.safetensors").read_bytes() for name in ("state", "best", "last")}
    built = one_step.build_objective

    def spoiled(recipe, network):
        next(network.parameters()).register_hook(lambda gradient: gradient * float("nan"))
        return built(recipe, network)

    monkeypatch.setattr(one_step, "build_objective", spoiled)
    settings = ["steps=4", "validate_below=10", "validate_every=1"]
    capfd.readouterr()
    assert train("mpunet", prepared, run, *settings, resume=True) == 2
    assert one_line(capfd).startswith("training: the gradient became nan at step 3 (CT")
    assert {name: (run / f"{name}.safetensors").read_bytes() for name in before} == before


def test_infinite_weights_are_not_saved(prepared, tmp_path, capfd, monkeypatch):
    run = tmp_path / "run"
    assert train("mpunet", prepared, run, "steps=1") == 0
    before = (run / "state.safetensors").read_bytes()
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self: (step(self), self.param_groups[0]["params"][0].data.fill_(float("inf"))),
    )
    capfd.readouterr()
    assert train("mpunet", prepared, run, "steps=3", "save_seconds=0", resume=True) == 2
    assert "training: a weight became inf at step 3 (" in one_line(capfd)
    assert (run / "state.safetensors").read_bytes() == before


def test_a_training_does_not_go_on_with_a_network_that_validation_moved_away(
    prepared, tmp_path, capfd, monkeypatch
):
    from training import validation

    def predicting(device, thick, window, tiling, runner, monitor):
        runner.device = device
        return np.zeros((21, *thick.shape[1:]), np.float32)

    monkeypatch.setattr(validation, "predict", partial(predicting, torch.device("cpu", 0)))
    assert train("mpunet", prepared, tmp_path / "same", "steps=1") == 0, "a number is no other device"
    monkeypatch.setattr(validation, "predict", partial(predicting, torch.device("meta")))
    capfd.readouterr()
    assert train("mpunet", prepared, tmp_path / "run", "steps=1") == 2
    assert "cpu has no memory to validate on CT1: set a smaller validation_crop" in one_line(capfd)


@pytest.mark.parametrize("signalled", ["group", "loader"])
def test_signals_to_the_processes_that_read_crops_lose_nothing(prepared, tmp_path, signalled):
    run = tmp_path / "run"
    # Nothing is saved in between where the training itself saves at the end.
    every = 1000 if signalled == "group" else 0
    settings = ["steps=100000", "workers=2", f"save_seconds={every}", "validate_below=0"]
    command = [sys.executable, "-m", "training.train", *arguments("mpunet", prepared, run, *settings)]
    training = subprocess.Popen(
        command, env=ENVIRONMENT, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_for_a_line(run / "log.jsonl", training)
        if signalled == "group":
            os.killpg(training.pid, signal.SIGTERM)
        else:
            os.kill(loaders_of(training.pid)[0], signal.SIGKILL)
        _, err = training.communicate(timeout=100)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(training.pid, signal.SIGKILL)
    last = err.replace("\r", "\n").rstrip().splitlines()[-1]
    if signalled == "group":
        assert (training.returncode, last) == (3, "training: stopped"), err
    else:
        assert training.returncode == 2, err
        assert last.startswith("training: a process that reads crops was killed, perhaps for lack of")
    assert "Traceback" not in err
    step = json.loads(safe_open(run / "state.safetensors", "pt").metadata()["state"])["counters"]["step"]
    assert step >= 2


def test_a_process_killed_while_the_log_is_closed_is_named_too(prepared, tmp_path, capfd, monkeypatch):
    """PyTorch says so from a signal handler, wherever the training is."""
    close = Log.close

    def killed_then(self):
        close(self)
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(Log, "close", killed_then)
    assert train("mpunet", prepared, tmp_path / "run", "steps=1") == 2
    assert "training: a process that reads crops was killed" in capfd.readouterr().err.replace("\r", "\n")


def test_an_error_in_the_middle_of_closing_the_bar_stands_on_a_line_of_its_own(
    prepared, tmp_path, capfd, monkeypatch
):
    from tqdm import tqdm

    display = tqdm.display

    def killed_after(self, *given, **options):
        display(self, *given, **options)
        if self.disable:  # it is being closed
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(tqdm, "display", killed_after)
    assert train("mpunet", prepared, tmp_path / "run", "steps=1") == 2
    last = capfd.readouterr().err.replace("\r", "\n").rstrip().splitlines()[-1]
    assert last.startswith("training: a process that reads crops was killed")


def loaders_of(pid):
    """Its child processes that read crops; another child is multiprocessing's own."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def wait_for_a_line(log, training):
    """Until the first epoch's line is there; the training must live."""
    deadline = time.monotonic() + 100
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        assert training.poll() is None
        time.sleep(0.05)


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
        ("mpunet", ["seed=100000000000000000000"], "seed must lie between 0 and 9223372036854775807"),
        ("mpunet", ["workers=999999"], "workers must lie between 0 and 256, not 999999"),
        ("mpunet", ["average=1"], "average must be at least 0 and under 1, not 1.0"),
        ("mpunet", ["drop_factor=-1"], "drop_factor must lie between 0 and 1, not -1.0"),
        ("mpunet", ["validate_below=nan"], "validate_below must be 0 or more, not nan"),
        ("mpunet", ["validation_crop=2"], "validation_crop must be 4 or more for mpunet, not 2"),
        ("mpunet", ["loss=l3"], "loss must be one of l1, mse, not 'l3'"),
        ("mpunet", ["learning_rate=-1"], "learning_rate must lie between 0 and 1, not -1"),
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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["crop=64"], "case CT1: 5 thick slices of 32 x 32 pixels are smaller than a crop of 4 x 64 x 64"),
        (["crop=18"], "crop must be a multiple of 4 for mpunet, not 18"),
    ],
)
@pytest.mark.parametrize("dicom", [False, True])
def test_a_crop_that_does_not_fit_is_refused_before_anything_is_prepared(
    published, tmp_path, capfd, settings, words, dicom
):
    data, run = shutil.copytree(published, tmp_path / "data"), tmp_path / "run"
    if dicom:
        for number in (1, 2):
            path = data / "train" / "5mm" / f"CT{number}.nii.gz"
            path.unlink()
            write_series(ct_series(np.zeros((5, 32, 32), np.int16)), path.with_name(f"CT{number}"))
    capfd.readouterr()
    command = ["mpunet", "--data", str(data), "--output", str(run), "--device", "cpu"]
    assert main([*command, "--set", *TINY["mpunet"], *settings]) == 2
    assert words in one_line(capfd)
    assert not run.exists()


def test_a_training_asked_to_stop_saves_its_state_and_says_so(prepared, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training.train", *arguments("mpunet", prepared, run, "steps=100000")]
    training = subprocess.Popen(
        command, env=ENVIRONMENT, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_a_line(run / "log.jsonl", training)
    training.send_signal(signal.SIGTERM)
    _, err = training.communicate(timeout=100)
    assert training.returncode == 3, err
    assert err.rstrip().endswith("training: stopped")
    assert train("mpunet", prepared, run, "steps=1", resume=True) == 0, "there is a state to go on from"
