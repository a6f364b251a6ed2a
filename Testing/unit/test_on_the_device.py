"""The whole path on a device: volumes that stay there as tensors give what arrays give; memory may run out.

Tensors on the CPU stand for those on a GPU: the code is the same but for the device.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ThickToThinSRLib import consistency
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.inference import place as places
from ThickToThinSRLib.inference import runner as runners
from ThickToThinSRLib.inference.place import Place
from ThickToThinSRLib.inference.runner import Runner
from ThickToThinSRLib.inference.sliding_window import predict
from ThickToThinSRLib.methods.body import Body
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import NetworkEntry, build
from ThickToThinSRLib.networks.window_spec import window_spec
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import save_network

pytestmark = pytest.mark.usefixtures("one_thread")
CARD = {"title": "Test", "version": "1", "licence": "none", "origin": "random numbers"}
SMALL_TVSRN = {"channels": 2, "heads": 2, "encoder_blocks": 2, "decoder_blocks": 2, "in_plane_groups": 1}


@pytest.fixture
def on_device(monkeypatch):
    """Volumes stay on the device, as on a GPU."""

    def switch(on: bool = True) -> None:
        for module in (places, runners):
            monkeypatch.setattr(module, "keeps_volumes", lambda device: on)

    return switch


@pytest.fixture(scope="module")
def chest() -> Volume:
    """A body in air, with lungs, metal and padding."""
    generator = np.random.default_rng(0)
    z, y, x = np.ogrid[:5, :104, :136]
    voxels = generator.normal(-1000, 5, (5, 104, 136))
    body = ((y - 52) / 22) ** 2 + ((x - 68 - z) / 34) ** 2 < 1
    lungs = ((y - 52) / 12) ** 2 + ((abs(x - 68) - 16) / 9) ** 2 < 1
    texture = generator.normal(0, 60, voxels.shape)
    voxels = np.where(body, np.where(lungs, -850, 50) + texture, voxels)
    voxels[:, 50:53, 66:70] = 3000
    voxels[:, :4] = -2000
    return Volume(voxels.astype(np.float32), (0.8, 0.8, 5.0), thickness=5.0)


@pytest.fixture(scope="module")
def tvsrn(tmp_path_factory):
    torch.manual_seed(0)
    network = build("tvsrn", **SMALL_TVSRN).eval()
    with torch.no_grad():
        network.head[2].bias.fill_(0.2)
    path = tmp_path_factory.mktemp("weights") / "tvsrn.safetensors"
    save_network(path, network.state_dict(), "tvsrn", SMALL_TVSRN, network.window, CARD)
    return path


def choices(name: str, tvsrn) -> dict:
    if name == "tvsrn":
        return {"checkpoint": tvsrn}
    if name == "sr4zct":
        return {"method": name, "minutes": 0.0, "planes": "coronal"}
    return {"method": name}


@pytest.mark.parametrize("spacing", [1.0, 1.7])
@pytest.mark.parametrize("name", ["universal", "sr4zct", "tvsrn"])
def test_tensors_on_the_device_give_what_arrays_give(name, spacing, chest, tvsrn, on_device):
    if name == "sr4zct" and spacing != 1.0:
        pytest.skip("the same code as at 1 mm, and slow")
    settings = Settings(spacing=spacing, axis=2, precision="float32", **choices(name, tvsrn))
    expected, _ = enhance_volume(chest, settings)
    on_device()
    found, report = enhance_volume(chest, settings)
    assert np.abs(found.voxels - expected.voxels).max() < 0.05
    assert report["consistency_hu"]["mean"] < 0.1 or name == "tvsrn"


@pytest.mark.parametrize("name", ["universal", "sr4zct"])
def test_skipping_the_air_changes_nothing_in_the_body(name, chest, monkeypatch):
    settings = Settings(spacing=1.0, axis=2, precision="float32", consistency=False, **choices(name, None))
    found, _ = enhance_volume(chest, settings)
    box = Body(chest.voxels).box(range(len(chest.voxels)))
    whole = tuple(slice(0, size) for size in chest.voxels.shape[1:])
    monkeypatch.setattr(Body, "box", lambda self, slices: whole)
    monkeypatch.setattr(Body, "span", lambda self, across, planes: whole[2 - across])
    expected, _ = enhance_volume(chest, settings)
    difference = np.abs(found.voxels - expected.voxels)
    assert np.prod([part.stop - part.start for part in box]) < 0.8 * chest.voxels[0].size
    assert difference.max() > 0.1, "the air keeps the interpolation"
    assert difference[:, chest.voxels.max(axis=0) > -900].max() < 0.1


def test_the_body_is_found_without_table_and_sheets():
    thick = np.random.default_rng(0).normal(-1000, 20, (5, 128, 160)).astype(np.float32)
    thick[:, 40:80, 48:112] = 40.0  # a body
    thick[:, 50:70, 60:76] = -870.0  # with a lung in it
    thick[:, 110:116] = -300.0  # a table's sheet
    thick[4, 40:80, 48:112] = -1000.0
    body = Body(thick)
    assert body.box([0]) == (slice(24, 96), slice(32, 128))
    assert body.box([4]) == body.box([2]), "neighbours count"
    assert body.span(1, slice(50, 52)) == slice(32, 128)
    assert body.span(2, slice(50, 52)) == slice(24, 96)
    assert body.span(1, slice(0, 8)) is None
    assert Body(np.full((3, 40, 40), -1000.0)).box([1]) is None
    lung = np.full((3, 64, 64), -880.0)  # a reconstruction of the inside of a lung
    assert Body(lung).box([1]) == (slice(0, 64), slice(0, 64))


def test_consistency_is_measured_on_tensors_as_on_arrays():
    generator = np.random.default_rng(0)
    thick, thin = generator.normal(0, 100, (9, 8, 9)), generator.normal(0, 100, (41, 8, 9))
    found = [
        consistency.measure(thin.astype(np.float32), thick, Acquisition(5, 5), 1.0, place).as_dict()
        for place in (np.asarray, torch.from_numpy)
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-4)


WINDOW = window_spec(5, 4, multiple=8, margin=16)


class Copies(torch.nn.Module):
    """Predicts copies of its second slice; runs out of memory on more than it can bear."""

    def __init__(self, bears):
        super().__init__()
        self.bears, self.seen = bears, []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        if x.numel() // 4 > self.bears:
            raise torch.OutOfMemoryError("injected")
        return x[:, :, 1:2].expand(-1, -1, WINDOW.outputs, -1, -1)


def test_memory_for_fewer_tiles_at_once_leads_to_fewer_then_to_smaller_ones(monkeypatch, on_device):
    on_device()
    thick = np.repeat(np.random.default_rng(0).normal(0, 300, (1, 200, 200)), 12, axis=0).astype(np.float32)
    entry = NetworkEntry("", "", "", bytes_per_pixel=1.0)
    expected = predict(thick, WINDOW, "seamless", Runner(Copies(1e9), WINDOW, entry, "cpu"), Monitor())
    said = []
    network = Copies(2 * 150 * 150)
    runner = Runner(network, WINDOW, entry, "cpu", monitor=Monitor(say=said.append))
    monkeypatch.setattr(runner, "at_once", lambda pixels: min(8, runner._most_at_once))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    runner.device = torch.device("cpu")
    monkeypatch.setattr(runner, "_forward", lambda tensor, precision: network(tensor))
    found = predict(thick, WINDOW, "seamless", runner, Monitor())
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert [line.split("with ")[1] for line in said] == [
        "4 at once", "2 at once", "1 at once", "tiles of 116 pixels",
    ]  # fmt: skip


def test_several_tiles_on_several_cores_give_what_one_by_one_gives():
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 1, (1, 3, 3), padding=(0, 1, 1))
    tiles = np.random.default_rng(0).random((3, 4, 32, 32)).astype(np.float32)
    entry = NetworkEntry("", "", "", bytes_per_pixel=1.0)
    one = Runner(network, WINDOW, entry, "cpu")
    expected = np.concatenate([one(tiles[index : index + 1]) for index in range(3)])
    torch.set_num_threads(2)
    assert one.at_once(32 * 32) == 2
    np.testing.assert_allclose(one(tiles), expected, atol=1e-6)


def test_volumes_that_do_not_fit_stay_in_memory(on_device, monkeypatch):
    on_device()
    monkeypatch.setattr(places, "free_memory", lambda device: 1e9)
    assert Place(torch.device("cpu"), 10_000_000, Monitor()).device is not None
    assert Place(torch.device("cpu"), 200_000_000, Monitor()).device is None


def test_a_slab_that_does_not_fit_is_done_on_the_cpu_and_so_are_those_behind_it(on_device, monkeypatch):
    on_device()
    said = []
    monitor = Monitor(say=said.append)
    place = Place(torch.device("cpu"), 100, monitor)
    place.volumes["thin"] = place.put(np.zeros((4, 30, 8), np.float32))
    monkeypatch.setattr(places, "slabs", lambda *shape: [slice(i, i + 10) for i in (0, 10, 20)])
    kinds = []

    def work(band):
        thin = place.volumes["thin"]
        kinds.append(type(thin))
        if band.start == 10 and isinstance(thin, torch.Tensor):
            raise torch.OutOfMemoryError("injected")
        thin[:, band] = thin[:, band] + band.start + 1

    place.each_slab(work, (4, 30, 8), "test", monitor)
    result = place.result("thin", np.dtype(np.int16))
    assert kinds == [torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]
    assert len(said) == 1 and "not enough memory on cpu for the volumes" in said[0]
    np.testing.assert_array_equal(result[0, ::10, 0], [1, 11, 21])
