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
    pair = make_pair(block, (-40.0, STEP), acquisition, assumed, 0.7, Unturned(), whole_hu=False)
    slices = int(80 / acquisition.spacing) + 1
    middle = round(40 / acquisition.spacing)
    thick = acquisition.matrix(slices, 81, STEP).astype(np.float32) @ block.reshape(81, -1)
    fine = ConsistentInterpolation(assumed, slices, 4 * (slices - 1) + 1, assumed.spacing / 4)(thick)
    near = thick[middle - 2 : middle + 3].reshape(-1, 8, 8)
    samples = fine[4 * middle - 2 : 4 * middle + 3].reshape(-1, 8, 8)
    expected = universal_input(near, samples)
    np.testing.assert_allclose(pair.channels[:5], expected[:5], atol=1e-4)
    # The interpolation of seven slices is not quite that of all.
    assert np.abs(pair.channels[5:] - expected[5:]).mean() < 0.03


def test_interpolation_plus_correction_is_the_truth():
    block = smooth_block()
    acquisition = Acquisition(5.0, 5.0)
    pair = make_pair(block, (-40.0, STEP), acquisition, acquisition, 0.7, Unturned())
    assert list(pair.positions) == [-0.6, -0.4, -0.2, 0.0, 0.2, 0.4]
    middle = pair.channels[0] * 3072 - 1024  # HU of the thick slice
    at_centre = middle + pair.channels[7] * DIFFERENCE_UNIT  # the sample at position 0
    truth = at_centre + pair.correction[3] * DIFFERENCE_UNIT
    np.testing.assert_allclose(truth, block[40], atol=0.1)


def test_mirroring_along_z_mirrors_positions_and_channels():
    class Mirrored(Unturned):
        def random(self, size=None):
            return 0.1 if size is None else np.full(size, 0.9)

    block = smooth_block()
    acquisition = Acquisition(5.0, 5.0)
    plain = make_pair(block, (-40.0, STEP), acquisition, acquisition, 0.7, Unturned())
    upside_down = make_pair(block[::-1], (-40.0, STEP), acquisition, acquisition, 0.7, Mirrored())
    np.testing.assert_allclose(upside_down.channels, plain.channels, atol=2e-3)


def test_the_errors_of_a_network_that_corrects_nothing_are_the_corrections():
    acquisition = Acquisition(5.0, 5.0)
    pairs = [
        make_pair(smooth_block(seed=seed), (-40.0, STEP), acquisition, acquisition, 0.7, Unturned())
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
