"""The domain-gap experiment, start to end, with a tiny network."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from training.data.cases import cases_of
from training.domain_gap import main
from training.prepare import main as prepare

from .runs import COMMON, TINY


@pytest.mark.usefixtures("one_thread")
def test_a_network_is_trained_on_real_and_on_pseudo_pairs_and_measured_on_both(prepared, tmp_path, capfd):
    data, out = shutil.copytree(prepared, tmp_path / "prepared"), tmp_path / "gap"
    command = ["mpunet", "--data", str(data), "--output", str(out), "--device", "cpu"]
    settings = [*TINY["mpunet"], *COMMON, "steps=2"]
    assert main([*command, "--set", *settings]) == 0
    real, pseudo = (cases_of(folder, "test")[0].read() for folder in (data, out / "pseudo"))
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
    # A case that cannot be measured is left out and named; the table is written all the same.
    assert "SSIM | p, better than cubic" in text
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert rows["Cubic interpolation"].count("(n = 2)") == 2
    assert rows["trained on real pairs"].count("p = ") == 2
    for kind, other in (("real", "pseudo"), ("pseudo", "real")):
        assert (
            f"* On {kind} test cases, trained on {kind} pairs better than on {other} ones: PSNR p = " in text
        )
    for measure in ("psnr", "ssim"):
        with open(out / "on_real" / "cases.csv", newline="") as file:
            found = [row for row in csv.DictReader(file) if row["protocol"] == "authors"]
        values = [float(row[measure]) for row in found if row["system"] == "mpunet real/best"]
        mean, digits = np.mean(values), 3 if measure == "psnr" else 4
        assert f"{mean:.{digits}f} +- " in rows["trained on real pairs"]
    capfd.readouterr()
    cases_of(data, "test")[1].thin.write_bytes(b"damaged")
    assert main([*command, "--set", *settings]) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("training: 1 case(s)")]
    assert len(errors) == 1
    assert "case CT2" in errors[0]
    text = (out / "table.md").read_text()
    cubic = next(line for line in text.splitlines() if line.startswith("| Cubic"))
    assert (cubic.count("(n = 1)"), cubic.count("(n = 2)")) == (1, 1)


def test_data_that_are_not_prepared_and_crops_that_do_not_fit_are_refused_first(
    published, prepared, tmp_path, capfd
):
    command = ["mpunet", "--output", str(tmp_path / "gap"), "--device", "cpu", "--set", *TINY["mpunet"]]
    for data, setting, words in (
        (published, "crop=16", "prepare it first (python -m training.prepare folder"),
        (prepared, "crop=64", "are smaller than a crop of 4 x 64 x 64"),
        (prepared, "crop=18", "crop must be a multiple of 4"),
    ):
        assert main([*command, setting, "--data", str(data)]) == 2
        assert words in capfd.readouterr().err
        assert not (tmp_path / "gap").exists()


@pytest.mark.usefixtures("one_thread")
def test_an_experiment_at_factor_four_has_pseudo_pairs_of_that_factor(published, tmp_path):
    thin = []
    for split in ("train", "val", "test"):
        thin.append(tmp_path / f"{split}.nii.gz")
        shutil.copyfile(next((published / split / "1mm").glob("CT1.nii.gz")), thin[-1])
    data, out = tmp_path / "data", tmp_path / "gap"
    pseudo = ["pseudo", str(data), *map(str, thin), "--factor", "4", "--val", "val", "--test", "test"]
    assert prepare(pseudo) == 0
    command = ["mpunet", "--data", str(data), "--output", str(out), "--device", "cpu"]
    settings = [*TINY["mpunet"], *COMMON, "factor=4", "steps=1"]
    assert main([*command, "--set", *settings]) == 0
    assert json.loads((out / "pseudo" / "index.json").read_text())["factor"] == 4
    pair = cases_of(out / "pseudo", "test")[0].read()
    thick, fine = (np.asarray(volume.voxels, np.float64) for volume in (pair.thick, pair.thin))
    assert pair.thick.spacing[2] == pytest.approx(4 * pair.thin.spacing[2])
    assert len(fine) == 4 * (len(thick) - 1) + 1
    # A slice of four thin ones around thin slice 4: the outer two count by half.
    mean = (fine[2] / 2 + fine[3] + fine[4] + fine[5] + fine[6] / 2) / 4
    assert np.abs(thick[1] - mean).max() <= 0.5 + 1e-6
    for kind in ("real", "pseudo"):
        assert (out / f"on_{kind}" / "cases.csv").is_file()
