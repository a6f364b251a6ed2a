"""What goes wrong in a process that reads crops ends the training as it would without one."""

from __future__ import annotations

import shutil

import pytest

from .runs import train

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_damaged_case_read_by_a_process_of_its_own_is_named_in_one_line(prepared, tmp_path, capfd):
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    for path in (data / "train").glob("*.thick.npy"):
        path.write_bytes(path.read_bytes()[:300])
    capfd.readouterr()
    assert train("mpunet", data, tmp_path / "run", "steps=3", "workers=1") == 2
    lines = capfd.readouterr().err.replace("\r", "\n").splitlines()
    lines = [line for line in lines if line.strip() and "step/s" not in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith("training: case CT")
    assert ".thick.npy: missing or damaged array" in lines[0]
    assert lines[0].endswith("prepare the data again")
