"""Sliding windows: complete, not displaced, without borders; the authors' tiling as in their code."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.inference.sliding_window import (
    depth_placements,
    predict,
    predict_blocks,
    tile_placements,
)
from ThickToThinSRLib.intensity import HU_WINDOW, to_hu
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.window_spec import window_spec

TVSRN = window_spec(5, 4, multiple=8, margin=16)
CTHNET = window_spec(5, 8, multiple=8, margin=16)
SPECS = [window_spec(r, d, multiple=8, margin=16) for r in (2, 3, 4, 5, 6) for d in (3, 4, 8)]


class LinearNetwork:
    """A network that interpolates linearly between its thick slices: exact if the windows lie right."""

    memory_errors = ()

    def __init__(self, window, tile=10_000, most=1):
        self.window, self.tile, self.most, self.seen = window, tile, most, []

    def at_once(self, pixels):
        return self.most

    def __call__(self, blocks):
        self.seen.extend(block.shape for block in blocks)
        r, first = self.window.factor, self.window.first_output
        place = (first + np.arange(self.window.outputs)) / r
        low = np.minimum(place.astype(int), self.window.depth - 2)
        share = (place - low)[:, None, None].astype(np.float32)
        return blocks[:, low] * (1 - share) + blocks[:, low + 1] * share


class ConfusedAtBorders(LinearNetwork):
    """Right inside the tile and wrong in the margin, like a network whose attention windows wrap around."""

    def __call__(self, blocks):
        out = super().__call__(blocks)
        margin = self.window.margin
        inner = out[..., margin:-margin, margin:-margin].copy()
        out[:] = 1.0
        out[..., margin:-margin, margin:-margin] = inner
        return out


def ramp(slices, height, width):
    """Thick slices that change linearly in each direction, within the networks' window."""
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in (slices, height, width)), indexing="ij")
    return (-900 + 1200 * z + 300 * y + 700 * x).astype(np.float32)


@pytest.mark.parametrize("window", SPECS)
@pytest.mark.parametrize("slices", [1, 2, 3, 4, 5, 9, 20])
def test_seamless_windows_share_every_thin_slice_completely(window, slices):
    total = np.zeros(window.factor * (slices - 1) + 1)
    for part in depth_placements(slices, window, "seamless"):
        assert part.offset >= 0
        assert part.offset + len(part.shares) <= window.outputs
        total[part.target] += part.shares
    assert np.allclose(total, 1)


@pytest.mark.parametrize(("size", "tile"), [(512, 600), (512, 256), (511, 200), (97, 128), (40, 96), (1, 96)])
def test_seamless_tiles_share_every_pixel_and_have_sizes_that_networks_take(size, tile):
    total = np.zeros(size)
    for part in tile_placements(size, tile, TVSRN, "seamless"):
        assert part.length % TVSRN.multiple == 0
        assert part.length <= max(tile, 8)
        assert part.offset >= TVSRN.margin
        assert part.offset + len(part.shares) <= part.length - TVSRN.margin
        total[part.target] += part.shares
    assert np.allclose(total, 1)


@pytest.mark.parametrize("window", [TVSRN, CTHNET])
@pytest.mark.parametrize("tile", [10_000, 112])
def test_a_linear_volume_comes_back_linear_whatever_the_tiles(window, tile):
    thick = ramp(11, 150, 131)
    thin = to_hu(predict(thick, window, "seamless", LinearNetwork(window, tile), Monitor()))
    expected = np.stack([thick[0] + (thick[-1] - thick[0]) * k / 50 for k in range(51)])
    inner = slice(window.factor, -window.factor)
    assert np.abs(thin - expected)[inner].max() < 0.02
    assert np.abs(thin - expected).max() < 121, "beyond the ends the end slices are repeated"


def test_what_a_network_gets_wrong_in_its_margin_is_seen_nowhere():
    thick = ramp(6, 150, 131)
    for tile in (10_000, 112):
        right = predict(thick, CTHNET, "seamless", LinearNetwork(CTHNET), Monitor())
        confused = predict(thick, CTHNET, "seamless", ConfusedAtBorders(CTHNET, tile), Monitor())
        assert np.abs(confused - right).max() < 1e-5


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_volumes_of_very_few_slices_are_predicted_whole(slices):
    thick = np.full((slices, 20, 30), 100.0, np.float32)
    thin = to_hu(predict(thick, TVSRN, "seamless", LinearNetwork(TVSRN), Monitor()))
    assert thin.shape == (5 * (slices - 1) + 1, 20, 30)
    assert np.allclose(thin, 100, atol=0.01)


