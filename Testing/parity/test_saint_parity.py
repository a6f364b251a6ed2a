"""SAINT against outputs of its released code with weights by formula, loaded by their released names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.released_saint import released_state
from ThickToThinSRLib.networks.registry import NETWORKS, build
from ThickToThinSRLib.networks.saint import distance_maps

ARRAYS = Path(__file__).parent / "arrays" / "saint_released.npz"
# Of the largest output.
TOLERANCE = 1e-4

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network():
    module = build("saint")
    module.load_state_dict(NETWORKS["saint"].from_authors_state(released_state()))
    return module.eval()


def relative_error(found: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(found.numpy() - expected).max() / np.abs(expected).max())


def test_the_state_dict_has_as_many_tensors_and_weights_as_the_released_one():
    state = released_state()
    assert len(state) == 192
    assert sum(value.numel() for value in state.values()) == 3_158_817
    assert sum(value.numel() for name, value in state.items() if name.startswith("RFN.")) == 371_105


@pytest.mark.parametrize("factor", [4, 5])
def test_stage_one_gives_the_released_codes_new_slices(network, factor):
    with np.load(ARRAYS) as arrays, torch.inference_mode():
        pixel, thin_spacing = arrays[f"spacing_{factor}"].tolist()
        distances = distance_maps(factor, pixel, thin_spacing)
        np.testing.assert_allclose(distances, arrays[f"distances_{factor}"], rtol=1e-6)
        found = network.interpolate(torch.from_numpy(arrays[f"planes_{factor}"]), distances)
        assert relative_error(found, arrays[f"stage_one_{factor}"]) < TOLERANCE


def test_the_fusion_gives_the_released_codes_slices(network):
    with np.load(ARRAYS) as arrays, torch.inference_mode():
        found = network.fuse_images(torch.from_numpy(arrays["views"]))
        assert relative_error(found, arrays["fused"]) < TOLERANCE
