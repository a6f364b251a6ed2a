"""Adaptation of the universal network: it improves, only better weights are used, it can be cancelled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from Testing.volumes import blocks
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.errors import Cancelled
from ThickToThinSRLib.methods.universal import adaptation
from ThickToThinSRLib.methods.universal.adaptation import adapt
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import build

pytestmark = pytest.mark.usefixtures("one_thread")
THREE_MM = Acquisition(3.0, 3.0)


def network():
    torch.manual_seed(0)
    return build("universal", features=8, blocks=1, coefficients=5).eval()


def scan(shape=(12, 64, 64)):
    """Slices of random blocks, with edges in every direction."""
    return np.rint(blocks(shape, 8)).astype(np.int16)


def test_a_few_seconds_raise_the_gain_on_pairs_not_learned_from():
    result = adapt(network(), scan(), (0.7, 0.7), THREE_MM, 0.1, Monitor())
    assert result["steps"] > 3
    assert result["kept"] and result["after_db"] > result["before_db"]


def test_weights_that_did_not_get_better_stay_as_they_were(monkeypatch):
    network_errors = iter([1.0, 2.0])  # before and after the adaptation: it got worse
    monkeypatch.setattr(adaptation._HeldOut, "errors", lambda *_: (4.0, next(network_errors)))
    module = network()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    assert not adapt(module, scan(), (0.7, 0.7), THREE_MM, 0.001, Monitor())["kept"]
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_slices_too_small_for_the_thickness_teach_nothing():
    assert adapt(network(), scan(), (0.7, 0.7), Acquisition(8.0, 8.0), 0.1, Monitor())["steps"] == 0


def test_pixels_larger_than_the_slice_spacing_teach_nothing():
    """No row lies between two slices that are simulated along the rows."""
    thin_slices = scan((40, 64, 64))
    assert adapt(network(), thin_slices, (3.0, 3.0), Acquisition(2.0, 2.0), 0.01, Monitor())["steps"] == 0


def test_cancelling_stops_it():
    with pytest.raises(Cancelled):
        adapt(network(), scan(), (0.7, 0.7), THREE_MM, 5, Monitor(cancelled=lambda: True))
