"""The networks against outputs of the authors' released code, by way of their own checkpoint files."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.plain_networks import plain_cthnet
from Testing.shared_data import shared
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.networks.registry import NETWORKS, build
from ThickToThinSRLib.weights.authors_file import read_authors

ARRAYS = Path(__file__).parent / "arrays"


pytestmark = pytest.mark.usefixtures("one_thread")


def imported(name: str, path: Path) -> torch.nn.Module:
    with lzma.open(path) as file:
        state, _, _ = read_authors(file)
    module = build(name)
    module.load_state_dict(NETWORKS[name].from_authors_state(state))
    return module.eval()


def difference(module: torch.nn.Module, path: Path) -> float:
    with np.load(path) as arrays, torch.inference_mode():
        return float(np.abs(module(torch.from_numpy(arrays["x"])).numpy() - arrays["y"]).max())


def test_tvsrn_reproduces_the_authors_output():
    module = imported("tvsrn", ARRAYS / "tvsrn_authors_64.pkl.xz")
    assert difference(module, ARRAYS / "tvsrn_authors_64_io.npz") < 2e-6


def test_cthnet_reproduces_the_authors_output():
    module = imported("cthnet", shared("parity/cthnet_authors_64.pkl.xz"))
    assert difference(module, shared("parity/cthnet_authors_64_io.npz")) < 2e-5


def test_the_plain_formulation_of_cthnet_reproduces_the_authors_output():
    """Where the arrays are not at hand, it stands for them: see Testing.gpu.authors."""
    module = imported("cthnet", shared("parity/cthnet_authors_64.pkl.xz"))
    with np.load(shared("parity/cthnet_authors_64_io.npz")) as arrays, torch.inference_mode():
        y = plain_cthnet(module, torch.from_numpy(arrays["x"]))
        assert float(np.abs(y.numpy() - arrays["y"]).max()) < 2e-5


def test_the_prediction_for_an_image_does_not_depend_on_the_others_in_the_batch():
    module = imported("tvsrn", ARRAYS / "tvsrn_authors_64.pkl.xz")
    with np.load(ARRAYS / "tvsrn_authors_64_io.npz") as arrays, torch.inference_mode():
        x = torch.from_numpy(arrays["x"])
        both = module(torch.cat([x.flip(-1), x]))
        assert float(np.abs(both[1:].numpy() - arrays["y"]).max()) < 2e-6


@pytest.mark.parametrize("name", [name for name, entry in NETWORKS.items() if entry.has_authors_weights])
def test_an_unknown_part_of_a_checkpoint_is_refused(name):
    with pytest.raises(UserError, match=r"Encoder\.surprise\.weight"):
        NETWORKS[name].from_authors_state({"Encoder.surprise.weight": torch.zeros(1)})
