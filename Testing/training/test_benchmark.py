"""Val, test and benchmark: the rows, the protocols, the table and the figures."""

from __future__ import annotations

import csv
import lzma
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from ThickToThinSRLib.cli import main as thicktothin
from ThickToThinSRLib.files import read_volume
from ThickToThinSRLib.intensity import to_hu
from ThickToThinSRLib.similarity import official_psnr, official_ssim
from ThickToThinSRLib.volume import Volume
from training import single
from training.benchmark import main as benchmark
from training.data.cases import Pair, cases_of
from training.evaluation.measures import Truth, measure
from training.evaluation.prediction import predict_pair
from training.evaluation.statistics import better
from training.evaluation.systems import find_systems

pytestmark = pytest.mark.usefixtures("one_thread")
ARRAYS = Path(__file__).parents[1] / "parity" / "arrays"
FIGURES = ("similarity", "quality", "time", "cases", "crops")


@pytest.fixture(scope="module")
def measured(prepared, finished, tmp_path_factory):
    """The folder of a benchmark of an interpolation and a checkpoint over two cases."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    command = ["--data", str(prepared), "--split", "test", "--output", str(out), "--device", "cpu"]
    command += ["--method", "interpolation", "consistent", "--checkpoint", str(finished / "best.safetensors")]
    assert benchmark(command) == 0
    return out


def rows(out):
    with open(out / "cases.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_cases_csv_has_a_row_a_case_system_and_protocol(measured):
    found = rows(measured)
    assert list(found[0])[:5] == ["case", "system", "protocol", "psnr", "ssim"]
    keys = [(row["case"], row["system"], row["protocol"]) for row in found]
    assert keys == [
        (case, system, protocol)
        for case in ("CT1", "CT2")
        for system in ("interpolation", "consistent", "mpunet")
        for protocol in ("authors", "seamless")
    ]
    for row in found:
        assert 0 < float(row["psnr"]) < 60
        assert 0 < float(row["ssim"]) <= 1
        assert (row["consistency_mean_hu"] != "") == (row["protocol"] == "seamless")
    assert {row["weights"] for row in found if row["system"] == "interpolation"} == {"0"}
    assert float(found[4]["gflop"]) > 0


def test_the_rows_are_the_authors_measures_of_what_enhance_writes(measured, prepared, finished, tmp_path):
    case = cases_of(prepared, "test")[0].read()
    thick = Volume(np.asarray(case.thick.voxels, np.float32), case.thick.spacing, slice_axis=2)
    from ThickToThinSRLib.files import write_volume

    write_volume(thick, tmp_path / "thick.nii.gz")
    command = ["enhance", str(tmp_path / "thick.nii.gz"), str(tmp_path / "thin.nii.gz"), "--device", "cpu"]
    command += ["--checkpoint", str(finished / "best.safetensors"), "--progress", "none"]
    assert thicktothin(command) == 0
    thin, truth = read_volume(tmp_path / "thin.nii.gz").voxels, np.asarray(case.thin.voxels)
    unit, reference = ((np.clip(v.astype(np.float32), -1024, 2048) + 1024) / 3072 for v in (thin, truth))
    row = next(r for r in rows(measured) if r["system"] == "mpunet" and r["protocol"] == "seamless")
    assert float(row["psnr"]) == pytest.approx(official_psnr(reference, unit, drop=0), abs=2e-3)
    assert float(row["ssim"]) == pytest.approx(official_ssim(reference, unit, drop=0), abs=1e-4)


def test_the_table_has_the_published_numbers_beside_ours_and_no_star_that_two_cases_cannot_carry(measured):
    text = (measured / "table.md").read_text(encoding="utf-8")
    assert "2 case(s)" in text
    for heading in ("Authors' protocol", "Seamless", "published PSNR / SSIM", "LAA-950"):
        assert heading in text
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| ") and "p = " in line]
    assert cells
    assert all("(n = " in line[4] and "*" not in line[4] for line in cells)


def test_the_figures_are_drawn(measured):
    for name in FIGURES:
        image = imread(measured / f"{name}.png")
        assert min(image.shape[:2]) > 200
        assert np.ptp(image[..., :3]) > 0.5


def test_few_cases_carry_no_stars_and_many_do():
    assert better([2, 3], [1, 1]).stars == ""
    assert better(range(1, 6), [0] * 5).stars == "*"
    assert better(range(1, 11), [0] * 10).stars == "***"
    assert better(range(1, 11), [0] * 10).p == pytest.approx(2**-10)
    assert str(better([1, 1], [1, 1])) == "-"
    assert better([0] * 10, range(1, 11)).stars == ""


def test_the_benchmark_measures_the_authors_network_as_their_own_test_loop_does(tmp_path):
    pickled, weights = tmp_path / "authors.pkl", tmp_path / "tvsrn.safetensors"
    pickled.write_bytes(lzma.decompress((ARRAYS / "tvsrn_authors_64.pkl.xz").read_bytes()))
    assert thicktothin(["import-checkpoint", str(pickled), str(weights)]) == 0
    with np.load(ARRAYS / "tvsrn_authors_volume.npz") as arrays:
        thick, thin = (to_hu(arrays[kind].astype(np.float32)) for kind in ("thick", "thin"))
        expected = float(arrays["psnr"]), float(arrays["ssim"])
    pair = Pair(Volume(thick, (0.7, 0.7, 5.0), slice_axis=2), Volume(thin, (0.7, 0.7, 1.0), slice_axis=2))
    (system,) = find_systems([], [weights])
    # The arrays were made in tiles of 64 pixels.
    prediction = predict_pair(system, pair, "authors", "cpu", "float32", tile=64)
    row = measure(Truth(pair), prediction.hu, "authors")
    assert (row["psnr"], row["ssim"]) == (
        pytest.approx(expected[0], abs=1e-3),
        pytest.approx(expected[1], abs=1e-4),
    )
    assert system.weights == 2_387_489


@pytest.mark.parametrize(("split", "cases"), [("val", 1), ("test", 2)])
def test_one_checkpoint_is_measured_on_a_split(prepared, finished, tmp_path, capfd, split, cases):
    command = ["--data", str(prepared), "--checkpoint", str(finished / "best.safetensors")]
    assert single.main(split, [*command, "--device", "cpu", "--output", str(tmp_path / "cases.csv")]) == 0
    lines = capfd.readouterr().out.splitlines()[-2:]
    for protocol, line in zip(("authors", "seamless"), lines, strict=True):
        assert line.startswith(f"{protocol}: PSNR ")
        assert line.endswith(f"over {cases} case(s)")
    assert len(rows(tmp_path)) == 2 * cases


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--checkpoint", "absent.safetensors"], "absent.safetensors"),
        (["--method", "tvsrn"], "needs weights"),
        (["--method", "interpolation", "interpolation"], "a system is named twice"),
        (["--method", "interpolation", "--factor", "4"], "5 thick slices need 17 thin ones"),
    ],
)
def test_mistakes_are_refused_in_a_line_and_nothing_is_written(prepared, tmp_path, capfd, options, words):
    command = ["--data", str(prepared), "--output", str(tmp_path / "out"), "--device", "cpu", *options]
    assert benchmark(command) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "out").exists()
