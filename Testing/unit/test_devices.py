"""Devices: choice by name, precision, and what happens when memory runs out (errors are simulated)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.inference import devices
from ThickToThinSRLib.inference import runner as runners
from ThickToThinSRLib.inference.devices import resolve_device
from ThickToThinSRLib.inference.runner import Runner
from ThickToThinSRLib.inference.sliding_window import predict
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import NetworkEntry
from ThickToThinSRLib.networks.window_spec import window_spec

# One tile at a time on the CPU, whatever the machine.
pytestmark = pytest.mark.usefixtures("one_thread")
WINDOW = window_spec(5, 4, multiple=8, margin=16)


def entry(bytes_per_pixel=1.0, **known) -> NetworkEntry:
    """A registry entry for the tests' networks."""
    return NetworkEntry("", "", "", bytes_per_pixel, **known)


ENTRY = entry()


class Fragile(torch.nn.Module):
    """Predicts copies of its second slice; raises a memory error for tiles that are too large."""

    def __init__(self, bears, error=None):
        super().__init__()
        self.bears, self.error, self.shapes = bears, error or torch.OutOfMemoryError("injected"), []

    def forward(self, x):
        self.shapes.append(x.shape[-2:])
        if x.shape[-1] > self.bears:
            raise self.error
        return x[:, :, 1:2].expand(-1, -1, WINDOW.outputs, -1, -1)


