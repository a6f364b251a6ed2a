"""The benchmark of whole runs: processes, the files of an older commit, and how results are compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from Testing.benchmarks import volumes
from Testing.benchmarks.processes import Use, files_of, use_of
from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.volume import Volume


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository whose package says 1 in its first commit, and 2 now."""
    folder = tmp_path / "repository"
    (folder / "ThickToThinSRLib").mkdir(parents=True)
    code = folder / "ThickToThinSRLib" / "__init__.py"

    def git(*arguments):
        named = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *named, "-C", str(folder), *arguments], check=True, capture_output=True)

    git("init")
    for number in (1, 2):
        code.write_text(f"NUMBER = {number}\n")
        git("add", ".")
        git("commit", "-m", str(number))
    return folder


def test_an_older_commit_runs_with_its_own_code_and_leaves_nothing(repository, tmp_path):
    command = [
        "-c",
        f"import ThickToThinSRLib as t; open({str(tmp_path / 'said')!r}, 'a').write(str(t.NUMBER))",
    ]
    with files_of("HEAD~1", repository) as folder:
        use_of(command, folder)
        use_of(command, repository)
        kept = folder
    assert (tmp_path / "said").read_text() == "12"
    assert not kept.exists()
    worktrees = subprocess.run(["git", "-C", repository, "worktree", "list"], capture_output=True, text=True)
    assert len(worktrees.stdout.splitlines()) == 1
    with pytest.raises(UserError, match="nothing: no commit"), files_of("nothing", repository):
        pass
    with pytest.raises(ZeroDivisionError), files_of("HEAD", repository) as kept:
        raise ZeroDivisionError
    assert not kept.exists()


def test_a_process_is_measured_and_a_failure_is_named(tmp_path):
    use = use_of(["-c", "import time; x = b'1' * (80 << 20); time.sleep(0.5)"], tmp_path)
    assert use.seconds > 0.5
    assert use.processor < use.seconds
    assert use.peak > 80
    held = bytearray(300 << 20)  # memory of this process is not counted
    assert use_of(["-c", "pass"], tmp_path).peak < 80
    assert len(held)
    with pytest.raises(UserError, match="failed in"):
        use_of(["-c", "raise SystemExit(3)"], tmp_path)


def test_results_are_compared_in_hu_and_times_as_ratios(tmp_path):
    voxels = np.zeros((4, 8, 8), np.int16)
    for name, change in (("one", 0), ("other", 6)):
        changed = voxels.copy()
        changed[1, :2] -= change
        write_volume(Volume(changed, (1.0, 1.0, 2.0)), tmp_path / f"{name}.nrrd")
    write_volume(Volume(voxels[:3], (1.0, 1.0, 2.0)), tmp_path / "short.nrrd")
    uses = Use(2.0, 4.0, 100.0), Use(5.0, 6.0, 100.0)
    told = volumes.compared(*uses, tmp_path / "one.nrrd", tmp_path / "other.nrrd")
    assert told.startswith("2.50 times as long (1.50 times the processor seconds); ")
    assert told.endswith("differ by 0.375 HU on average, 6 at most")
    assert "another size" in volumes.compared(*uses, tmp_path / "one.nrrd", tmp_path / "short.nrrd")


def test_half_a_scan_is_its_middle_along_the_slices():
    voxels = np.arange(10, dtype=np.int16)[None, None, :] + np.zeros((12, 12, 1), np.int16)
    half = volumes.middle_half(Volume(voxels, (5.0, 0.8, 0.8)))
    assert half.voxels.shape == (12, 12, 5)
    assert half.voxels[0, 0].tolist() == [2, 3, 4, 5, 6]


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="not a clone of the repository")
def test_a_small_run_prints_a_line_a_method_and_one_for_the_older_commit(tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    scan = Volume(generator.normal(0, 50, (8, 24, 24)).astype(np.int16), (0.8, 0.8, 5.0))
    write_volume(scan, tmp_path / "scan.nrrd")
    arguments = ["--scan", str(tmp_path / "scan.nrrd"), "--methods", "interpolation", "consistent"]
    monkeypatch.setattr(sys, "argv", ["volumes", *arguments, "--against", "HEAD"])
    volumes.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == 2 * ["interpolation", "HEAD:", "consistent", "HEAD:"]
    assert "24 x 24 x 4" in lines[1] and "24 x 24 x 8" in lines[5]
    assert all("times as long" in line and "HU on average" in line for line in lines[2::2])
