"""The domain-gap experiment, start to end, with a tiny network."""

from __future__ import annotations

import csv

import pytest

from training.data.cases import cases_of
from training.domain_gap import main

from .runs import COMMON, TINY


@pytest.mark.usefixtures("one_thread")
def test_a_network_is_trained_on_real_and_on_pseudo_pairs_and_measured_on_both(prepared, tmp_path, capfd):
    out = tmp_path / "gap"
    command = ["mpunet", "--data", str(prepared), "--output", str(out), "--device", "cpu"]
    settings = [*TINY["mpunet"], *COMMON, "steps=2"]
    assert main([*command, "--set", *settings]) == 0
    real, pseudo = (cases_of(data, "test")[0].read() for data in (prepared, out / "pseudo"))
    # Slices of the real scan that no whole thick slice covers are left out; the rest is the same scan.
    start = (len(real.thin.voxels) - len(pseudo.thin.voxels)) // 2
    assert (pseudo.thin.voxels == real.thin.voxels[start : start + len(pseudo.thin.voxels)]).all()
    for kind in ("real", "pseudo"):
        with open(out / f"on_{kind}" / "cases.csv", newline="") as file:
            systems = {row["system"] for row in csv.DictReader(file)}
        assert systems == {"interpolation", "mpunet real/best", "mpunet pseudo/best"}
    text = (out / "table.md").read_text()
    assert "| trained on pseudo pairs |" in text
    assert (out / "gap.png").stat().st_size > 10_000
