"""Measured parts: kept once, found again, and measured again where they are damaged."""

from __future__ import annotations

import numpy as np

from training.evaluation.parts import Part, Parts

PART = Part({"rows": [{"psnr": 30.5}]}, {"axial": np.arange(400, dtype=np.int16).reshape(20, 20)})


def test_a_damaged_part_is_measured_again_wherever_the_damage_is(tmp_path):
    parts = Parts(tmp_path)
    assert parts.kept("CT1", "a system", {"x": 1}, lambda: PART)[1] is False
    (path,) = tmp_path.rglob("*.npz")
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        part, _ = parts.kept("CT1", "a system", {"x": 1}, lambda: PART)
        assert part.facts == PART.facts
        np.testing.assert_array_equal(part.planes["axial"], PART.planes["axial"])
