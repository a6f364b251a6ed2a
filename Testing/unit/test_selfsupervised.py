"""SR4ZCT's self-supervision: the training pairs, and that only better weights are used."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from Testing.volumes import blocks
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.consistency import ConsistentInterpolation
from ThickToThinSRLib.intensity import to_unit
from ThickToThinSRLib.methods.adaptation import Budget
from ThickToThinSRLib.methods.sr4zct.adaptation import adapt
from ThickToThinSRLib.methods.sr4zct.pairs import PlanePairs
from ThickToThinSRLib.methods.sr4zct.planes import CONDITIONS, RESIDUAL_SCALE, thick_matrix, thin_matrix
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import build

pytestmark = pytest.mark.usefixtures("one_thread")
ACQUISITION = Acquisition(4.0, 2.0)
CPU = torch.device("cpu")


def slices(shape=(9, 40, 48)) -> np.ndarray:
    """Blocks of 4 x 4 pixels, different ones in every slice."""
    return blocks(shape, 4, 250).astype(np.float32)


def pairs(voxels=None, pixels=(1.0, 1.0), described=True, whole=False) -> PlanePairs:
    voxels = slices() if voxels is None else voxels
    return PlanePairs(voxels, pixels, ACQUISITION, 1.0, CPU, described, whole)


def small_network():
    torch.manual_seed(0)
    return build("unet", channels=1 + CONDITIONS, width=4, levels=2)


def test_a_pair_is_a_whole_slice_degraded_along_rows_and_what_it_lacks():
    voxels = slices((1, 24, 16))  # a single slice judges itself
    x, difference = pairs(voxels, whole=True).batch(0)
    truth = thin_matrix(24, 1.0, 1.0) @ voxels[0]
    thick = (thick_matrix(24, 1.0, ACQUISITION) @ voxels[0]).astype(np.float32)
    base = ConsistentInterpolation(ACQUISITION, len(thick), 24, 1.0)(thick)
    candidates = []
    for rows in (slice(None), slice(None, None, -1)):
        for columns in (slice(None), slice(None, None, -1)):
            turned = voxels[0][rows, columns]
            thick = (thick_matrix(24, 1.0, ACQUISITION) @ turned).astype(np.float32)
            base = ConsistentInterpolation(ACQUISITION, len(thick), 24, 1.0)(thick)
            deviations = (
                np.abs(x[0, 0].numpy() - to_unit(base)).max(),
                np.abs(difference[0, 0].numpy() / RESIDUAL_SCALE - (turned - base)).max(),
            )
            candidates.append(max(deviations[0] * 3072, deviations[1]))
    assert truth.shape == base.shape == tuple(x.shape[2:])
    assert min(candidates) < 0.05


def test_every_other_step_degrades_the_columns():
    voxels = slices()[:, :, :1].repeat(40, axis=2)
    drawn = pairs(voxels)  # it varies along the rows only
    sizes = [float(drawn.batch(step)[1].abs().mean()) for step in range(4)]
    assert min(sizes[0], sizes[2]) > 100 * max(sizes[1], sizes[3])


def test_crops_are_small_and_a_step_is_always_the_same():
    drawn, again = (pairs(slices((9, 120, 140))) for _ in range(2))
    x, difference = drawn.batch(3)
    assert x.shape == (8, 1 + CONDITIONS, 96, 96) and difference.shape == (8, 1, 96, 96)
    drawn.batch(5)
    torch.testing.assert_close(again.batch(3)[0], x, rtol=0, atol=0)
    assert not torch.equal(drawn.batch(4)[0], x)


def test_held_out_slices_are_never_learned_from():
    voxels = slices((16, 24, 24))
    voxels[4::8] = 777.0
    drawn = pairs(voxels, described=False)
    assert all(float(drawn.batch(step)[1].abs().mean()) > 0.1 for step in range(40))
    assert all(not drawn.batch(step, held_out=True)[1].abs().max() > 1e-4 for step in range(4))


def test_whole_slices_are_what_the_paper_learns_from():
    drawn = pairs(whole=True)
    assert drawn.batch(0)[0].shape == (1, 1 + CONDITIONS, 40, 48)
    assert drawn.batch(1)[0].shape == (1, 1 + CONDITIONS, 48, 40)
    assert drawn.steps_per_epoch() == 2 * 8  # both directions of the slices that are not held out
    assert drawn.squared and not pairs().squared


def test_learning_raises_the_gain_on_held_out_slices():
    network = small_network()
    result = adapt(network, pairs(), epochs(30), "float32", Monitor())
    assert result["before_db"] == 0.0
    assert result["after_db"] > 0.05
    assert not network.training


def test_weights_that_did_not_get_better_stay_as_they_were(monkeypatch):
    network = small_network()
    adapt(network, pairs(), epochs(20), "float32", Monitor())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    # With this learning rate the weights can only get worse.
    monkeypatch.setattr("ThickToThinSRLib.methods.sr4zct.adaptation._LEARNING_RATE", 3.0)
    monkeypatch.setattr("ThickToThinSRLib.methods.adaptation._STEPS_BETWEEN", 4)
    monitor = Monitor()
    result = adapt(network, pairs(), epochs(20), "float32", monitor)
    assert result["after_db"] == result["before_db"] > 0
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert "stopped improving" in monitor.notes[0] and result["steps"] < 60


def test_progress_reaches_its_end_and_tells_the_gain():
    events = []
    adapt(small_network(), pairs(), epochs(2), "float32", Monitor(lambda *event: events.append(event)))
    stages, done, totals = zip(*events, strict=True)
    assert list(done) == list(range(1, totals[0] + 1)) and len(set(totals)) == 1
    assert all(stage.startswith("adaptation (held-out slices") for stage in stages)
    assert math.isfinite(float(stages[-1].split()[-2]))


def epochs(count: int) -> Budget:
    return Budget(steps=count * pairs().steps_per_epoch())
