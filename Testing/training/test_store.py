"""Stored measurements: found again, and made again where they are damaged."""

from __future__ import annotations

import numpy as np

from training.evaluation.store import Measurement, MeasurementStore

MEASURED = Measurement({"rows": [{"psnr": 30.5}]}, {"axial": np.arange(400, dtype=np.int16).reshape(20, 20)})


def test_a_measurement_is_made_once_for_everything_that_decides_it(tmp_path):
    store, made = MeasurementStore(tmp_path), []

    def measure():
        made.append(1)
        return MEASURED

    found = [store.get_or_measure("CT1", "a system", {"x": x}, measure)[1] for x in (1, 1, 2, 1)]
    assert found == [False, True, False, True]
    assert len(made) == 2


def test_a_damaged_measurement_is_made_again_wherever_the_damage_is(tmp_path):
    store = MeasurementStore(tmp_path)
    assert store.get_or_measure("CT1", "a system", {"x": 1}, lambda: MEASURED)[1] is False
    (path,) = tmp_path.rglob("*.npz")
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        measurement, _ = store.get_or_measure("CT1", "a system", {"x": 1}, lambda: MEASURED)
        assert measurement.facts == MEASURED.facts
        np.testing.assert_array_equal(measurement.planes["axial"], MEASURED.planes["axial"])
