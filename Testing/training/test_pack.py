"""Packed scans: small, as good as unchanged, and read by the recipes of bundled weights."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.errors import UserError
from training.bundled.recipes import RECIPES
from training.bundled.scans import Scan
from training.pack import pack, unpack


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
        assert facts["largest"] == 2
        assert 0.3 < facts["mean"] < 1.2
    whole = pack(scans, tmp_path / "fine.zip", 50.0, step=1)
    assert whole[0]["largest"] == 0
    assert np.prod(whole[0]["shape"]) > np.prod(index[0]["shape"])


def test_recipes_read_what_unpack_writes(scans, tmp_path):
    pack(scans, tmp_path / "data.zip", 50.0)
    assert unpack(tmp_path / "data.zip", tmp_path / "data") == ["CT0", "CT1"]
    for name, key in (("universal", "channels"), ("tvsrn_warm", "thin")):
        source = RECIPES[name].source(tmp_path / "data", [])
        assert source.names == ["CT0", "CT1"]
        batch = source.batch(np.random.default_rng(0), 0, False)
        assert np.isfinite(batch[key].numpy()).all()


def test_a_size_too_small_for_all_scans_is_refused(scans, tmp_path):
    with pytest.raises(UserError, match="allow more --mebibytes or give fewer scans"):
        pack(scans, tmp_path / "data.zip", 0.2)
    assert not (tmp_path / "data.zip").exists()


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
