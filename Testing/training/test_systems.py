"""What a benchmark runs, and what it says of its cost: tiles, windows, operations, memory."""

from __future__ import annotations

import lzma
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ThickToThinSRLib import consistency
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.inference.sliding_window import depth_placements
from ThickToThinSRLib.methods.registry import METHODS, Method
from ThickToThinSRLib.methods.request import Request
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import save_network
from ThickToThinSRLib.weights.importing import import_authors
from training.data.cases import ScanPair
from training.evaluation.cost import PeakMemory, Work
from training.evaluation.prediction import AUTHORS_TILE, Computing, made_consistent, predict_pair
from training.evaluation.systems import find_systems

pytestmark = pytest.mark.usefixtures("one_thread")
ARRAYS = Path(__file__).parents[1] / "parity" / "arrays"
CPU = Computing("cpu", "float32")


def noise(height: int, width: int, thick: int = 5) -> ScanPair:
    """Slices of 5 and of 1 mm that have nothing to do with each other."""
    rng = np.random.default_rng(0)
    scans = [
        Volume(rng.normal(-300, 300, (n, height, width)).astype(np.float32), (0.7, 0.7, z), slice_axis=2)
        for n, z in ((thick, 5.0), (5 * thick - 4, 1.0))
    ]
    return ScanPair(*scans)


def counted(network: torch.nn.Module, *shape: int) -> float:
    """GFLOP of a network on one input."""
    with Work(f"{network.__class__.__name__} of {id(network)}") as work, torch.inference_mode():
        network.eval()(torch.zeros(shape))
    return work.gflop


def attention_block(tokens: int, channels: int, together: int, mlp: int) -> int:
    """Operations of a transformer block whose tokens attend to `together` tokens: by hand."""
    linear = 2 * tokens * channels**2 * (3 + 1 + 2 * mlp)
    return linear + 2 * 2 * tokens * together * channels


@pytest.mark.parametrize("side", [32, 64])
def test_operations_of_attention_over_the_whole_tile_grow_with_its_square(side):
    tokens = 4 * (side // 16) ** 2
    by_hand = 8 * attention_block(tokens, 512, tokens, 2) + 2 * tokens * (256 * 512 + 512 * 5 * 256)
    assert counted(build("tvsrn", variant="vit_encoder"), 1, 1, 4, side, side) == pytest.approx(by_hand / 1e9)


@pytest.mark.parametrize("learned", [False, True])
def test_operations_of_tvsrn_are_those_counted_by_hand(learned):
    pixels = 16**2
    by_hand = (
        2 * (pixels // 64) * 256 * 2048
        + 4 * attention_block(pixels, 32, 64, 4)
        + 2 * 4 * attention_block(2 * pixels, 64, 16, 4)  # two views, eight columns to a token
        + 8 * attention_block(pixels, 128, 64, 4)
        + 10 * pixels * 2 * (8 * 16 + 16)
    )
    network = build("tvsrn", learned_mask_tokens=learned)
    assert counted(network, 1, 1, 4, 16, 16) == pytest.approx(by_hand / 1e9)
    assert by_hand / pixels * 64**2 == pytest.approx(21.285e9, rel=1e-4)


def test_operations_are_those_of_the_windows_that_each_tiling_runs(finished):
    (system,) = find_systems([], [finished / "best.safetensors"])
    pair, network = noise(32, 32, thick=9), build("mpunet", **system.checkpoint.arguments)
    for protocol, side in (("authors", 32), ("seamless", 64)):  # a margin of 16 pixels all round
        windows = len(depth_placements(9, network.window, protocol))
        found = predict_pair(system, pair, protocol, CPU).gflop
        assert found == pytest.approx(windows * counted(network, 1, 1, 4, side, side))


def test_training_and_other_modules_are_no_work_of_a_prediction():
    network = build("mpunet", features=4)
    with Work("nothing") as work:
        network(torch.zeros(1, 1, 4, 16, 16))
        with torch.inference_mode():
            torch.nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8))
    assert work.gflop is None
    with torch.inference_mode():
        network(torch.zeros(1, 1, 4, 16, 16))
    assert work.gflop is None, "after the block"


@pytest.mark.parametrize(
    ("size", "given", "tile"),
    [((32, 32), AUTHORS_TILE, 32), ((18, 10), AUTHORS_TILE, 20), ((40, 24), 16, 16), ((40, 24), 32, 32)],
)
def test_the_authors_tiles_are_those_of_their_loop_whatever_crop_the_weights_were_trained_at(
    finished, size, given, tile
):
    (system,) = find_systems([], [finished / "best.safetensors"])
    assert system.checkpoint.window.tile == 16, "the crop"
    assert AUTHORS_TILE == 256
    found = predict_pair(system, noise(*size), "authors", CPU, tile=given)
    assert found.tile == tile
    assert found.hu.shape == (21, *size)
    assert predict_pair(system, noise(*size), "seamless", CPU).tile is None


def test_tiles_of_another_size_give_another_result(finished):
    (system,) = find_systems([], [finished / "best.safetensors"])
    pair = noise(32, 32)
    one, same, other = (predict_pair(system, pair, "authors", CPU, tile=tile).hu for tile in (32, 256, 16))
    assert (one == same).all()
    assert np.abs(one - other)[5:-5].max() > 0.01


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the peak")
def test_memory_is_the_peak_within_the_block_above_that_before():
    held = np.ones(20 << 17)  # 20 MiB
    passing = np.ones(200 << 17)
    del passing
    with PeakMemory("cpu") as memory:
        passing = np.ones(60 << 17)
        del passing
    assert 59 < memory.mib < 75, "neither what is held nor what was before"
    with PeakMemory("cpu") as memory:
        pass
    assert memory.mib < 5
    assert held.all()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the peak")
