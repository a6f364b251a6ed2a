"""An interrupted training ends as an uninterrupted one: stopped, or killed in the middle of a write."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from .runs import arguments, process, same, train, weights

pytestmark = pytest.mark.usefixtures("one_thread")
# An average, both optimizers, stochastic depth and flips all have a state that could be lost.
STATEFUL = ["average=0.5", "flip=0.5", "validate_every=2", "validate_below=10", "crops_per_case=2"]

# Dies at the given write of a state, when half of the file is on the disk.
KILLED = """
import os, signal, sys
import safetensors.torch
from training.train import main

whole, writes = safetensors.torch.save_file, 0

def half(tensors, path, metadata):
    global writes
    whole(tensors, path, metadata)
    writes += "state" in metadata
    if writes == int(sys.argv[1]):
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

safetensors.torch.save_file = half
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    # A module's fixture is made before `one_thread`, and another number of threads gives other bits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert train("tvsrn", prepared, run, *STATEFUL, "steps=10") == 0
    torch.set_num_threads(threads)
    return run


def test_a_training_continued_in_the_middle_of_an_epoch_ends_in_the_same_bits(
    prepared, uninterrupted, tmp_path
):
    run = tmp_path / "parts"
    for steps, resume in ((3, False), (7, True), (10, True)):
        assert train("tvsrn", prepared, run, *STATEFUL, f"steps={steps}", resume=resume) == 0
    for name in ("last", "best"):
        assert same(weights(run, name), weights(uninterrupted, name))
    whole, parts = (
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        for folder in (uninterrupted, run)
    )
    assert [line["epoch"] for line in parts] == [1, 2]
    for one, other in zip(whole, parts, strict=True):
        for timed in ("seconds", "crops_per_second"):
            del one[timed], other[timed]
        assert one == other


def test_a_training_killed_in_the_middle_of_a_write_loses_nothing_before_it(
    prepared, uninterrupted, tmp_path
):
    run = tmp_path / "killed"
    given = arguments("tvsrn", prepared, run, *STATEFUL, "steps=10", "save_seconds=0")
    killed = process("-c", KILLED, "6", *given)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(run.glob(".thicktothin-*")), "nothing was being written"
    assert train("tvsrn", prepared, run, *STATEFUL, "steps=10", resume=True) == 0
    assert same(weights(run), weights(uninterrupted))
    assert same(weights(run, "best"), weights(uninterrupted, "best"))
    assert not list(run.glob(".thicktothin-*")), "the half-written file is still there"


@pytest.mark.parametrize("recipe", ["tvsrn", "saint"])
def test_gradient_checkpointing_changes_no_bit(prepared, tmp_path, recipe):
    runs = {}
    for setting in ("true", "false"):
        run = tmp_path / setting
        settings = ["steps=3", f"gradient_checkpointing={setting}", "validate_below=0"]
        assert train(recipe, prepared, run, *settings) == 0
        runs[setting] = weights(run)
    assert same(runs["true"], runs["false"])


def test_another_seed_gives_other_weights(prepared, tmp_path):
    for seed in (1, 2):
        assert train("mpunet", prepared, tmp_path / str(seed), "steps=1", f"seed={seed}") == 0
    one, other = (weights(tmp_path / name)["conv_out.weight"] for name in "12")
    assert not torch.equal(one, other)


def test_a_run_goes_on_only_as_it_was_started(prepared, uninterrupted, capfd):
    before = (uninterrupted / "state.safetensors").read_bytes()
    assert train("tvsrn", prepared, uninterrupted, *STATEFUL, "steps=12", "batch=2", resume=True) == 2
    assert "the run to resume has batch=1" in capfd.readouterr().err
    assert train("tvsrn", prepared, uninterrupted, "steps=10") == 2
    assert "exists already; choose another folder, or --resume" in capfd.readouterr().err
    assert (uninterrupted / "state.safetensors").read_bytes() == before