def thick_slices(size=300):
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(0, 300, (1, size, size)), 6, axis=0).astype(np.float32)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("injected"),
        MemoryError("injected"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_leads_to_smaller_tiles_with_a_word_and_the_same_result(error):
    lines = []
    fragile = Runner(Fragile(150, error), WINDOW, ENTRY, "cpu", monitor=Monitor(say=lines.append))
    thick = thick_slices()
    expected = predict(thick, WINDOW, "seamless", Runner(Fragile(10_000), WINDOW, ENTRY, "cpu"), Monitor())
    result = predict(thick, WINDOW, "seamless", fragile, Monitor())
    assert np.abs(result - expected).max() < 1e-5
    assert len(lines) == 2
    assert all("out of memory" in line for line in lines)
    assert "96 pixels" in lines[-1]


def test_a_gpu_without_memory_for_the_smallest_tiles_hands_over_to_the_cpu(monkeypatch):
    lines = []
    runner = Runner(Fragile(10_000), WINDOW, ENTRY, "cpu", monitor=Monitor(say=lines.append))
    runner.device = torch.device("meta")  # stands for a GPU: anything that is not the CPU
    runner.shrink("injected", 1, 96, divisible=True)
    assert runner.device.type == "cpu"
    assert "CPU" in lines[-1]
    assert runner(np.zeros((1, 4, 96, 96), np.float32)).shape == (1, 10, 96, 96)


def test_a_gpu_without_memory_for_the_weights_hands_over_to_the_cpu(monkeypatch):
    class Heavy(Fragile):
        def to(self, device):
            raise torch.OutOfMemoryError(f"injected on {device}")

    monkeypatch.setattr(runners, "resolve_device", lambda name: torch.device("meta"))
    said = []
    runner = Runner(Heavy(10_000), WINDOW, ENTRY, "cuda", monitor=Monitor(say=said.append))
    assert "not enough memory on meta for the weights" in said[0]
    assert runner(np.zeros((1, 4, 96, 96), np.float32)).shape == (1, 10, 96, 96)


def test_where_nothing_fits_the_user_is_told_so():
    runner = Runner(Fragile(8), WINDOW, ENTRY, "cpu")
    with pytest.raises(UserError, match="out of memory even with tiles of 96"):
        predict(thick_slices(), WINDOW, "seamless", runner, Monitor())


def test_the_authors_tiles_are_never_made_smaller():
    lines = []
    runner = Runner(
        Fragile(8),
        window_spec(5, 4, multiple=8, margin=16, tile=128),
        ENTRY,
        "cpu",
        monitor=Monitor(say=lines.append),
    )
    thick = np.zeros((5, 128, 128), np.float32)
    with pytest.raises(UserError, match="tiles of 128 pixels"):
        predict(thick, runner.window, "authors", runner, Monitor())
    assert not lines
    runner.device = torch.device("meta")
    runner.shrink("injected", 1, 128, divisible=False)
    assert runner.device.type == "cpu"


def test_precision_is_decided_by_the_middle_of_the_volume():
    thick = np.full((12, 300, 300), -1024, np.float32)
    thick[3:9, 60:240, 60:240] = 1000.0
    means = []

    class First(Fragile):
        def forward(self, x):
            means.append(float(x.mean()))
            return super().forward(x)

    runner = Runner(First(10_000), WINDOW, ENTRY, "cpu")
    runner.tile = 128
    predict(thick, WINDOW, "seamless", runner, Monitor())
    assert means[0] > 0.3
    assert min(means) == 0, "the corners hold but air"


def test_other_errors_of_a_network_are_not_taken_for_lack_of_memory():
    runner = Runner(Fragile(8, RuntimeError("shapes do not match")), WINDOW, ENTRY, "cpu")
    with pytest.raises(RuntimeError, match="shapes"):
        predict(thick_slices(), WINDOW, "seamless", runner, Monitor())


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7", "mps"])
def test_a_gpu_that_is_not_there_is_named(name):
    if (name.startswith("cuda") and torch.cuda.is_available()) or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=f"device {name}: PyTorch finds no"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cudax"])
def test_a_device_that_does_not_exist_is_refused(name):
    with pytest.raises(UserError, match="device must be"):
        resolve_device(name)


def test_tiles_are_as_large_as_the_working_memory_allows():
    assert Runner(Fragile(8), WINDOW, entry(1000.0), "cpu").tile > 1700
    assert 500 < Runner(Fragile(8), WINDOW, entry(10_000.0), "cpu").tile < 600
    assert Runner(Fragile(8), WINDOW, entry(1e9), "cpu").tile == 96


class Rounding(torch.nn.Module):
    """A linear layer whose error in half precision is large (`scale` 1) or negligible."""

    def __init__(self, scale):
        super().__init__()
        self.layer, self.scale = torch.nn.Linear(64, 64), scale

    def forward(self, x):
        return 0.5 + self.scale * self.layer(x).float()


@pytest.mark.parametrize(("scale", "chosen"), [(1e-3, "bfloat16"), (1.0, "float32")])
def test_auto_precision_goes_down_only_where_one_tile_bears_it(scale, chosen, monkeypatch):
    monkeypatch.setattr(runners, "native_bfloat16", lambda: True)
    torch.manual_seed(0)
    runner = Runner(Rounding(scale), WINDOW, entry(halve_on_cpu=True), "cpu")
    runner(np.random.default_rng(0).random((1, 4, 64, 64)).astype(np.float32))
    assert runner.precision == chosen


def test_a_cpu_that_only_emulates_half_precision_keeps_float32(monkeypatch):
    monkeypatch.setattr(runners, "native_bfloat16", lambda: False)
    assert Runner(Rounding(1e-3), WINDOW, entry(halve_on_cpu=True), "cpu").precision == "float32"


def test_the_unit_of_a_prediction_decides_how_much_an_error_counts(monkeypatch):
    monkeypatch.setattr(runners, "native_bfloat16", lambda: True)
    torch.manual_seed(0)
    runner = Runner(Rounding(1.0), WINDOW, entry(output_hu=1.0, halve_on_cpu=True), "cpu")
    runner(np.random.default_rng(0).random((1, 4, 64, 64)).astype(np.float32))
    assert runner.precision == "bfloat16"


def test_on_a_cpu_auto_precision_is_float32_and_lower_ones_are_obeyed():
    assert Runner(Fragile(8), WINDOW, ENTRY, "cpu").precision == "float32"
    torch.manual_seed(0)
    network = Rounding(1.0)
    tile = np.random.default_rng(0).random((1, 4, 64, 64)).astype(np.float32)
    exact = Runner(network, WINDOW, ENTRY, "cpu", "float32")(tile)
    lowered = Runner(network, WINDOW, ENTRY, "cpu", "bfloat16")(tile)
    assert 1e-5 < np.abs(exact - lowered).max() < 0.1


def test_float32_allows_no_tf32_and_leaves_the_setting_as_it_was():
    seen = []

    def settings() -> list:
        return [getattr(*switch) for switch in devices._tf32_switches()]

    class Watching(torch.nn.Module):
        def forward(self, x):
            seen.append(settings())
            return x

    before = settings()
    try:
        devices.set_tf32(True)
        allowed = settings()
        Runner(Watching(), WINDOW, ENTRY, "cpu")(np.zeros((1, 4, 8, 8), np.float32))
        assert settings() == allowed
        devices.set_tf32(False)
        assert seen == [settings()] != [allowed]
    finally:
        for switch, value in zip(devices._tf32_switches(), before, strict=True):
            setattr(*switch, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_result_that_is_no_number_is_refused(value):
    class Broken(torch.nn.Module):
        def forward(self, x):
            return torch.full_like(x, value)

    runner = Runner(Broken(), WINDOW, ENTRY, "cpu", "float32")
    with pytest.raises(UserError, match="the network's output contains NaN or infinity"):
        runner(np.zeros((1, 4, 8, 8), np.float32))
