"""The worker: its output, and how it stops on request."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import random
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from Testing.command_line import ENVIRONMENT, command, write
from Testing.volumes import some_hu
from ThickToThinSRLib import interpolation as linear
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.worker import reporters as worker
from ThickToThinSRLib.worker.reporters import BarReporter, JsonReporter
from ThickToThinSRLib.worker.watch import Watch

# The worker should end within about 1.2 s; this larger limit detects that it does not end at all.
LIMIT = 15
# A job that sits in one long step of compiled code with a temporary file open, and does not look up.
STUCK = """
import hashlib, pathlib, sys
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.io.replacing import replacing
from ThickToThinSRLib.methods.registry import METHODS, Method

class Stuck(Method):
    def enhance(self, volume, request, monitor):
        with replacing(pathlib.Path(sys.argv[2]), ".nii.gz") as temporary:
            pathlib.Path(sys.argv[3]).touch()
            hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)

METHODS["consistent"] = Stuck("consistent", "", "consistent")
sys.exit(main(["enhance", sys.argv[1], sys.argv[2], "--method", "consistent", *sys.argv[4:]]))
"""


@pytest.fixture
def files(tmp_path):
    source = write(tmp_path / "thick.nii.gz", some_hu((10, 32, 32)))
    (tmp_path / "out").mkdir()
    return source, tmp_path / "out" / "thin.nii.gz"


def wait_for(condition, what: str) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < LIMIT, what
        time.sleep(0.02)


def start(arguments, **options) -> subprocess.Popen:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT, **options}
    return subprocess.Popen(arguments, **options)


def start_stuck(files, *arguments, **options) -> subprocess.Popen:
    """A worker that has reached its long step."""
    source, target = files
    ready = target.parent.parent / "ready"
    process = start(
        [sys.executable, "-c", STUCK, str(source), str(target), str(ready), *arguments], **options
    )
    wait_for(lambda: ready.exists() or process.poll() is not None, "it did not begin")
    assert any(entry.name.startswith(".thicktothin-") for entry in target.parent.iterdir())
    return process


# ---- its output --------------------------------------------------------------------------------


def events_of(capfd, *arguments) -> list[dict]:
    assert main([str(argument) for argument in arguments]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("method", ["consistent", "interpolation"])
def test_it_reports_progress_in_order_and_then_the_result(capfd, monkeypatch, files, method):
    source, target = files
    # One row of voxels at a time.
    monkeypatch.setattr(linear, "_SLAB_BYTES", 4)
    *progress, result = events_of(capfd, "enhance", source, target, "--method", method, "--progress", "json")
    assert {event["version"] for event in [*progress, result]} == {1}
    assert {event["event"] for event in progress} == {"progress"}
    assert all(event.keys() == progress[0].keys() for event in progress)
    assert len({event["stage"] for event in progress}) == 1
    assert [event["done"] for event in progress] == list(range(1, 33))
    assert {event["total"] for event in progress} == {32}
    assert progress[0]["seconds_left"] is None
    assert all(event["seconds_left"] >= 0 for event in progress[1:])
    assert progress[-1]["seconds_left"] == 0
    assert result.pop("event") == "result"
    del result["version"]
    assert result["output"] == str(target)
    assert result == json.loads((target.parent / "thin.nii.gz.provenance.json").read_text())


def test_the_time_left_follows_the_rate_of_each_stage(capfd, monkeypatch):
    clock = iter([100.0, 110.0, 120.0, 200.0, 201.0])
    monkeypatch.setattr(worker.time, "monotonic", lambda: next(clock))
    reporter = JsonReporter()
    for stage, done in (("network", 1), ("network", 2), ("network", 3), ("resampling", 1), ("resampling", 4)):
        reporter.progress(stage, done, 6)
    seconds = [json.loads(line)["seconds_left"] for line in capfd.readouterr().out.splitlines()]
    assert seconds == [None, 40.0, 30.0, None, 0.7]


def test_names_in_any_script_arrive_as_plain_json(tmp_path, capfd):
    source = write(tmp_path / "胸部  ü\nx.nii.gz")
    target = tmp_path / "größer.nii.gz"
    result = events_of(capfd, "enhance", source, target, "--progress", "json")[-1]
    assert (result["input"], result["output"]) == (str(source), str(target))


def test_a_log_file_gets_a_line_a_stage_and_no_bar(capfd, monkeypatch, files):
    monkeypatch.setattr(linear, "_SLAB_BYTES", 4)
    assert main(["enhance", *map(str, files), "--method", "consistent"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "\r" not in out
    assert out.count("consistent interpolation ...\n") == 1
    assert len(out.splitlines()) == 5


def test_a_terminal_gets_a_bar_and_the_lines_stay_readable(capfd, monkeypatch):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        reporter = BarReporter()
        for done in range(1, 5):
            reporter.progress("network", done, 4)
        reporter.say("written: thin.nii.gz")
        reporter.say("warning: an MR volume?")
        shown = ""
        while "volume?" not in shown:
            shown += os.read(master, 100_000).decode()
    os.close(master)
    assert "network:" in shown
    assert " left" in shown
    assert "warning: an MR volume?" in shown
    assert capfd.readouterr().out == "written: thin.nii.gz\n"


# ---- how it stops --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_job(tmp_path_factory):
    """The input of a job that takes some seconds, and its duration on this machine."""
    folder = tmp_path_factory.mktemp("long")
    source = write(folder / "thick.nii.gz", some_hu((16, 160, 160)))
    started = time.monotonic()
    assert subprocess.run(command("enhance", source, folder / "thin.nii.gz"), env=ENVIRONMENT).returncode == 0
    return source, time.monotonic() - started


@pytest.mark.parametrize("way", ["file", "file, early", "SIGTERM", "SIGINT", "SIGHUP"])
def test_cancelled_at_any_moment_it_leaves_nothing_or_all(tmp_path, long_job, way):
    source, duration = long_job
    chance = random.Random(way)
    for share in {"file, early": [0.0]}.get(way, [chance.uniform(0.3, 0.6), chance.uniform(0.6, 1.0)]):
        folder = tmp_path / f"{share}"
        folder.mkdir()
        target, cancel = folder / "thin.nii.gz", tmp_path / f"{share}.cancel"
        arguments = command("enhance", source, target, "--progress", "json", "--cancel-file", cancel)
        process = start(arguments)
        time.sleep(share * duration)
        if way.startswith("file"):
            cancel.touch()
        else:
            process.send_signal(getattr(signal, way))
        out, err = process.communicate(timeout=LIMIT)
        events = [json.loads(line) for line in out.decode().splitlines()]
        assert b"Traceback" not in err
        if process.returncode == 0:
            assert events[-1]["event"] == "result"
            assert {entry.name for entry in folder.iterdir()} == {
                target.name,
                f"{target.name}.provenance.json",
            }
            continue
        assert process.returncode == 3, err
        assert list(folder.iterdir()) == []
        assert not any(event["event"] == "result" for event in events)


def test_a_job_that_is_cancelled_before_it_starts_does_nothing(files, tmp_path):
    source, target = files
    (tmp_path / "cancel").touch()
    assert main(["enhance", str(source), str(target), "--cancel-file", str(tmp_path / "cancel")]) == 3
    assert list(target.parent.iterdir()) == []


def test_a_cancelled_job_says_so_to_people_and_programs(capfd, files, tmp_path):
    (tmp_path / "cancel").touch()
    arguments = ["enhance", *map(str, files), "--cancel-file", str(tmp_path / "cancel")]
    main(arguments)
    assert capfd.readouterr().err == "thicktothin: cancelled; nothing was written\n"
    main([*arguments, "--progress", "json"])
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (event["event"], event["message"]) == ("error", "cancelled; nothing was written")


@pytest.mark.parametrize("way", ["file", "SIGTERM", "SIGINT", "SIGHUP"])
def test_stuck_in_one_long_step_it_is_ended_and_its_temporary_files_removed(files, tmp_path, way):
    process = start_stuck(files, "--cancel-file", str(tmp_path / "cancel"))
    if way == "file":
        (tmp_path / "cancel").touch()
    else:
        process.send_signal(getattr(signal, way))
    process.communicate(timeout=LIMIT)
    assert process.returncode == 3
    assert list(files[1].parent.iterdir()) == []


def test_it_does_not_outlive_the_process_that_started_it(files, tmp_path):
    source, target = files
    arguments = [sys.executable, "-c", STUCK, str(source), str(target), str(tmp_path / "ready")]
    parent = f"""
