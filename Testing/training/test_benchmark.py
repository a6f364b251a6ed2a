"""Val, test and benchmark: the rows, the protocols, the table and the figures."""

from __future__ import annotations

import csv
import json
import lzma
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ThickToThinSRLib.cli.main import main as thicktothin
from ThickToThinSRLib.evaluation.similarity import official_psnr, official_ssim
from ThickToThinSRLib.intensity import to_hu
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.volume import Volume
from training import single
from training.benchmark import main as benchmark
from training.data.cases import ScanPair, cases_of
from training.data.rplhr import is_rplhr_ct
from training.evaluation.crops import crop_places, cut
from training.evaluation.measures import Truth, measure
from training.evaluation.prediction import Computing, predict_pair
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
    # Crops of 16 pixels were trained on; slices of 32 are one tile.
    assert [row["tile"] for row in found[4:6]] == ["32", ""]


def test_the_rows_are_the_authors_measures_of_what_enhance_writes(measured, prepared, finished, tmp_path):
    case = cases_of(prepared, "test")[0].read()
    thick = Volume(np.asarray(case.thick.voxels, np.float32), case.thick.spacing, slice_axis=2)
    from ThickToThinSRLib.io.volume_files import write_volume

    write_volume(thick, tmp_path / "thick.nii.gz")
    command = ["enhance", str(tmp_path / "thick.nii.gz"), str(tmp_path / "thin.nii.gz"), "--device", "cpu"]
    command += ["--checkpoint", str(finished / "best.safetensors"), "--progress", "none"]
    assert thicktothin(command) == 0
    thin, truth = read_volume(tmp_path / "thin.nii.gz").voxels, np.asarray(case.thin.voxels)
    unit, reference = ((np.clip(v.astype(np.float32), -1024, 2048) + 1024) / 3072 for v in (thin, truth))
    row = next(r for r in rows(measured) if r["system"] == "mpunet" and r["protocol"] == "seamless")
    assert float(row["psnr"]) == pytest.approx(official_psnr(reference, unit, drop=0), abs=2e-3)
    assert float(row["ssim"]) == pytest.approx(official_ssim(reference, unit, drop=0), abs=1e-4)


def test_the_table_has_every_result_and_no_star_that_two_cases_cannot_carry(measured):
    text = (measured / "table.md").read_text(encoding="utf-8")
    assert "2 case(s)" in text
    assert "tiles of 32 x 32 pixels" in text
    for heading in ("Authors' protocol", "Seamless", "LAA-950"):
        assert heading in text
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| ") and "p = " in line]
    assert cells
    assert all("(n = " in line[4] and "*" not in line[4] for line in cells)


def test_the_figures_are_drawn(measured):
    for name in FIGURES:
        image = imread(measured / f"{name}.png")
        assert min(image.shape[:2]) > 200
        assert np.ptp(image[..., :3]) > 0.5


def test_the_benchmark_measures_the_authors_network_as_their_own_test_loop_does(tmp_path):
    pickled, weights = tmp_path / "authors.pkl", tmp_path / "tvsrn.safetensors"
    pickled.write_bytes(lzma.decompress((ARRAYS / "tvsrn_authors_64.pkl.xz").read_bytes()))
    assert thicktothin(["import-checkpoint", str(pickled), str(weights)]) == 0
    with np.load(ARRAYS / "tvsrn_authors_volume.npz") as arrays:
        thick, thin = (to_hu(arrays[kind].astype(np.float32)) for kind in ("thick", "thin"))
        expected = float(arrays["psnr"]), float(arrays["ssim"])
    pair = ScanPair(Volume(thick, (0.7, 0.7, 5.0), slice_axis=2), Volume(thin, (0.7, 0.7, 1.0), slice_axis=2))
    (system,) = find_systems([], [weights])
    # The arrays were made in tiles of 64 pixels.
    prediction = predict_pair(system, pair, "authors", Computing("cpu", "float32"), tile=64)
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


