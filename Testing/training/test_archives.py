"""The downloaded archives: counted, verified by their checksums, unpacked; an interrupted run goes on."""

from __future__ import annotations

import shutil
import zipfile

import pytest

from training.data.cases import find_cases
from training.prepare import main as prepare


@pytest.fixture
def downloads(published, tmp_path):
    """An archive a split, as Zenodo has them."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for split in ("train", "val", "test"):
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for path in sorted((published / split).rglob("*.nii.gz")):
                archive.write(path, f"{split}/{path.relative_to(published / split)}")
    return folder


def refusal(downloads, tmp_path, capfd, *options):
    """The one line that `prepare archives` ends with; no index is left."""
    assert prepare(["archives", str(downloads), str(tmp_path / "out"), "--workers", "1", *options]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "index.json").exists()
    return error


def test_archives_become_a_prepared_data_set(downloads, tmp_path, capfd):
    command = ["archives", str(downloads), str(tmp_path / "out"), "--any-count", "--workers", "1"]
    assert prepare(command) == 0
    layout, cases = find_cases(tmp_path / "out")
    assert (layout, len(cases)) == ("prepared", 5)
    assert not (tmp_path / "out" / "unpacked").exists()
    assert "unpacked 10/10" in capfd.readouterr().out


def test_a_wrong_number_of_cases_is_refused_before_anything_is_unpacked(downloads, tmp_path, capfd):
    error = refusal(downloads, tmp_path, capfd)
    assert "2 1mm files for train, not 100" in error
    assert not (tmp_path / "out").exists()


def test_a_member_with_a_broken_checksum_is_refused(downloads, tmp_path, capfd):
    path = downloads / "val.zip"
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF  # within the stored bytes of the first member
    path.write_bytes(content)
    error = refusal(downloads, tmp_path, capfd, "--any-count")
    assert "val.zip: val/1mm/CT1.nii.gz is damaged" in error
    assert "CRC" in error
    assert not (tmp_path / "out" / "unpacked" / "val" / "1mm" / "CT1.nii.gz").exists()


def test_an_archive_cut_off_by_the_download_is_refused(downloads, tmp_path, capfd):
    path = downloads / "test.zip"
    path.write_bytes(path.read_bytes()[:-100])
    assert "test.zip: damaged or incomplete archive" in refusal(downloads, tmp_path, capfd, "--any-count")


def test_what_was_unpacked_before_is_kept_if_it_is_whole(downloads, tmp_path, capfd):
    command = ["archives", str(downloads), str(tmp_path / "out"), "--any-count", "--keep", "--workers", "1"]
    assert prepare(command) == 0
    unpacked = tmp_path / "out" / "unpacked" / "train" / "5mm"
    whole, broken = unpacked / "CT1.nii.gz", unpacked / "CT2.nii.gz"
    before, stamp = broken.read_bytes(), whole.stat().st_mtime_ns
    broken.write_bytes(before[:-10])
    assert prepare(command) == 0
    assert whole.stat().st_mtime_ns == stamp
    assert broken.read_bytes() == before


def test_too_little_room_is_said_before_anything_is_unpacked_and_counts_what_is_there(
    downloads, tmp_path, monkeypatch, capfd
):
    command = ["archives", str(downloads), str(tmp_path / "out"), "--any-count", "--keep", "--workers", "1"]
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: full)
        assert "GB are needed, 0.0 GB are free" in refusal(downloads, tmp_path, capfd, "--any-count")
        assert not (tmp_path / "out").exists()
    assert prepare(command) == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    assert prepare(command) == 0


def test_a_folder_without_archives_is_refused(tmp_path, capfd):
    assert "no zip archive here" in refusal(tmp_path, tmp_path, capfd)