import subprocess, time
quiet = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
print(subprocess.Popen({[*arguments, "--progress", "json"]!r}, **quiet).pid, flush=True)
time.sleep(60)
"""
    process = start([sys.executable, "-c", parent])
    pid = int(process.stdout.readline())
    try:
        wait_for((tmp_path / "ready").exists, "it did not begin")
        time.sleep(0.3)
        assert is_running(pid)
        process.kill()
        process.communicate()
        wait_for(lambda: not is_running(pid), "it outlived its parent")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert list(target.parent.iterdir()) == []


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@pytest.mark.parametrize("progress", ["json", "bar"])
def test_a_reader_that_went_away_ends_it_quietly(files, progress):
    source, target = files
    process = start(command("enhance", source, target, "--progress", progress))
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=LIMIT) == 3
    process.stderr.close()
    assert err == b""
    assert list(target.parent.iterdir()) == []


def test_a_signal_that_the_caller_has_ignored_stays_ignored(tmp_path, long_job):
    target = tmp_path / "thin.nii.gz"

    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start(command("enhance", long_job[0], target), preexec_fn=ignore)
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    process.communicate()
    assert process.returncode == 0
    assert target.exists()


@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_while_the_program_loads_is_heeded_and_one_at_its_end_changes_nothing(way):
    loading = f"""