def again(data, finished, out, *more):
    """The command of `measured` on one method less: its exit code."""
    command = ["--data", str(data), "--output", str(out), "--device", "cpu", "--method", "interpolation"]
    return benchmark([*command, "--checkpoint", str(finished / "best.safetensors"), *more])


def measured_anew(capfd):
    """Cases and systems that the last benchmark did not find measured already."""
    lines = [line for line in capfd.readouterr().out.splitlines() if "dB (authors)" in line]
    return [line.split(":")[0].split("  ") for line in lines if "measured before" not in line]


def test_the_same_command_goes_on_where_it_was_killed(prepared, finished, tmp_path, capfd, monkeypatch):
    def killed(line):
        print(line)
        if line.startswith("CT2"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.benchmark._say", killed)
        assert again(prepared, finished, tmp_path / "out") == 3
    assert len(measured_anew(capfd)) == 3, "both systems on the first case, one on the second"
    assert not (tmp_path / "out" / "cases.csv").exists()
    assert again(prepared, finished, tmp_path / "out") == 0
    assert measured_anew(capfd) == [["CT2", "MPU-Net"]]
    assert len(rows(tmp_path / "out")) == 2 * 2 * 2
    before = (tmp_path / "out" / "cases.csv").read_bytes()
    assert again(prepared, finished, tmp_path / "out") == 0
    assert measured_anew(capfd) == []
    assert (tmp_path / "out" / "cases.csv").read_bytes() == before, "even its seconds"
    for name in FIGURES:
        assert (tmp_path / "out" / f"{name}.png").exists()


def test_what_changed_is_measured_again(prepared, finished, tmp_path, capfd):
    runs = tmp_path / "run"
    runs.mkdir()
    (runs / "best.safetensors").write_bytes((finished / "best.safetensors").read_bytes())
    data = shutil.copytree(prepared, tmp_path / "data")
    out = tmp_path / "out"
    assert again(data, runs, out) == 0
    assert len(measured_anew(capfd)) == 4
    save_file(
        {name: 1.01 * tensor for name, tensor in load_file(runs / "best.safetensors").items()},
        runs / "best.safetensors",
        metadata_of(runs / "best.safetensors"),
    )
    assert again(data, runs, out) == 0
    assert measured_anew(capfd) == [["CT1", "MPU-Net"], ["CT2", "MPU-Net"]]
    assert again(data, runs, out, "--precision", "float32") == 0
    assert len(measured_anew(capfd)) == 4
    thin = next(case.thin for case in cases_of(data, "test") if case.name == "CT2")
    os.utime(thin, (1, 1))
    assert again(data, runs, out) == 0
    assert {case for case, _ in measured_anew(capfd)} == {"CT2"}
    for path in (out / "parts" / "CT1").glob("interpolation-*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    assert again(data, runs, out) == 0
    assert measured_anew(capfd) == [["CT1", "Cubic interpolation"]]


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_a_case_that_cannot_be_measured_does_not_spoil_the_others(prepared, finished, tmp_path, capfd):
    data = shutil.copytree(prepared, tmp_path / "data")
    thin = cases_of(data, "test")[0].thin
    whole = thin.read_bytes()
    thin.write_bytes(whole[: len(whole) // 2])
    assert again(data, finished, tmp_path / "out") == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "1 case(s) could not be measured, 1 could" in error
    assert thin.name in error
    assert {row["case"] for row in rows(tmp_path / "out")} == {"CT2"}
    assert "1 case(s)" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    thin.write_bytes(whole)
    assert again(data, finished, tmp_path / "out") == 0
    assert {case for case, _ in measured_anew(capfd)} == {"CT1"}
    assert {row["case"] for row in rows(tmp_path / "out")} == {"CT1", "CT2"}


def test_one_checkpoint_is_measured_on_the_cases_that_can_be(prepared, finished, tmp_path, capfd):
    data = shutil.copytree(prepared, tmp_path / "data")
    cases_of(data, "test")[1].thick.write_bytes(b"damaged")
    command = ["--data", str(data), "--checkpoint", str(finished / "best.safetensors"), "--device", "cpu"]
    assert single.main("test", command) == 2
    captured = capfd.readouterr()
    assert captured.out.splitlines()[-1].endswith("over 1 case(s)")
    assert "1 case(s) could not be measured" in captured.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--checkpoint", "absent.safetensors"], "absent.safetensors"),
        (["--method", "interpolation", "--epochs", "2"], "--epochs: none of the chosen systems takes it"),
        (["--network", "msd"], "--network: none of the chosen systems takes it; sr4zct would"),
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


def test_all_results_of_the_seamless_table_are_consistent_with_the_thick_slices(measured):
    found = [row for row in rows(measured) if row["protocol"] == "seamless"]
    assert {row["system"] for row in found} == {"interpolation", "consistent", "mpunet"}
    assert max(float(row["consistency_mean_hu"]) for row in found) < 0.5


def test_slices_of_every_split_are_compared_once(measured, prepared):
    stored = sorted(
        path.parent.name + " " + path.name.split("-")[0] for path in measured.glob("parts/*/sim*")
    )
    assert stored == [
        "CT1 similarity_test", "CT1 similarity_train", "CT1 similarity_val",
        "CT2 similarity_test", "CT2 similarity_train",
    ]  # fmt: skip


def test_a_damaged_case_of_another_split_is_named_and_costs_nothing_else(prepared, finished, tmp_path, capfd):
    data = shutil.copytree(prepared, tmp_path / "data")
    cases_of(data, "val")[0].thin.write_bytes(b"damaged")
    assert again(data, finished, tmp_path / "out") == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "CT1.thin.npy" in error
    assert len(rows(tmp_path / "out")) == 2 * 2 * 2
    assert (tmp_path / "out" / "similarity.png").exists()


def released_index(**changed):
    """An index as that of RPLHR-CT, with one case changed."""
    place = {"shape": [39, 512, 512], "spacing": [0.7, 0.7, 5.0]}
    thin = {"shape": [191, 512, 512], "spacing": [0.7, 0.7, 1.0]}
    cases = [
        {"split": split, "name": f"CT{n}", "scales": "intensity [0, 1]", "thick": place, "thin": thin}
        for split, count in (("train", 100), ("val", 50), ("test", 100))
        for n in range(count)
    ]
    cases[7] = {**cases[7], **changed}
    return {"factor": 5, "cases": cases}


@pytest.mark.parametrize(
    ("changed", "is_it"),
    [
        ({}, True),
        ({"split": "test"}, False),
        ({"scales": "intensity HU"}, False),
        ({"thin": {"shape": [191, 256, 256], "spacing": [0.7, 0.7, 1.0]}}, False),
        ({"thin": {"shape": [150, 512, 512], "spacing": [0.7, 0.7, 1.0]}}, False),
        ({"thick": {"shape": [39, 512, 512], "spacing": [0.7, 0.7, 2.5]}}, False),
        ({"thin": {"shape": [191, 512, 512], "spacing": [0.97, 0.97, 1.0]}}, False),
    ],
)
def test_rplhr_ct_is_recognised_by_its_index(tmp_path, changed, is_it):
    assert not is_rplhr_ct(tmp_path), "without an index"
    (tmp_path / "index.json").write_text(json.dumps(released_index(**changed)))
    assert is_rplhr_ct(tmp_path) is is_it


def test_the_planes_of_the_figure_lie_where_something_changes_and_the_sagittal_one_in_bone():
    truth = np.full((41, 200, 180), -900, np.int16)
    truth[:, 150:165, 60:70] = 600  # a spine
    truth[25:, 30:110, 75:160] = 40
    places = crop_places(truth, 5)
    _, rows, x = places["sagittal"]
    assert 60 <= x < 70
    assert rows.start <= 150
    assert rows.stop >= 165
    assert rows.stop - rows.start == 128
    planes = cut(truth, places)
    assert planes["sagittal"].max() == 600
    assert (planes["coronal"] == 40).any()
    assert planes["axial"].shape == (128, 128)
