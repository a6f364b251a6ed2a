"""A batch that is stopped or killed leaves nothing behind, tells the truth, and goes on if started again."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from Testing.command_line import ENVIRONMENT, command, run, write
from Testing.volumes import some_hu
from ThickToThinSRLib.io import temporary
from ThickToThinSRLib.io.temporary import sweep

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
# More of them take longer and show more: THICKTOTHIN_MOMENTS=20.
MOMENTS = int(os.environ.get("THICKTOTHIN_MOMENTS", "2"))
THICK, THIN = 4, 1
LAST_LINE = re.compile(
    r"thicktothin: cancelled: (\d+) done, (\d+) already there, (\d+) skipped, (\d+) failed, (\d+) left; .*"
)
# Seconds after which something hangs; a busy machine is slow.
LIMIT = 240


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Some thick volumes and one that is thin already."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(THICK):
        write(folder / f"{number}.nrrd", some_hu((5, 6, 7), seed=number))
    write(folder / "thin.nrrd", some_hu((5, 6, 7)), spacing=(0.7, 0.8, 1.0))
    return folder


@pytest.fixture(scope="module")
def duration(source, tmp_path_factory) -> float:
    """Seconds that all of it takes here."""
    started = time.monotonic()
    assert start(source, tmp_path_factory.mktemp("all")).wait(timeout=2 * LIMIT) == 0
    return time.monotonic() - started


def start(source: Path, folder: Path) -> subprocess.Popen:
    """A batch with a place of its own for temporary files, at the moment at which it heeds signals."""
    place = folder / "temporary"
    place.mkdir(exist_ok=True)
    process = subprocess.Popen(
        command("enhance-many", source, folder / "out", "--method", "interpolation"),
        env={**ENVIRONMENT, "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + LIMIT
    while not _heeds(process.pid, signal.SIGHUP) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    return process


def _heeds(pid: int, number: int) -> bool:
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def running_for(source: Path) -> list[int]:
    """Processes that name `source` among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(source) in path.read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def results(folder: Path) -> dict[str, tuple[int, int]]:
    """What marks each finished result."""
    found = {}
    for path in (folder / "out").glob("*.nrrd"):
        assert path.with_name(f"{path.name}.provenance.json").is_file()
        found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def leftovers(folder: Path) -> list[str]:
    hidden = [path.name for path in folder.rglob(".thicktothin-*")]
    return hidden + [path.name for path in (folder / "temporary").iterdir()]


@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_stopped_at_any_moment_it_leaves_nothing_and_tells_the_truth(way, source, duration, tmp_path):
    chance = random.Random(way)
    for number in range(MOMENTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(source, folder)
        time.sleep(chance.uniform(0, 0.95 * duration))
        process.send_signal(getattr(signal, way))
        _, err = process.communicate(timeout=LIMIT)
        assert running_for(source) == []  # the worker ended first
        assert leftovers(folder) == []
        made = results(folder)
        if process.returncode == 0:
            assert len(made) == THICK
            continue
        assert process.returncode == 3, err
        last = err.splitlines()[-1]
        found = LAST_LINE.fullmatch(last)
        if found is None:
            assert (last, made) == ("thicktothin: cancelled; nothing was written", {})
            continue
        done, there, skipped, failed, left = map(int, found.groups())
        assert (done, there, failed) == (len(made), 0, 0), err
        assert done + skipped + left == THICK + THIN


def test_killed_and_started_again_it_sweeps_and_keeps_what_is_finished(source, duration, tmp_path):
    chance = random.Random(0)
    for number in range(MOMENTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(source, folder)
        time.sleep(chance.uniform(0.2, 0.95) * duration)
        for pid in running_for(source):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=LIMIT)
        before = results(folder)
        process = start(source, folder)
        out, err = process.communicate(timeout=2 * LIMIT)
        assert (process.returncode, err) == (0, "")
        assert leftovers(folder) == []
        after = results(folder)
        assert len(after) == THICK
        assert {name: after[name] for name in before} == before
        assert f"{len(before)} already there" in out.splitlines()[-1]


def test_a_worker_that_is_killed_is_a_failure_and_leaves_nothing(source, tmp_path):
    process = start(source, tmp_path)
    end = time.monotonic() + LIMIT
    while not (workers := [pid for pid in running_for(source) if pid != process.pid]):
        assert time.monotonic() < end
    os.kill(workers[0], signal.SIGKILL)
    out, err = process.communicate(timeout=2 * LIMIT)
    assert process.returncode == 2
    assert "0.nrrd: failed: the worker was ended from outside" in err
    assert out.splitlines()[-1] == f"{THICK - 1} done, 0 already there, 1 skipped, 1 failed, 0 left"
    assert leftovers(tmp_path) == []


def test_stuck_in_one_step_it_ends_its_worker_and_says_so(source, tmp_path):
    stuck = f"""
import hashlib, sys
from ThickToThinSRLib.cli import main
from ThickToThinSRLib.worker.reporters import BarReporter
def hold(self, stage, done, total):
    hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)
BarReporter.progress = hold
print("ready", flush=True)
sys.exit(main.main(["enhance-many", {str(source)!r}, {str(tmp_path / "out")!r}, "--method", "interpolation"]))
"""
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", stuck],
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    end = time.monotonic() + LIMIT
    while not any((tmp_path / "temporary").iterdir()):
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 3
    assert LAST_LINE.fullmatch(err.splitlines()[-1])
    assert list((tmp_path / "temporary").iterdir()) == []
    assert [pid for pid in running_for(source) if pid != os.getpid()] == []


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_what_dead_processes_of_this_machine_left_is_swept(tmp_path):
    machine, dead = temporary._machine(), dead_process()
    swept = [
        f".thicktothin-{machine}-{dead}-01234567.nii.gz",
        f"thicktothin-{machine}-{dead}-01234567",
        f".thicktothin-{machine}-{os.getpid()}-01234567.nrrd",  # not ours: an earlier one of our number
    ]
    kept = [
        f".thicktothin-{machine}-{os.getppid()}-01234567.nii.gz",
        f".thicktothin-00000000-{dead}-01234567.nii.gz",
        ".thicktothin-left-by-somebody.nii.gz",
        "thicktothin-results.nii.gz",
    ]
    for name in swept + kept:
        (tmp_path / name).touch()
    (tmp_path / swept[1]).unlink()
    (tmp_path / swept[1] / "inner").mkdir(parents=True)
    ours = temporary.new_file(tmp_path, ".nrrd")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, ours.name])
    temporary.remove(ours)


