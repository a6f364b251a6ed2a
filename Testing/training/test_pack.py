"""Packed scans: small, as good as unchanged, and read by the recipes of bundled weights."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.errors import UserError
from training.bundled.distilled import draw_crop, open_scans, thick_slices
from training.bundled.recipes import RECIPES
from training.bundled.scans import Scan
from training.bundled.trainer import RunOptions, train
from training.pack import main, pack, unpack

from .bundled_data import write_distilled_scan


@pytest.fixture
def scans() -> list[Scan]:
    generator = np.random.default_rng(0)
    y, x = np.ogrid[:160, :176]
    body = np.hypot((y - 80) / 60, (x - 88) / 70) < 1
    voxels = [np.where(body, generator.normal(0, 60, (60, 160, 176)), -1024.0) for _ in range(2)]
    return [Scan(f"CT{number}", array, (1.0, 0.7, 0.8)) for number, array in enumerate(voxels)]


def test_a_packed_file_keeps_to_its_size_and_states_what_it_changed(scans, tmp_path):
    index = pack(scans, tmp_path / "data.zip", 1.2)
    assert (tmp_path / "data.zip").stat().st_size <= 1.2 * 2**20
    assert [facts["name"] for facts in index] == ["CT0", "CT1"]
    for facts in index:
        assert facts["changed"]["largest"] == 2
        assert 0.3 < facts["changed"]["mean"] < 1.2
    whole = pack(scans, tmp_path / "fine.zip", 50.0, step=1)
    assert whole[0]["changed"]["largest"] == 0
    assert np.prod(whole[0]["shape"]) > np.prod(index[0]["shape"])


def test_recipes_read_what_unpack_writes(scans, tmp_path):
    pack(scans, tmp_path / "data.zip", 50.0)
    assert unpack(tmp_path / "data.zip", tmp_path / "data") == ["CT0", "CT1"]
    for name, key in (("universal_first", "channels"), ("tvsrn_warm", "thin")):
        source = RECIPES[name].source(tmp_path / "data", [])
        assert source.names == ["CT0", "CT1"]
        batch = source.batch(np.random.default_rng(0), 0, False)
        assert np.isfinite(batch[key].numpy()).all()


@pytest.fixture
def taught(scans, tmp_path):
    """The scans with a teacher's estimates, which have less noise."""
    for scan in scans:
        truth = np.rint(scan.voxels).astype(np.int16)
        write_distilled_scan(tmp_path / "distilled" / scan.name, truth, error=37)
    return open_scans(tmp_path / "distilled", {}, [])


@pytest.mark.parametrize("mebibytes", [50.0, 2.3])
def test_estimates_of_a_teacher_are_unpacked_beside_their_truth(scans, taught, tmp_path, mebibytes):
    # An estimate differs from the truth by 37 HU, in its thick slices by 100 HU more.
    at_thick = 100 * (np.arange(60) % 5 == 0).astype(np.int16)[:, None, None]
    taught = [
        replace(
            scan,
            teacher={phase: e + at_thick[: len(e)] for phase, e in scan.teacher.items() if phase % 4 == 2},
        )
        for scan in taught
    ]
    index = pack(scans, tmp_path / "data.zip", mebibytes, taught=taught)
    assert (tmp_path / "data.zip").stat().st_size <= mebibytes * 2**20
    assert all(facts["changed"]["largest"] == facts["teacher_changed"]["largest"] == 2 for facts in index)
    unpack(tmp_path / "data.zip", tmp_path / "data")
    for scan, facts in zip(open_scans(tmp_path / "data", {}, []), index, strict=True):
        assert scan.factor == 5
        assert list(scan.teacher) == [2, 6]
        assert scan.truth.shape == tuple(facts["shape"])
        for phase, estimate in scan.teacher.items():
            count = len(thick_slices(scan.truth, 5, phase))
            assert len(estimate) == 5 * (count - 1) + 1
            # Both are rounded, and the estimate lies where it belongs.
            difference = estimate.astype(int) - scan.truth[phase : phase + len(estimate)]
            assert np.abs(difference - at_thick[: len(estimate)] - 37).max() <= 4


def test_a_recipe_makes_a_step_on_unpacked_estimates(scans, taught, tmp_path):
    few = [replace(scan, teacher={3: scan.teacher[3]}) for scan in taught]
    pack(scans, tmp_path / "data.zip", 50.0, taught=few)
    unpack(tmp_path / "data.zip", tmp_path / "data")
    recipe = replace(RECIPES["tvsrn_warm"], steps=2, settling=1)
    source = recipe.source(tmp_path / "data", [])
    crops = [draw_crop(source.scans, source.window, 32, np.random.default_rng(0), t) for t in (True, False)]
    assert float((crops[0][1] - crops[1][1]).mean()) == pytest.approx(37, abs=2)
    state = train(recipe, source, tmp_path / "state.pt", RunOptions(stop=1))
    assert state.step == 1