import os, signal, sys, time
from ThickToThinSRLib import __main__
class Loading:
    def __getattr__(self, name):
        os.kill(os.getpid(), signal.{way})
        time.sleep(10)
sys.modules["ThickToThinSRLib.cli.main"] = Loading()
__main__.run()
"""
    ending = f"""
import atexit, os, signal, sys
from ThickToThinSRLib import __main__
atexit.register(os.kill, os.getpid(), signal.{way})
sys.argv[1:] = ["--version"]
__main__.run()
"""
    said = b"thicktothin: cancelled; nothing was written\n"
    for script, code, line in ((loading, 3, said), (ending, 0, b"")):
        process = start([sys.executable, "-c", script])
        assert process.communicate(timeout=LIMIT)[1] == line
        assert process.returncode == code


def test_cancelling_after_the_end_is_harmless(files, tmp_path):
    former = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    arguments = ["--progress", "json", "--cancel-file", str(tmp_path / "cancel")]
    assert main(["enhance", *map(str, files), *arguments]) == 0
    (tmp_path / "cancel").touch()
    # Were the watch still looking, it would end this very process.
    time.sleep(1.5)
    assert files[1].exists()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == former


def test_the_watch_tells_the_work_and_lets_it_end_by_itself(tmp_path):
    with Watch(tmp_path / "cancel") as watch:
        assert not watch.cancelled()
        (tmp_path / "cancel").touch()
        wait_for(watch.cancelled, "it did not notice")
    with Watch() as watch:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(watch.cancelled, "it did not notice")


def test_a_cancel_file_in_no_folder_is_never_there(files):
    assert main(["enhance", *map(str, files), "--cancel-file", str(files[0] / "x")]) == 0
    assert np.isfinite(files[1].stat().st_size)
