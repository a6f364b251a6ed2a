"""Importing SAINT's released state dicts: plain, wrapped or with five axes; hostile ones are refused."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from Testing.authors_file import expect_error, rewritten, torch_zip
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.authors_file import read_authors
from ThickToThinSRLib.weights.checkpoint import Weights, checksum
from ThickToThinSRLib.weights.importing import import_authors

SIZES = {"features": 8, "blocks": 3, "layers": 2, "growth": 4}
SIZES |= {"fusion_blocks": 2, "fusion_layers": 3, "fusion_growth": 5}


def released(network) -> OrderedDict[str, torch.Tensor]:
    """The weights of our network under the released names."""
    names = [("fusion.1", "RFN.UPNet.0"), ("fusion.0.", "RFN."), ("extractor.", "")]
    names += [(f"filters.convs.{i}", f"GW.meta_block.{2 * i}") for i in range(5)]
    state = OrderedDict()
    for key, value in network.state_dict().items():
        ours, theirs = next((pair for pair in names if key.startswith(pair[0])), ("", ""))
        key = theirs + key.removeprefix(ours)
        if "blocks." in key:
            key = key.replace("blocks.", "RDBs.", 1).replace("gather", "LFF")
            key = (
                key.replace(".weight", ".conv.0.weight").replace(".bias", ".conv.0.bias")
                if "convs" in key
                else key
            )
        elif "gather." in key:
            key = key.replace("gather.", "GFF.")
        state[key.replace("shallow", "SFENet1").replace("second", "SFENet2")] = value
    return state


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("saint", **SIZES).eval()


def five_axes(state):
    """As a third party published the fusion network: kernels with a last axis of one."""
    return OrderedDict(
        (key, value[..., None] if key.startswith("RFN.") and value.dim() == 4 else value)
        for key, value in state.items()
    )


def prefixed(state, prefix):
    return OrderedDict((f"{prefix}{key}", value) for key, value in state.items())


FORMS = {
    "plain": lambda state: state,
    "five axes": five_axes,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "best": 31.5},
    "in depth": lambda state: {"a": [1], "b": {"c": {"model": state}}},
    "module.": lambda state: prefixed(state, "module."),
    "model.module.": lambda state: {"net": prefixed(state, "model.module.")},
    "parameters": lambda state: OrderedDict((k, torch.nn.Parameter(v)) for k, v in state.items()),
}
OPTIONS = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_state_dict_gives_the_same_network(network, tmp_path, form, options):
    source = tmp_path / "model.pt"
    torch.save(form(released(network)), source, **options)
    imported = import_authors(source, tmp_path / "saint.safetensors")
    assert (imported.network, imported.factor) == ("saint", 4)
    assert imported.arguments == SIZES
    loaded = imported.load().state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in network.state_dict().items())


def test_the_card_says_where_the_weights_come_from(network, tmp_path):
    source, target = tmp_path / "model_comb.pt", tmp_path / "saint.safetensors"
    torch.save(released(network), source)
    assert main(["import-checkpoint", str(source), str(target)]) == 0
    card = Weights.open(target).card
    assert (card["title"], card["version"]) == ("SAINT", "as published")
    assert "not known" in card["licence"]
    assert checksum(source) in card["origin"]
    assert "left out" in card["limits"]


def test_imported_weights_enhance_a_scan_at_their_own_and_at_another_factor(network, tmp_path):
    torch.save(released(network), tmp_path / "model.pt")
    import_authors(tmp_path / "model.pt", tmp_path / "saint.safetensors")
    rng = np.random.default_rng(0)
    thick = Volume(rng.integers(-900, 900, (4, 9, 8)).astype(np.int16), (0.7, 0.7, 5.0))
    for spacing, slices in ((None, 13), (0.9, 17)):
        settings = Settings(checkpoint=tmp_path / "saint.safetensors", spacing=spacing, device="cpu")
        assert enhance_volume(thick, settings)[0].voxels.shape == (slices, 9, 8)


def without(state, name):
    return OrderedDict((key, value) for key, value in state.items() if key != name)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: without(s, "RDBs.1.LFF.weight"), "missing"),
        (lambda s: without(s, "GFF.0.bias"), "missing"),
        (lambda s: s | {"RDBs.surprise": torch.zeros(3)}, "RDBs.surprise"),
        (lambda s: s | {"RDBs.7.LFF.weight": torch.zeros(8, 16, 1, 1)}, "missing"),
        (lambda s: s | {"GFF.1.weight": torch.zeros(8, 8, 3, 3, 2)}, "shape"),
        (lambda s: s | {"GFF.1.weight": torch.zeros(8, 8, 5, 5)}, "shape"),
        (lambda s: s | {"SFENet1.weight": torch.tensor(1.0)}, "features"),
        (lambda s: s | {"GFF.1.bias": torch.full((8,), float("nan"))}, "NaN"),
        (lambda s: OrderedDict((k, v) for k, v in s.items() if "RDBs" not in k), "blocks"),
    ],
)  # fmt: skip
def test_weights_that_are_not_saints_are_refused(network, tmp_path, change, expected):
    torch.save(change(released(network)), tmp_path / "other.pt")
    with pytest.raises(UserError, match=expected):
        import_authors(tmp_path / "other.pt", tmp_path / "saint.safetensors")
    assert not (tmp_path / "saint.safetensors").exists()


class Evil:
    """Unpickled the plain way, it makes a file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return open, (str(self.canary), "w")


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("place", ["beside", "within", "as a weight", "as a key"])
def test_code_in_a_state_dict_is_refused_and_does_not_run(network, tmp_path, place, options):
    canary = tmp_path / "canary"
    state, evil = released(network), Evil(canary)
    held = {
        "beside": {"state_dict": state, "args": evil},
        "within": state | {"extra": evil},
        "as a weight": state | {"GFF.1.bias": evil},
        "as a key": {(evil, 1): 0, "state_dict": state},
    }[place]
    torch.save(held, tmp_path / "evil.pt", **options)
    message = expect_error(tmp_path / "evil.pt")
    assert "io.open" in message
    with pytest.raises(UserError):
        import_authors(tmp_path / "evil.pt", tmp_path / "saint.safetensors")
    assert not canary.exists()
    pickle.loads(pickle.dumps(evil)).close()
    assert canary.exists(), "it would run if it were unpickled"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_cut_off_anywhere_is_refused(network, tmp_path, zipped):
    path = tmp_path / "model.pt"
    torch.save(released(network), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in range(1, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        expect_error(path)


def test_dictionaries_that_contain_themselves_or_each_other_without_end_are_refused(tmp_path):
    itself = {}
    itself["a"] = itself
    doubling = {}
    for _ in range(60):
        doubling = {"a": doubling, "b": doubling}
    for nested in (itself, doubling):
        path = torch_zip(tmp_path / "loop.pt", pickle.dumps(nested, 2))
        assert "lacks" in expect_error(path)


def test_a_name_with_countless_prefixes_is_no_trap(tmp_path):
    torch.save({"module." * 100_000 + "x": torch.zeros(1)}, tmp_path / "long.pt")
    assert "lacks" in expect_error(tmp_path / "long.pt")


def test_a_tensor_larger_than_its_numbers_is_refused(network, tmp_path):
    torch.save(released(network), tmp_path / "model.pt")
    short = rewritten(
        tmp_path / "model.pt",
        tmp_path / "short.pt",
        lambda name, content: content[:-4] if name.endswith("/data/0") else content,
    )
    assert "missing or of a wrong size" in expect_error(short) or "cut off" in expect_error(short)


def test_another_networks_state_dict_does_not_say_what_it_is(tmp_path):
    torch.save(build("unet").state_dict(), tmp_path / "unet.pt")
    with pytest.raises(UserError, match="lacks net and config_dict"):
        read_authors(tmp_path / "unet.pt")