def test_a_prediction_tells_its_time_and_memory():
    (system,) = find_systems(["interpolation"], [])
    found = predict_pair(system, noise(256, 256, thick=9), "seamless", CPU)
    assert found.seconds > 0
    result = found.hu.nbytes / 2**20
    assert result < found.peak_mib < 20 * result


def test_the_dense_network_of_sr4zct_learns_from_the_scan_and_is_told_apart_from_the_unet():
    (dense,) = find_systems(["sr4zct"], [], epochs=1, network="msd")
    (bundled,) = find_systems(["sr4zct"], [], epochs=0)
    paper = "SR4ZCT with the paper's MS-D network, adapted for 1 epochs"
    assert (dense.name, dense.title) == ("sr4zct msd", paper)
    assert (bundled.name, bundled.title) == ("sr4zct", "SR4ZCT with this project's U-Net")
    assert dense.weights == 45_652
    assert bundled.weights != dense.weights


def test_rows_are_named_for_what_they_are():
    found = find_systems(["interpolation", "consistent", "universal", "sr4zct", "tvsrn"], [], minutes=0.5)
    assert [system.title for system in found] == [
        "Cubic interpolation",
        "Consistent interpolation",
        "Universal, adapted for 0.5 min",
        "SR4ZCT with this project's U-Net, adapted for 0.5 min",
        "TVSRN, a warm-started training of this project",
    ]
    assert all(system.recipe is None for system in found), "none of them is a published system"


def test_only_weights_of_a_recipe_or_of_the_authors_are_the_published_system(finished, tmp_path):
    (other_widths,) = find_systems([], [finished / "best.safetensors"])
    assert other_widths.title == "MPU-Net"
    assert other_widths.recipe is None, "its layers are not the recipe's"
    network, pickled = build("tvsrn"), tmp_path / "authors.pkl"
    card = {**other_widths.checkpoint.card, "title": "TVSRN"}
    for name, changed, expected in (
        ("trained", {"recipe": {"name": "tvsrn"}}, "tvsrn"),
        ("warm", {"recipe": {"command": "python -m training.bundled tvsrn_warm"}}, None),
    ):
        path = tmp_path / f"{name}.safetensors"
        save_network(path, network.state_dict(), "tvsrn", {}, network.window, {**card, **changed})
        (system,) = find_systems([], [path])
        assert (system.recipe and system.recipe.name) == expected
    pickled.write_bytes(lzma.decompress((ARRAYS / "tvsrn_authors_64.pkl.xz").read_bytes()))
    weights = import_authors(pickled, tmp_path / "imported.safetensors")
    (imported,) = find_systems([], [weights.path])
    assert imported.recipe.name == "tvsrn"


@pytest.mark.parametrize("method", ["interpolation", "consistent", "universal"])
def test_every_row_of_a_protocol_has_the_same_done_after_it(method):
    pair = noise(24, 24)
    (system,) = find_systems([method], [])
    before = predict_pair(system, pair, "authors", CPU)
    after = made_consistent(before, pair)
    acquisition = Acquisition(5.0, 5.0)
    deviations = [
        consistency.measure(prediction.hu, pair.thick.voxels, acquisition, 1.0).mean
        for prediction in (before, after)
    ]
    assert deviations[1] < 0.05
    if method != "consistent":
        assert deviations[0] > 1, "nothing was done yet"
    settings = Settings(method=method, device="cpu", precision="float32")
    request = Request(
        axis=2,
        target_spacing=1.0,
        acquisition=acquisition,
        weights=system.checkpoint,
        settings=settings,
    )
    enhanced = METHODS[method].enhance(pair.thick, request, Monitor()).voxels
    if method == "universal":
        assert np.abs(after.hu - enhanced).max() < 0.05, "what enhance gives"
    assert after.seconds > before.seconds


def test_the_method_is_told_its_network_and_how_long_to_adapt(monkeypatch):
    (dense,) = find_systems(["sr4zct"], [], epochs=1, network="msd")
    told = []

    class Told(Method):
        def enhance(self, volume, request, monitor):
            settings = request.settings
            told.append((settings.network, settings.epochs, settings.tiling, settings.consistency))
            assert request.weights is None
            return volume

    monkeypatch.setitem(METHODS, "sr4zct", Told("sr4zct", "", "sr4zct.enhance"))
    assert predict_pair(dense, noise(8, 8), "authors", CPU).tile is None
    assert told == [("msd", 1, "seamless", False)]


def test_operations_of_the_dense_network_are_every_weight_once_a_pixel():
    assert counted(build("msd"), 1, 1, 12, 8) == pytest.approx(96 * 2 * (9 * sum(range(1, 101)) + 101) / 1e9)


@pytest.mark.parametrize(
    ("methods", "told", "words"),
    [
        (["interpolation"], {"epochs": 2}, "--epochs: none of the chosen systems takes it"),
        (["universal"], {"epochs": 2}, "sr4zct, davsr would"),
        (["consistent"], {"minutes": 1.0}, "--minutes: none of the chosen systems takes it"),
        (
            ["interpolation", "universal"],
            {"network": "msd"},
            "--network: none of the chosen systems takes it",
        ),
        (["sr4zct"], {"epochs": 2, "minutes": 1.0}, "give either minutes or epochs"),
        (["sr4zct"], {"epochs": -1}, "epochs must be"),
    ],
)
def test_an_option_that_no_system_takes_is_refused(methods, told, words):
    with pytest.raises(UserError, match=words):
        find_systems(methods, [], **told)


def test_options_go_to_those_that_take_them(finished):
    found = find_systems(["interpolation", "sr4zct"], [finished / "best.safetensors"], epochs=3)
    assert [system.epochs for system in found] == [None, 3, None]