@pytest.mark.parametrize("make", [lambda folder: temporary.new_file(folder, ".nrrd"), temporary.new_folder])
def test_what_another_container_left_is_swept_when_it_is_a_day_old_and_nobody_holds_it(
    tmp_path, monkeypatch, make
):
    own = temporary._machine()
    with monkeypatch.context() as other:
        other.setattr(temporary, "_machine", lambda: "00000000")
        path = make(tmp_path)
    later = time.time() + 23 * 3600
    for hours, held, kept in ((0, True, True), (2, True, True), (0, False, True), (2, False, False)):
        monkeypatch.setattr(temporary.time, "time", lambda hours=hours: later + hours * 3600)
        if not held and temporary._registered[path] is not None:  # the other process is killed
            os.close(temporary._registered[path])
            temporary._registered[path] = None
        sweep(tmp_path)
        assert temporary._machine() == own
        assert path.exists() == kept, (hours, held)
    temporary.remove(path)


def test_a_folder_that_a_killed_container_was_replacing_gets_its_name_back_after_a_day(tmp_path, monkeypatch):
    old = tmp_path / ".thicktothin-00000000-7-01234567.old-ct"
    old.mkdir()
    os.utime(old, (0, 0))  # an old result: only when it was renamed counts
    sweep(tmp_path)
    assert old.is_dir()
    later = time.time() + 25 * 3600
    monkeypatch.setattr(temporary.time, "time", lambda: later)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_enhance_sweeps_beside_its_result(tmp_path):
    name = f".thicktothin-{temporary._machine()}-{dead_process()}-01234567.nii.gz"
    (tmp_path / name).touch()
    source = write(tmp_path / "a.nrrd", some_hu((5, 6, 7)))
    assert run("enhance", source, tmp_path / "b.nrrd", "--method", "interpolation").returncode == 0
    assert not (tmp_path / name).exists()


def test_a_folder_that_was_just_being_replaced_gets_its_name_back(tmp_path):
    stem = f".thicktothin-{temporary._machine()}-{dead_process()}-01234567"
    for name, text in ((stem, "new"), (f"{stem}.old-ct", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0001.dcm").write_text(text)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]
    assert (tmp_path / "ct" / "0001.dcm").read_text() == "old"
    (tmp_path / f"{stem}.old-ct").mkdir()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


# ---- what is thin already, and linked folders -------------------------------------------------------------


def many(source: Path, target: Path, *options) -> subprocess.CompletedProcess:
    return run("enhance-many", source, target, "--method", "interpolation", *options)


@pytest.fixture
def thin(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    for number, spacing in enumerate((1.0, 0.6)):
        write(tmp_path / "in" / f"{number}.nrrd", some_hu((5, 6, 7)), spacing=(0.7, 0.8, spacing))
    return tmp_path / "in"


@pytest.mark.parametrize("options", [(), ("--spacing", "1")])
def test_what_is_thin_already_is_skipped_with_the_reason(thin, tmp_path, options):
    done = many(thin, tmp_path / "out", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.nrrd: skipped: the input already has slices every 1 mm" in done.stdout
    assert "1.nrrd: skipped: " in done.stdout
    assert done.stdout.endswith("0 done, 0 already there, 2 skipped, 0 failed, 0 left\n")


def test_one_scan_is_enhanced_at_its_own_spacing_if_asked(thin, tmp_path):
    options = ("--method", "consistent", "--spacing", "1")
    done = run("enhance", thin / "0.nrrd", tmp_path / "one.nrrd", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "one.nrrd").is_file()
    dry = many(thin, tmp_path / "out", "--spacing", "1", "--dry-run").stdout
    assert "cannot be enhanced: the input already has slices every 1 mm" in dry


def test_what_is_thin_already_can_be_copied_or_fail(thin, tmp_path):
    for state in ("2 done, 0 already there", "0 done, 2 already there"):
        done = many(thin, tmp_path / "out", "--already-thin", "copy")
        assert (done.returncode, done.stderr) == (0, "")
        assert state in done.stdout
    assert (tmp_path / "out" / "0.nrrd").read_bytes() == (thin / "0.nrrd").read_bytes()
    done = many(thin, tmp_path / "other", "--already-thin", "fail")
    assert done.returncode == 2
    assert "2 of 2 failed" in done.stderr


def test_linked_folders_are_followed_once(tmp_path):
    source, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    for folder in (source / "a", elsewhere):
        folder.mkdir(parents=True)
        write(folder / "ct.nrrd", some_hu((5, 6, 7)))
    for name, where in (("again", source / "a"), ("linked", elsewhere), ("up", tmp_path), ("gone", "none")):
        (source / name).symlink_to(where)
    done = many(source, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 broken link (gone)" in done.stdout
    names = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.nrrd")
    )
    assert names == ["a/ct.nrrd", "linked/ct.nrrd"]
