"""SAINT's two stages, DA-VSR's axial loss, and blocks computed again to save memory."""

from __future__ import annotations

import socket

import pytest
import torch

from Testing.command_line import ENVIRONMENT
from ThickToThinSRLib.networks.rdn import ResidualDenseBlock
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.networks.swin import SwinBlock
from training.objectives import build_objective, enable_gradient_checkpointing
from training.recipes import find_recipe
from training.train import main

from .runs import COMMON, TINY, arguments, process, train, weights

pytestmark = pytest.mark.usefixtures("one_thread")
DAVSR = {"depth": 4, "features": 4, "blocks": 1, "layers": 1, "growth": 4}
VIEWS, FUSION = ("extractor", "filters"), ("fusion",)


@pytest.fixture(scope="module")
def untrained(prepared, tmp_path_factory):
    """Weights of a tiny SAINT before its first step."""
    run = tmp_path_factory.mktemp("runs") / "untrained"
    # In single precision a step of this rate is none.
    assert train("saint", prepared, run, "steps=1", "learning_rate=1e-60", "validate_below=0") == 0
    return weights(run)


def changed(one, other):
    """Names of the parts in which two networks differ, and of those in which they do not."""
    parts = {key.split(".")[0] for key in one}
    differ = {key.split(".")[0] for key in one if not torch.equal(one[key], other[key])}
    return differ, parts - differ


@pytest.mark.parametrize(("stage_one", "trained", "fixed"), [(0.99, VIEWS, FUSION), (0, FUSION, VIEWS)])
def test_each_stage_of_saint_trains_its_own_part(prepared, untrained, tmp_path, stage_one, trained, fixed):
    settings = [f"stage_one={stage_one}", "steps=3", "validate_below=0"]
    assert train("saint", prepared, tmp_path / "run", *settings) == 0
    assert changed(untrained, weights(tmp_path / "run")) == ({*trained}, {*fixed})


def test_the_first_stage_of_saint_asks_both_views_for_the_truth():
    torch.manual_seed(0)
    network = build("saint", **numbers("saint"))
    objective = build_objective(find_recipe("saint"), network)
    thick, thin = torch.rand(1, 1, 4, 8, 12), torch.rand(1, 1, network.window.outputs, 8, 12)
    loss, prediction = objective(thick, thin, 1)
    views = network.views(thick)
    torch.testing.assert_close(loss, (views - thin).abs().mean())
    torch.testing.assert_close(prediction[:, 0], views.mean(1))
    loss, prediction = objective(thick, thin, 2)
    torch.testing.assert_close(prediction, network(thick))
    torch.testing.assert_close(loss, (prediction - thin).abs().mean())


def numbers(recipe):
    """A tiny network's arguments."""
    return {key: int(value) for key, value in (text.split("=") for text in TINY[recipe])}


# Two processes that import once; what torchrun would tell each stands in its environment.
FORKED = """
import os, sys
import training.fit
from training.train import main

child = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if child else "1"
code = main(sys.argv[1:])
if child:
    code = code or os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(code)
"""


def test_two_processes_train_the_second_stage_of_saint_as_one_does(
    prepared, untrained, tmp_path, monkeypatch
):
    """DistributedDataParallel must be told of the weights that a stage leaves alone."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", str(port)), ("WORLD_SIZE", "2")):
        monkeypatch.setitem(ENVIRONMENT, name, value)
    settings = ["stage_one=0", "steps=3", "crops_per_case=2", "validate_below=0"]
    done = process("-c", FORKED, *arguments("saint", prepared, tmp_path / "two", *settings), timeout=120)
    assert done.returncode == 0, done.stderr
    assert train("saint", prepared, tmp_path / "one", *settings, "batch=2") == 0
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert changed(untrained, two) == ({*FUSION}, {*VIEWS})
    assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-5


def test_da_vsr_learns_its_axial_head_from_thickened_rows_and_columns():
    torch.manual_seed(0)
    network = build("davsr", **DAVSR)
    objective = build_objective(find_recipe("davsr"), network)
    thick, thin = torch.rand(1, 1, 4, 20, 20), torch.rand(1, 1, network.window.outputs, 20, 20)
    loss, prediction = objective(thick, thin, 2)
    torch.testing.assert_close(prediction, network(thick))
    slices = thick[0, 0]
    images = torch.cat([slices, slices.mT])  # thickened along rows, and along columns
    low = torch.stack([images[:, 5 * j : 5 * j + 5].mean(1) for j in range(4)], 1)
    truth = images[:, 2:18]  # from the centre of the first thick row to that of the last
    weight = (torch.arange(16) % 5 / 5)[:, None]
    below = torch.arange(16) // 5
    linear = (1 - weight) * low[:, below] + weight * low[:, (below + 1).clamp(max=3)]
    estimate = linear + network.upsampled(low[:, None], "axial")[:, :16]
    axial, plain = (estimate - truth).abs().mean(), (network(thick) - thin).abs().mean()
    assert axial > 0.1
    torch.testing.assert_close(loss, axial + plain)


def test_a_training_of_da_vsr_moves_all_three_heads(prepared, tmp_path):
    ends = []
    settings = [*COMMON, *(f"{key}={value}" for key, value in DAVSR.items()), "steps=1", "validate_below=0"]
    for rate in ("1e-60", "0.001"):
        command = ["davsr", "--data", str(prepared), "--output", str(tmp_path / rate), "--device", "cpu"]
        assert main([*command, "--set", *settings, f"learning_rate={rate}"]) == 0
        ends.append(weights(tmp_path / rate))
    for plane in ("sagittal", "coronal", "axial"):
        key = f"heads.{plane}.0.weight"
        assert not torch.equal(ends[0][key], ends[1][key]), plane


@pytest.mark.parametrize(("recipe", "block"), [("tvsrn", SwinBlock), ("saint", ResidualDenseBlock)])
def test_gradient_checkpointing_computes_each_block_twice(prepared, tmp_path, monkeypatch, recipe, block):
    calls, forward = [], block.forward

    def counted(self, x):
        calls.append(torch.is_grad_enabled())
        return forward(self, x)

    monkeypatch.setattr(block, "forward", counted)
    found = {}
    for setting in ("false", "true"):
        calls.clear()
        settings = ["steps=1", "validate_below=0", "stage_one=0.99", f"gradient_checkpointing={setting}"]
        assert train(recipe, prepared, tmp_path / setting, *settings) == 0
        found[setting] = (calls.count(True), calls.count(False))
    assert found["false"][0] > 0
    assert found["true"] == (2 * found["false"][0], found["false"][1]), "twice to learn, once to validate"


@pytest.mark.parametrize("name", ["tvsrn", "cthnet", "saint"])
def test_gradient_checkpointing_keeps_less(name):
    tiny = {"encoder_blocks": 2, "decoder_blocks": 2}
    kept = {}
    for less in (False, True):
        network = build(name, **(numbers("saint") if name == "saint" else tiny))
        if less:
            enable_gradient_checkpointing(network)
        depth = network.window.depth
        kept[less] = 0

        def count(tensor, less=less):
            kept[less] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            network(torch.rand(1, 1, depth, 16, 16)).sum()
    assert kept[True] < 0.7 * kept[False]
