"""SAINT against outputs of its released code with weights by formula, loaded by their released names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ThickToThinSRLib.networks.registry import NETWORKS, build
from ThickToThinSRLib.networks.saint import distance_maps

ARRAYS = Path(__file__).parent / "arrays" / "saint_released.npz"
# Of the largest output.
TOLERANCE = 1e-4

pytestmark = pytest.mark.usefixtures("one_thread")


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the released state dict, in its order."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inputs: int, outputs: int, side: int = 3) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, side, side), (outputs,)

    def rdn(prefix: str, inputs: int, blocks: int, layers: int, growth: int) -> None:
        conv(f"{prefix}SFENet1", inputs, 64)
        conv(f"{prefix}SFENet2", 64, 64)
        for block in range(blocks):
            for layer in range(layers):
                name = f"{prefix}RDBs.{block}.convs.{layer}.conv.0"
                conv(name, 64 + layer * growth, growth)
            conv(f"{prefix}RDBs.{block}.LFF", 64 + layers * growth, 64, 1)
        conv(f"{prefix}GFF.0", 64 * blocks, 64, 1)
        conv(f"{prefix}GFF.1", 64, 64)

    rdn("", 3, 6, 8, 32)
    for number, (inputs, outputs) in enumerate([(1, 32), (32, 64), (64, 64), (64, 64), (64, 64)]):
        conv(f"GW.meta_block.{2 * number}", inputs, outputs)
    rdn("RFN.", 2, 4, 6, 12)
    conv("RFN.UPNet.0", 64, 1)
    return shapes


def released_state() -> dict[str, torch.Tensor]:
    """A released state dict with weights by formula, as the arrays were made with."""
    state = {}
    for number, (name, shape) in enumerate(released_shapes().items()):
        index = np.arange(np.prod(shape), dtype=np.float64)
        wave = np.abs(np.sin((index + 1) * 12.9898 + (number + 1) * 78.233)) * 43758.5453
        spread = 2 * (wave - np.floor(wave)) - 1
        scale = np.sqrt(3 / np.prod(shape[1:])) if len(shape) > 1 else 0.05
        state[name] = torch.from_numpy((scale * spread).reshape(shape).astype(np.float32))
    return state


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
