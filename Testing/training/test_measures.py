"""What is measured of a prediction, on volumes whose answers are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from ThickToThinSRLib.volume import Volume
from training.data.cases import ScanPair
from training.evaluation.measures import Truth, body_mask, measure, slice_similarity
from training.evaluation.progress import Progress, in_words
from training.evaluation.statistics import better
from training.evaluation.systems import System
from training.evaluation.table import table
from training.recipes import find_recipe

FACTOR, THICK = 5, 7
THIN = FACTOR * (THICK - 1) + 1
AIR, BODY, LUNG = -1000, 40, -900


def disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.indices((96, 96))
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


INSIDE = disc(44, 48, 36)
LUNGS = disc(44, 32, 13) | disc(44, 64, 13)


def truth(thin: np.ndarray) -> Truth:
    """Of thin slices whose every fifth is a thick one; pixels of 4 mm."""
    thick = np.ascontiguousarray(thin[::FACTOR])
    return Truth(ScanPair(Volume(thick, (4, 4, 5), slice_axis=2), Volume(thin, (4, 4, 1), slice_axis=2)))


@pytest.fixture
def chest() -> Truth:
    """A body with two lungs above a table, the same in all slices."""
    plane = np.full((96, 96), AIR, np.int16)
    plane[84:] = 100
    plane[INSIDE] = BODY
    plane[LUNGS] = LUNG
    return truth(np.repeat(plane[None], THIN, 0))


def test_the_body_is_the_patient_with_the_lungs_without_air_and_table(chest):
    mask = body_mask(chest.pair.thin)
    assert mask.shape == chest.hu.shape
    assert mask[:, LUNGS].all()
    assert mask[:, INSIDE].mean() > 0.95
    around = ~disc(44, 48, 42)
    assert not mask[:, around].any(), "air or table"
    assert not body_mask(Volume(np.full((3, 40, 40), AIR), (1, 1, 1))).any()


def test_psnr_in_the_body_leaves_out_errors_in_the_air(chest):
    wrong = chest.hu.astype(np.float32)
    wrong[:, :, :4] += 500
    row = measure(chest, wrong, "seamless")
    assert row["psnr"] < 40
    assert row["psnr_body"] == np.inf


def test_a_lung_too_dense_is_a_positive_bias_there_and_a_small_one_in_the_body(chest):
    wrong = chest.hu.astype(np.float32)
    wrong[:, LUNGS] += 10
    assert chest.lung[:, LUNGS].all(), "the lungs are found"
    row = measure(chest, wrong, "seamless")
    share = LUNGS.sum() / chest.body[0].sum()
    assert row["bias_lung_hu"] == pytest.approx(10 * LUNGS.sum() / chest.lung[0].sum(), rel=1e-4)
    assert row["bias_body_hu"] == pytest.approx(10 * share, rel=1e-3)


def test_errors_are_told_apart_by_the_distance_from_a_thick_slice(chest):
    wrong = np.full(chest.hu.shape, AIR, np.float32)
    for distance, error in ((0, 0.01), (1, 0.1**1.5), (2, 0.1)):
        for index in range(THIN):
            if min(index % FACTOR, -index % FACTOR) == distance:
                wrong[index] = chest.hu[index] + 3072 * error
    row = measure(chest, wrong, "authors")
    assert row["psnr_match"] == pytest.approx(40, abs=1e-3)
    assert row["psnr_near"] == pytest.approx(30, abs=1e-3)
    assert row["psnr_far"] == pytest.approx(20, abs=1e-3)


def test_thick_slices_are_compared_with_the_thin_ones_at_0_1_and_2_slices():
    off = {0: 0, 1: 0.1**1.5, 2: 0.1, 3: 0.1, 4: 0.1**1.5}
    thin = np.stack([np.full((16, 16), 3072 * off[i % FACTOR], np.float32) for i in range(THIN)])
    found = slice_similarity(truth(thin))
    assert found["ssim"]["Match"] == pytest.approx([1.0] * THICK)
    assert max(found["ssim"]["Near"]) < 1 - 1e-4
    assert max(found["ssim"]["Far"]) < min(found["ssim"]["Near"])
    found = found["psnr"]
    assert found["Match"] == [40.0] * THICK, "equal slices have 40 dB by definition"
    assert found["Near"] == pytest.approx([30.0] * (2 * THICK - 2))
    assert found["Far"] == pytest.approx([20.0] * (2 * THICK - 2))


def test_densitometry_stands_beside_that_of_the_reference(chest):
    wrong = chest.hu.astype(np.float32)
    wrong[:, chest.lung[0]] = -960
    row = measure(chest, wrong, "seamless")
    assert (row["laa950"], row["laa950_reference"]) == (100, 0)
    assert (row["perc15"], row["perc15_reference"]) == (-960, LUNG)


@pytest.mark.parametrize(("hu", "emphysema"), [(-950.4, 0), (-950.6, 100), (-949.6, 0)])
def test_a_prediction_between_whole_hu_is_rounded_as_a_scan_is_before_its_emphysema_is_measured(
    chest, hu, emphysema
):
    wrong = chest.hu.astype(np.float32)
    wrong[:, chest.lung[0]] = hu
    assert measure(chest, wrong, "seamless")["laa950"] == emphysema


def test_the_authors_protocol_leaves_out_five_slices_at_either_end(chest):
    wrong = chest.hu.astype(np.float32)
    wrong[:5] += 100
    wrong[-5:] += 100
    row = measure(chest, wrong, "authors")
    assert row["psnr"] == 40, "by definition, where nothing differs"
    assert row["bias_body_hu"] == 0
    assert measure(chest, wrong, "seamless")["psnr"] < 35


def rows(scores: dict[str, list[float]]) -> list[dict]:
    return [
        {"case": f"CT{number}", "system": name, "protocol": protocol, "psnr": psnr, "ssim": 0.9}
        for name, values in scores.items()
        for number, psnr in enumerate(values)
        for protocol in ("authors", "seamless")
    ]


@pytest.mark.parametrize(("cases", "stars"), [(4, ""), (5, "*"), (6, "*"), (7, "**"), (9, "**"), (10, "***")])
def test_the_table_prints_n_and_no_star_that_so_few_cases_cannot_carry(cases, stars):
    worse = [30 + 0.1 * number for number in range(cases)]
    better_ones = [score + 1 + 0.01 * number for number, score in enumerate(worse)]
    systems = [System("good", "Good", "tvsrn"), System("poor", "Poor", "tvsrn")]
    text = table(rows({"good": better_ones, "poor": worse}), systems, "data", "cpu")
    scores = [line.split("|") for line in text.splitlines() if line.startswith("| Good")]
    first = next(line for line in text.splitlines() if line.startswith(("| Good", "| Poor")))
    assert first.startswith("| Poor"), "the lowest first"
    tests = [cells[4].strip() for cells in scores if len(cells) == 7]
    assert len(tests) == 2, "one a protocol"
    for cell in tests:
        assert cell.endswith(f"(n = {cases})")
        assert cell.count("*") == len(stars)


@pytest.mark.parametrize("official", [True, False])
def test_published_numbers_stand_beside_the_authors_protocol_on_their_own_data_alone(official):
    recipe = find_recipe("tvsrn")
    systems = [System("tvsrn", "TVSRN", "tvsrn", recipe=recipe), System("other", "Warm TVSRN", "tvsrn")]
    text = table(rows({"tvsrn": [38, 39], "other": [37, 38]}), systems, "data", "cpu", official)
    authors, seamless = text.split("## Seamless")
    row, other = (
        next(line for line in authors.splitlines() if line.startswith(f"| {name} "))
        for name in ("TVSRN", "Warm TVSRN")
    )
    assert row.endswith("| 38.609 +- 1.721 / 0.936 +- 0.024 | 1.73 M |") is official
    assert "38.609" not in other
    assert ("38.609" in authors) is official
    assert ("not for these data: TVSRN 38.609 +- 1.721 / 0.936 +- 0.024" in seamless) is not official
    assert seamless.count("38.609") == (0 if official else 1)


def test_few_cases_carry_no_stars_and_many_do():
    assert better([2, 3], [1, 1]).stars == ""
    assert better(range(1, 6), [0] * 5).stars == "*"
    assert better(range(1, 11), [0] * 10).stars == "***"
    assert better(range(1, 11), [0] * 10).p == pytest.approx(2**-10)
    assert str(better([1, 1], [1, 1])) == "-"
    assert better([0] * 10, range(1, 11)).stars == ""


def test_a_case_that_does_not_differ_is_no_evidence():
    assert better([1, 2, 3], [0, 2, 3]).n == 1


def test_the_time_left_is_that_of_the_systems_as_they_were_measured(monkeypatch):
    progress = Progress({"fast": 3, "slow": 3}, print)
    assert progress.time_left() == ""
    progress.done("fast", 30.0)
    progress.done("fast", None)  # stored before: no time, and no measure of it
    assert progress.time_left() == ", about 2 min left", "1 fast, 3 of which nothing is known"
    progress.done("slow", 3600.0)
    assert progress.time_left() == ", about 2 h 0 min left"
    for kind in ("fast", "slow", "slow"):
        progress.done(kind, 1.0)
    assert progress.time_left() == ""


def test_progress_is_told_now_and_then(monkeypatch):
    said, now = [], [0.0]
    monkeypatch.setattr("training.evaluation.progress.time.monotonic", lambda: now[0])
    progress = Progress({"one": 2}, said.append)
    monitor = progress.monitor("CT1  One")
    for second in (1, 16, 17, 40):
        now[0] = float(second)
        monitor.step("network", second, 40)
    assert said == ["CT1  One: network 40 %", "CT1  One: network 100 %"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.4, "12 s"), (61, "1 min"), (3570, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_a_time_in_words(seconds, words):
    assert in_words(seconds) == words