def test_estimates_must_be_of_the_same_scans_and_phases(scans, taught, tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match=r"CT1: no teacher's estimates; make them by .*distilled"):
        pack(scans, tmp_path / "data.zip", 50.0, taught=taught[:1])
    other = [replace(scan, truth=scan.truth[:-1]) for scan in taught]
    with pytest.raises(UserError, match="CT0: the teacher's estimates have another size"):
        pack(scans, tmp_path / "data.zip", 50.0, taught=other)
    other = [replace(scan, truth=scan.truth + np.int16(4)) for scan in taught]
    with pytest.raises(UserError, match="CT0: the teacher's estimates are of another scan"):
        pack(scans, tmp_path / "data.zip", 50.0, taught=other)
    other = [replace(scan, teacher={2: scan.teacher[2][:-5]}) for scan in taught]
    with pytest.raises(UserError, match="CT0: the teacher's estimate of phase 2 has another size"):
        pack(scans, tmp_path / "data.zip", 50.0, taught=other)
    for scan in scans:
        np.savez(tmp_path / f"{scan.name}.npz", voxels=scan.voxels, spacing=np.array(scan.spacing))
    arguments = [
        str(tmp_path),
        str(tmp_path / "data.zip"),
        "--teacher",
        str(tmp_path / "distilled"),
        "--phases",
    ]
    monkeypatch.setattr(sys, "argv", ["pack", *arguments, "3", "7"])
    with pytest.raises(UserError, match="no phase 7; give --phases of 2, 3, 4, 5, 6"):
        main()
    monkeypatch.setattr(sys, "argv", ["pack", *arguments, "3", "4"])
    main()
    assert "CT1: 60 x " in capsys.readouterr().out
    unpack(tmp_path / "data.zip", tmp_path / "data")
    assert [list(scan.teacher) for scan in open_scans(tmp_path / "data", {}, [])] == [[3, 4], [3, 4]]


def test_a_size_too_small_for_all_scans_is_refused(scans, tmp_path):
    with pytest.raises(UserError, match="allow more --mebibytes or give fewer scans"):
        pack(scans, tmp_path / "data.zip", 0.2)
    assert not (tmp_path / "data.zip").exists()


def test_scans_need_names_of_their_own(scans, tmp_path):
    with pytest.raises(UserError, match="no scan: one scan or more is needed"):
        pack([], tmp_path / "data.zip", 50.0)
    with pytest.raises(UserError, match=r"CT0, CT0: .* each of its own name"):
        pack([scans[0], scans[0]], tmp_path / "data.zip", 50.0)


def test_a_file_without_estimates_of_an_earlier_version_is_read(scans, tmp_path):
    pack(scans, tmp_path / "data.zip", 50.0)
    with zipfile.ZipFile(tmp_path / "data.zip") as file:
        parts = {name: file.read(name) for name in file.namelist()}
    index = json.loads(parts["index.json"])
    for facts in index["scans"]:
        del facts["phases"], facts["factor"]
    with zipfile.ZipFile(tmp_path / "earlier.zip", "w") as file:
        for name, content in {**parts, "index.json": json.dumps(index)}.items():
            file.writestr(name, content)
    unpack(tmp_path / "earlier.zip", tmp_path / "data")
    found = open_scans(tmp_path / "data", {}, [])[0]
    assert np.abs(found.truth.astype(int) - np.rint(scans[0].voxels)).max() <= 2


@pytest.mark.parametrize("index", ["[]", '{"step": 4, "scans": [{"name": "CT0", "phases": 5}]}'])
def test_a_wrong_index_is_refused(tmp_path, index):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as file:
        file.writestr("index.json", index)
        file.writestr("CT0.xz", b"")
    with pytest.raises(UserError, match=r"damaged, or not written by training\.pack"):
        unpack(tmp_path / "data.zip", tmp_path / "data")


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=r"damaged, or not written by training\.pack"):
        unpack(tmp_path / "data.zip", tmp_path / "data")


def test_prepared_and_packed_data_need_no_library_that_reads_scans():
    code = (
        "import sys; sys.modules['SimpleITK'] = sys.modules['pydicom'] = None; "
        "import training.train, training.pack, Testing.gpu.__main__"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
