"""Checkpoints: complete after writing and reading; whatever does not fit is an error."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.networks.window_spec import window_spec
from ThickToThinSRLib.weights import bundled
from ThickToThinSRLib.weights.bundled import bundled_weights, resources_folder
from ThickToThinSRLib.weights.checkpoint import Weights, checksum, save_network

CARD = {"title": "Trial", "version": "1", "licence": "CC BY 4.0", "origin": "made by a test", "psnr": 38.6}
WINDOW = window_spec(5, 4, multiple=8, margin=4, tile=64)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("tvsrn").eval()


@pytest.fixture(scope="module")
def honest(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "honest.safetensors"
    save_network(path, network.state_dict(), "tvsrn", {"factor": 5}, WINDOW, CARD)
    return path


def metadata_of(path) -> dict:
    raw = path.read_bytes()
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]


def changed(honest, target, tensors=None, **metadata):
    """A copy with other tensors or metadata; None takes an entry out."""
    state, texts = load_file(honest), metadata_of(honest)
    for kind, changes in ((state, tensors or {}), (texts, metadata)):
        kind.update(changes)
        for key in [key for key, value in changes.items() if value is None]:
            del kind[key]
    save_file(state, target, texts)
    return target


def loaded(path):
    return Weights.open(path).load()


def refusal(path, reader=loaded) -> str:
    with pytest.raises(UserError) as caught:
        reader(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_network_comes_back_with_weights_window_and_card(honest, network):
    weights = Weights.open(honest)
    opened = weights.load()
    assert (opened.name, opened.window) == ("tvsrn", WINDOW)
    assert weights.card["psnr"] == 38.6
    assert weights.count == sum(value.numel() for value in network.state_dict().values())
    assert not opened.training
    x = torch.rand(1, 1, 4, 16, 24)
    with torch.inference_mode():
        assert torch.equal(opened(x), network(x))


def test_the_card_is_read_without_torch(honest):
    code = (
        "import sys; from ThickToThinSRLib.weights.checkpoint import Weights; "
        "opened = Weights.open(sys.argv[1]); assert 'torch' not in sys.modules; "
        "print(opened.network, opened.window.tile, opened.card['title'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(honest)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["tvsrn", "64", "Trial"]
    weights = Weights.open(honest)
    assert (weights.arguments, weights.factor) == ({"factor": 5}, 5)
    assert {key: weights.card[key] for key in CARD} == CARD


def test_weights_stored_in_half_precision_are_loaded_as_float32(honest, network, tmp_path):
    halves = {key: value.half() for key, value in network.state_dict().items()}
    path = tmp_path / "half.safetensors"
    save_network(path, halves, "tvsrn", {}, WINDOW, CARD)
    assert path.stat().st_size < 0.6 * honest.stat().st_size
    for key, value in Weights.open(path).load().state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, halves[key].float())


def test_saving_is_whole_or_not_at_all(network, tmp_path, monkeypatch):
    import safetensors.torch

    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")

    def full_disk(tensors, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_network(path, network.state_dict(), "tvsrn", {}, WINDOW, CARD)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.safetensors"]
    assert path.read_bytes() == b"old"


def test_a_card_without_licence_or_origin_is_not_saved(network, tmp_path):
    with pytest.raises(ValueError, match="licence"):
        save_network(tmp_path / "x.safetensors", network.state_dict(), "tvsrn", {}, WINDOW, {"title": "x"})


@pytest.mark.parametrize("reader", [loaded, Weights.open])
def test_files_that_are_no_weights_of_this_project_are_refused(honest, tmp_path, reader):
    path = tmp_path / "other.safetensors"
    assert "no such file" in refusal(path, reader)
    assert "not a file" in refusal(tmp_path, reader)
    for content in (
        b"",
        b"text, nothing else than text",
        b"\xff" * 64,
        (40).to_bytes(8, "little") + b"{" * 40,
    ):
        path.write_bytes(content)
        assert "not a safetensors file" in refusal(path, reader)
    for content in ([], {"w": 1}, {"w": {"data_offsets": ["a", "b"], "shape": []}}, {"w": {}}):
        text = json.dumps(content).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        refusal(path, reader)
    torch.save({"net": 1}, path)
    assert "import-checkpoint" in refusal(path, reader)
    torch.save({"net": 1}, path, _use_new_zipfile_serialization=False)
    assert "import-checkpoint" in refusal(path, reader)
    save_file({"w": torch.zeros(3)}, path)
    assert "metadata" in refusal(path, reader)


@pytest.mark.parametrize("reader", [loaded, Weights.open])
def test_a_file_cut_off_anywhere_is_refused(honest, tmp_path, reader):
    whole = honest.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in (3, 8, 20, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(path, reader)


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle_or_zip_is_read(honest, tmp_path, length):
    raw = honest.read_bytes()
    old = int.from_bytes(raw[:8], "little")
    new = old + (length - old) % (1 << 16 if length > 255 else 1 << 8)
    path = tmp_path / "padded.safetensors"
    path.write_bytes(new.to_bytes(8, "little") + raw[8 : 8 + old] + b" " * (new - old) + raw[8 + old :])
    assert path.read_bytes()[:2] in (b"PK", new.to_bytes(8, "little")[:2])
    assert Weights.open(path).card["title"] == "Trial"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"thicktothin": "2"}, "layout 2"),
        ({"network": "cthnet"}, "cthnet"),
        ({"network": "unheard"}, "unheard"),
        ({"network": None}, "metadata are damaged"),
        ({"arguments": "{"}, "metadata are damaged"),
        ({"arguments": "[]"}, "metadata are damaged"),
        ({"arguments": '{"nonsense": 1}'}, "cannot be built"),
        ({"arguments": '{"channels": 100000000}'}, "larger than those of any network"),
        ({"arguments": '{"channels": 1e999}'}, "larger than those of any network"),
        ({"arguments": '{"decoder_blocks": 1000}'}, "larger than those of any network"),
        ({"arguments": '{"channels": 4096}'}, "tvsrn"),
        ({"arguments": '{"factor": 3}'}, "tvsrn"),
        ({"window": "{}"}, "window"),
        ({"window": json.dumps({**vars(WINDOW), "tile": 0})}, "window"),
        ({"window": json.dumps({**vars(WINDOW), "tile": "64"})}, "window"),
        ({"window": json.dumps({**vars(WINDOW), "depth": 5})}, "window"),
        ({"intensity": "[0, 1]"}, "HU"),
        ({"intensity": "7"}, "HU"),
        ({"card": '{"title": "x"}'}, "card lacks version"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(honest, tmp_path, metadata, expected):
    assert expected in refusal(changed(honest, tmp_path / "changed.safetensors", **metadata))


def test_weights_that_do_not_fit_the_architecture_are_refused(honest, network, tmp_path):
    key, weights = next(iter(network.state_dict().items()))
    path = tmp_path / "changed.safetensors"
    assert key in refusal(changed(honest, path, {key: None}))
    assert "more" in refusal(changed(honest, path, {"more": torch.zeros(2)}))
    assert "shape" in refusal(changed(honest, path, {key: torch.zeros(7, *weights.shape)}))
    assert "NaN" in refusal(changed(honest, path, {key: torch.full_like(weights, float("nan"))}))
    assert "NaN" in refusal(changed(honest, path, {key: torch.full_like(weights, float("inf"))}))


# ---- bundled weights ---------------------------------------------------------------------------------------


def shipped(monkeypatch, folder):
    place = folder / "ThickToThinSRLib" / "weights" / "bundled.py"
    monkeypatch.setattr(bundled, "__file__", str(place))


def test_the_resources_are_found_in_a_checkout_and_in_a_wheel(tmp_path, monkeypatch):
    shipped(monkeypatch, tmp_path)
    (tmp_path / "Resources").mkdir()
    (tmp_path / "ThickToThinSRLib").mkdir()
    assert resources_folder() == tmp_path / "Resources"
    (tmp_path / "ThickToThinSRLib" / "Resources").mkdir()
    assert resources_folder() == tmp_path / "ThickToThinSRLib" / "Resources"


def test_bundled_weights_are_verified_by_their_checksums(honest, tmp_path, monkeypatch):
    shipped(monkeypatch, tmp_path)
    assert bundled_weights() == []
    models = tmp_path / "Resources" / "Models"
    models.mkdir(parents=True)
    (models / "index.json").write_text("")
    assert bundled_weights() == []
    (models / "a.safetensors").write_bytes(honest.read_bytes())
    (models / "index.json").write_text(json.dumps({"a.safetensors": checksum(honest)}))
    (model,) = bundled_weights()
    assert (model.path, model.card["title"]) == (models / "a.safetensors", "Trial")
    assert len(model.sha256) == 64
    raw = bytearray(honest.read_bytes())
    raw[-1] ^= 1
    (models / "a.safetensors").write_bytes(raw)
    with pytest.raises(UserError, match="wrong checksum"):
        bundled_weights()
    (models / "a.safetensors").unlink()
    with pytest.raises(UserError, match="missing"):
        bundled_weights()


def test_the_bundled_weights_of_this_checkout_are_sound():
    for model in bundled_weights():
        Weights.open(model.path).load()
