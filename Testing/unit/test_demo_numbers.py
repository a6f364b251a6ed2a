"""What `make demo` says of its result is measured against the phantom's true thin slices."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Testing.benchmarks import demo_numbers
from Testing.benchmarks.against_truth import body_mask, errors
from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.volume import Volume

SAMPLE = CHECKOUT / "Resources" / "SampleData" / "ThoraxPhantom_5mm.nrrd"


def test_five_true_slices_average_to_one_thick_slice_of_the_sample():
    sample = read_volume(SAMPLE)
    truth = demo_numbers.true_slab(demo_numbers.FIRST_HEIGHT - 2, 5)
    assert truth.origin[:2] == sample.origin[:2]
    thick = (demo_numbers.FIRST_HEIGHT - sample.origin[2]) / sample.spacing[2]
    assert thick == int(thick)
    difference = truth.voxels.mean(axis=0) - sample.voxels[int(thick)]
    assert np.abs(difference).max() <= 4.0  # both are stored in steps of 4 HU
    assert np.abs(difference).mean() < 1.5


def test_the_slab_of_a_result_lies_at_the_heights_of_the_truth():
    truth = Volume(np.zeros((3, 2, 2)), (1.0, 1.0, 1.0), (0.0, 0.0, -40.0))
    heights = np.arange(-45.0, -30.0)[:, None, None]
    result = Volume(np.broadcast_to(heights, (15, 2, 2)), (1.0, 1.0, 1.0), (0.0, 0.0, -45.0))
    assert demo_numbers.slab_of(result, truth)[:, 0, 0].tolist() == [-40, -39, -38]


def test_errors_of_known_size_are_measured():
    truth = np.full((2, 40, 40), -1000.0)
    truth[:, 10:30, 10:30] = 40
    body = body_mask(truth)
    assert body.sum() == 2 * 20 * 20
    psnr, mean = errors(truth + 3.072, truth, body)
    assert mean == pytest.approx(3.072)
    assert psnr == pytest.approx(60.0)
    assert errors(truth, truth, body) == (np.inf, 0.0)


def test_air_and_table_are_no_body_but_the_lung_is():
    hu = np.full((1, 60, 60), -1000.0)
    hu[:, 10:40, 10:50] = 40
    hu[:, 20:30, 20:30] = -850  # lung
    hu[:, 55:57, :] = 100  # table
    body = body_mask(hu)[0]
    assert body[25, 25]
    assert not body[56].any()
    assert not body[5].any()


def lines_of_make_demo(source: Path) -> str:
    """What `make demo` would run, without running it."""
    done = subprocess.run(
        ["make", "--dry-run", "demo", f"INPUT={source}"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is missing")
def test_make_demo_measures_the_bundled_sample_and_tells_where_to_look():
    lines = lines_of_make_demo(SAMPLE.relative_to(CHECKOUT))
    assert "-m Testing.benchmarks.demo_numbers" in lines
    assert "diaphragm" in lines


def test_the_numbers_of_the_demo_are_printed(tmp_path, capsys, monkeypatch):
    sample = read_volume(SAMPLE)
    few = tmp_path / "few.nrrd"
    write_volume(replace(sample, voxels=sample.voxels[22:28], origin=(*sample.origin[:2], -50.0)), few)
    result = tmp_path / "result.nrrd"
    truth = demo_numbers.true_slab(slices=3)
    write_volume(replace(truth, voxels=truth.voxels + 3.072), result)
    monkeypatch.setattr(demo_numbers, "SLICES", 3)
    monkeypatch.setattr(demo_numbers, "true_slab", lambda: truth)
    monkeypatch.setattr("sys.argv", ["demo_numbers", str(few), str(result)])
    demo_numbers.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "the result" in lines[2]
    assert "60.00 dB" in lines[2]
    cubic = float(re.search(r"PSNR +([0-9.]+) dB", lines[1]).group(1))
    assert 25 < cubic < 50
