"""The training pairs of the universal network have the same input as in use."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.consistency import ConsistentInterpolation
from ThickToThinSRLib.methods.universal.network_input import DIFFERENCE_UNIT, universal_input
from ThickToThinSRLib.methods.universal.pairs import collate, errors, make_pair, mean_square
from ThickToThinSRLib.networks.registry import build

pytestmark = pytest.mark.usefixtures("one_thread")
STEP = 1.0


class Unturned:
    """A generator that turns and mirrors nothing and takes the first targets."""

    def random(self, size=None):
        return 0.9 if size is None else np.full(size, 0.9)

    def choice(self, items, count, replace):
        return items[:count]


def smooth_block(slices=81, side=8, seed=0):
    generator = np.random.default_rng(seed)
    walk = generator.normal(0, 30, (slices, side, side)).cumsum(axis=0)
    return (walk - walk.mean()).astype(np.float32)


@pytest.mark.parametrize(
    "acquisition", [Acquisition(5.0, 5.0), Acquisition(5.0, 2.5), Acquisition(3.0, 4.0, "gaussian")]
)
def test_a_pair_shows_the_network_what_the_method_shows_it(acquisition):
    block = smooth_block()
    assumed = Acquisition(acquisition.thickness, acquisition.spacing)
    slices = int(80 / acquisition.spacing) + 1
    lower = slices // 2 - 1
    middle = (lower + 0.5) * acquisition.spacing
    pair = make_pair(block, (-middle, STEP), acquisition, assumed, 0.7, Unturned(), whole_hu=False)
    thick = acquisition.matrix(slices, 81, STEP).astype(np.float32) @ block.reshape(81, -1)
    fine = ConsistentInterpolation(assumed, slices, 4 * (slices - 1) + 1, assumed.spacing / 4)(thick)
    for channels, index in zip(pair.channels, (lower, lower + 1), strict=True):
        near = thick[index - 2 : index + 3].reshape(-1, 8, 8)
        samples = fine[4 * index - 2 : 4 * index + 3].reshape(-1, 8, 8)
        expected = universal_input(near, samples)
        np.testing.assert_allclose(channels[:5], expected[:5], atol=1e-4)
        # The interpolation of eight slices is not quite that of all.
        assert np.abs(channels[5:] - expected[5:]).mean() < 0.03


def test_interpolation_plus_correction_is_the_truth():
    block = smooth_block()
    acquisition = Acquisition(5.0, 5.0)
    pair = make_pair(block, (-37.5, STEP), acquisition, acquisition, 0.7, Unturned())
    np.testing.assert_allclose(pair.positions, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], atol=1e-12)
    for channels, correction, index in zip(pair.channels, pair.correction[[0, 5]], (35, 40), strict=True):
        middle = channels[0] * 3072 - 1024  # HU of the thick slice
        at_centre = middle + channels[7] * DIFFERENCE_UNIT  # the sample at position 0
        truth = at_centre + correction * DIFFERENCE_UNIT
        np.testing.assert_allclose(truth, block[index], atol=0.1)


def test_mirroring_along_z_changes_the_order_of_thin_slices_only():
    class Mirrored(Unturned):
        def random(self, size=None):
            return 0.1 if size is None else np.full(size, 0.9)

    block = smooth_block()
    acquisition = Acquisition(5.0, 5.0)
    plain = make_pair(block, (-37.5, STEP), acquisition, acquisition, 0.7, Unturned())
    upside_down = make_pair(block[::-1], (-42.5, STEP), acquisition, acquisition, 0.7, Mirrored())
    np.testing.assert_allclose(upside_down.channels, plain.channels, atol=2e-3)
    np.testing.assert_allclose(upside_down.correction, plain.correction[::-1], atol=2e-3)
    np.testing.assert_allclose(upside_down.positions, plain.positions[::-1], atol=1e-12)


def test_the_errors_of_a_network_that_corrects_nothing_are_the_corrections():
    acquisition = Acquisition(5.0, 5.0)
    pairs = [
        make_pair(smooth_block(seed=seed), (-37.5, STEP), acquisition, acquisition, 0.7, Unturned())
        for seed in (1, 2)
    ]
    few = Acquisition(2.0, 2.0)
    pairs.append(make_pair(smooth_block(seed=3), (-40.0, STEP), few, few, 0.7, Unturned()))
    batch = collate(pairs)
    assert batch["valid"].sum(dim=1).tolist() == [6, 6, 3]
    network = build("universal", features=8, blocks=1)
    torch.nn.init.zeros_(network.tail.weight)
    torch.nn.init.zeros_(network.tail.bias)
    with torch.no_grad():
        missed = errors(network, batch, "float32")
    torch.testing.assert_close(missed, -batch["correction"])
    expected = [np.square(pair.correction).mean() for pair in pairs]
    np.testing.assert_allclose(mean_square(missed, batch).numpy(), expected, rtol=1e-5)


def test_a_thin_slice_is_corrected_by_both_thick_slices():
    class ByBrightness(torch.nn.Module):
        """Corrects by a constant: 1 around the slice whose channels are 0, 3 around the other."""

        def forward(self, channels, described):
            constant = torch.where(channels[:, :1] == 0, 1.0, 3.0)
            return torch.cat([constant, torch.zeros_like(constant)], dim=1)

    channels = torch.zeros(1, 2, 10, 4, 4)
    channels[:, 1] = 1.0
    batch = {
        "channels": channels,
        "described": torch.zeros(1, 4),
        "positions": torch.tensor([[0.0, 0.25, 1.0]]),
        "correction": torch.zeros(1, 3, 4, 4),
        "valid": torch.ones(1, 3),
    }
    error = errors(ByBrightness(), batch, "float32")
    torch.testing.assert_close(error[0, :, 0, 0], torch.tensor([1.0, 1.5, 3.0]))