def test_whole_slices_are_one_tile_where_they_fit():
    network = LinearNetwork(TVSRN)
    predict(ramp(4, 100, 60), TVSRN, "seamless", network, Monitor())
    assert set(network.seen) == {(4, 136, 96)}


def test_the_authors_windows_lie_where_their_loop_puts_them():
    # while z + 4 < L in steps of 2, then one at L - 4; later windows overwrite; three slices stay empty.
    parts = depth_placements(9, TVSRN, "authors")
    assert [part.start for part in parts] == [0, 2, 4, 5]
    assert [part.start for part in depth_placements(8, TVSRN, "authors")] == [0, 2, 4]
    assert [part.start for part in depth_placements(10, CTHNET, "authors")] == [0, 2]
    owner = np.full(41, -1)
    for number, part in enumerate(parts):
        owner[part.target][part.shares == 1] = number
        assert set(np.unique(part.shares)) <= {0.0, 1.0}
    assert owner[:3].tolist() == owner[-3:].tolist() == [-1] * 3
    assert owner[3:13].tolist() == [0] * 10
    assert owner[28:38].tolist() == [3] * 10


def test_the_authors_tiling_leaves_the_borders_at_the_minimum():
    window = window_spec(5, 4, multiple=8, margin=16, tile=64)
    thin = predict(ramp(6, 64, 128), window, "authors", LinearNetwork(window), Monitor())
    assert not thin[:3].any()
    assert not thin[-3:].any()
    assert thin[3:-3].min() > 0


def test_the_authors_tiling_refuses_what_their_loop_cannot_do():
    with pytest.raises(UserError, match="seamless"):
        depth_placements(3, TVSRN, "authors")
    with pytest.raises(UserError, match="multiples of 256"):
        tile_placements(500, 0, TVSRN, "authors")


def test_the_input_is_clipped_to_the_networks_window():
    thick = np.array([-3024, -1024, 2048, 20000], np.float32)[:, None, None] * np.ones(
        (4, 16, 16), np.float32
    )
    seen = []

    class Watching(LinearNetwork):
        def __call__(self, blocks):
            seen.append((blocks.min(), blocks.max()))
            return super().__call__(blocks)

    predict(thick, TVSRN, "seamless", Watching(TVSRN), Monitor())
    assert all(low >= 0 and high <= 1 for low, high in seen)
    assert HU_WINDOW == (-1024.0, 2048.0)


def test_progress_counts_every_window_and_cancel_ends_at_the_next():
    steps = []
    thick = ramp(9, 40, 40)
    predict(thick, TVSRN, "seamless", LinearNetwork(TVSRN), Monitor(lambda *step: steps.append(step)))
    total = steps[-1][2]
    assert [step[1] for step in steps] == list(range(1, total + 1))
    network = LinearNetwork(TVSRN)
    with pytest.raises(Cancelled):
        predict(thick, TVSRN, "seamless", network, Monitor(cancelled=lambda: len(network.seen) >= 2))
    assert len(network.seen) == 2


@pytest.mark.parametrize("most", [2, 7, 100])
@pytest.mark.parametrize("tile", [10_000, 112])
def test_windows_in_batches_give_what_they_give_one_by_one(most, tile):
    thick = ramp(11, 150, 131)
    thick += np.random.default_rng(0).normal(0, 50, thick.shape).astype(np.float32)
    expected = predict(thick, TVSRN, "seamless", LinearNetwork(TVSRN, tile), Monitor())
    steps = []
    monitor = Monitor(lambda *step: steps.append(step))
    found = predict(thick, TVSRN, "seamless", LinearNetwork(TVSRN, tile, most), monitor)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert steps[-1][1] == steps[-1][2], "all is reported as done"
    assert [step[1] for step in steps] == sorted(step[1] for step in steps)


@pytest.mark.parametrize("tile", [10_000, 112])
def test_a_region_is_predicted_as_it_is_in_the_whole(tile):
    """A network that sees as far as its margin: what lies around the region must be read."""

    class Blurring(LinearNetwork):
        def __call__(self, blocks):
            reach = self.window.margin
            mean = sum(np.roll(blocks, shift, (2, 3)) for shift in ((reach, 0), (-reach, 0), (0, reach)))
            return super().__call__(mean / 3)

    blocks = np.random.default_rng(0).random((2, 4, 150, 131)).astype(np.float32)
    whole = predict_blocks(blocks, TVSRN, "seamless", Blurring(TVSRN), lambda *_: None)
    region = (slice(24, 104), slice(0, 64))
    part = predict_blocks(blocks, TVSRN, "seamless", Blurring(TVSRN, tile), lambda *_: None, region)
    np.testing.assert_allclose(part, whole[:, :, region[0], region[1]], atol=1e-6)
