"""Running the worker: its protocol, errors and cancellation."""

from __future__ import annotations

import json
import sys
import textwrap
import time

import pytest

from Testing.volumes import ct_voxels
from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.worker.process import WorkerFailed, WorkerProcess, run


@pytest.fixture
def files(tmp_path):
    """Input, output and the caller's folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    source = folder / "thick.nrrd"
    write_volume(Volume(ct_voxels(), (0.8, 0.7, 5.0)), source)
    return source, folder / "thin.nrrd", folder


def worker_for(files, source_name="", **options) -> WorkerProcess:
    """A worker that enhances the files with these settings."""
    source, target, folder = files
    arguments = ["enhance", str(source), str(target), *Settings(**options).as_arguments()]
    return WorkerProcess(sys.executable, arguments, folder, source=str(source), source_name=source_name)


def line(**event) -> bytes:
    return json.dumps({"version": 1, **event}).encode() + b"\n"


def pretending(files, program: str) -> WorkerProcess:
    """A worker process that runs `program` instead of the command line."""
    worker = worker_for(files)
    worker.command = [sys.executable, "-c", textwrap.dedent(program), str(files[2] / "cancel")]
    return worker


def test_a_run_gives_the_report_the_progress_and_the_file(files):
    events = []
    worker = worker_for(files, method="interpolation", spacing=1.0, thickness=None)
    assert "--thickness" not in worker.command
    report = run(worker, events.append)
    assert report["method"] == "interpolation"
    assert read_volume(files[1]).voxels.shape == (31, 10, 11)
    assert events[-1]["done"] == events[-1]["total"]
    assert {event["event"] for event in events} == {"progress"}


def test_the_library_is_found_from_any_folder_and_what_was_on_the_path_stays(files, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    worker = worker_for(files, spacing=1.0, method="consistent")
    assert worker.environment["PYTHONPATH"].endswith(":/somewhere/else")
    assert run(worker)["method"] == "consistent"


def test_events_are_read_whole_however_the_bytes_arrive(files):
    worker = worker_for(files)
    stream = line(event="progress", stage="réseau", done=1, total=3) + line(event="result", method="x")
    events = [event for byte in stream for event in worker.feed_output(bytes([byte]))]
    assert [event["event"] for event in events] == ["progress", "result"]
    assert events[0]["stage"] == "réseau"
    assert worker.outcome(0)["method"] == "x"


def test_a_last_line_without_its_end_counts(files):
    worker = worker_for(files)
    worker.feed_output(line(event="result", method="x").rstrip())
    assert worker.outcome(0)["method"] == "x"


def test_noise_on_standard_output_is_no_event_but_is_kept(files):
    worker = worker_for(files)
    noise = b"OMP: info\n[1, 2]\n\n{broken\n42\n\xff\xfe\n"
    assert worker.feed_output(noise + line(event="progress", stage="s", done=1, total=1))[0]["stage"] == "s"
    with pytest.raises(WorkerFailed) as caught:
        worker.outcome(1)
    assert caught.value.last_words[:2] == ["OMP: info", "[1, 2]"]


def test_a_worker_of_another_protocol_is_not_believed(files):
    worker = worker_for(files)
    assert worker.feed_output(b'{"version": 2, "event": "result", "method": "x"}\n') == []
    with pytest.raises(WorkerFailed, match=r"version 2 of the protocol, not 1.*install the extension again"):
        worker.outcome(0)


def test_only_the_last_lines_of_standard_error_are_kept(files):
    worker = worker_for(files)
    worker.feed_errors(b"".join(b"line %d\n" % number for number in range(100)) + b"the end")
    with pytest.raises(WorkerFailed) as caught:
        worker.outcome(None)
    assert caught.value.last_words[-2:] == ["line 99", "the end"]
    assert len(caught.value.last_words) == 20
    assert str(caught.value).endswith("the end")


def test_bad_input_is_reported_by_the_name_that_the_user_knows(files):
    files[0].write_text("no volume")
    with pytest.raises(UserError) as caught:
        run(worker_for(files, source_name="chest"))
    assert str(caught.value).startswith("chest: ")
    assert "\n" not in str(caught.value)
    assert not files[1].exists()


def test_an_unexpected_error_comes_with_its_traceback(files):
    program = """
        import json
        print(json.dumps({"version": 1, "event": "error", "message": "unexpected KeyError: 'x'"}))
        raise KeyError("x")
        """
    with pytest.raises(WorkerFailed) as caught:
        run(pretending(files, program))
    assert caught.value.summary == "unexpected KeyError: 'x'"
    assert caught.value.last_words[-1] == "KeyError: 'x'"


def test_a_worker_that_ends_without_a_result_has_failed(files):
    with pytest.raises(WorkerFailed, match="ended without a result \\(exit code 0\\)"):
        run(pretending(files, "pass"))


def test_cancel_ends_the_work_within_two_seconds_and_writes_nothing(files):
    write_volume(Volume(ct_voxels((40, 150, 150)), (0.8, 0.7, 5.0)), files[0], compress=False)
    calls = []

    def cancelled():
        calls.append(time.monotonic())
        return len(calls) > 8

    with pytest.raises(Cancelled):
        run(worker_for(files, spacing=0.25), cancelled=cancelled)
    assert sorted(path.name for path in files[2].iterdir()) == ["cancel", "thick.nrrd"]


def test_a_result_that_arrives_after_cancel_does_not_count(files):
    worker = worker_for(files)
    worker.cancel()
    worker.feed_output(line(event="result", method="x"))
    with pytest.raises(Cancelled):
        worker.outcome(0)


def test_a_worker_deaf_to_the_cancel_file_and_to_sigterm_is_killed(files):
    program = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        time.sleep(60)
        """
    with pytest.raises(Cancelled):
        run(pretending(files, program), cancelled=lambda: True)


def test_escalation_asks_first_and_kills_later(files, monkeypatch):
    now, done = [0.0], []

    class Process:
        def terminate(self):
            done.append("terminate")

        def kill(self):
            done.append("kill")

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    worker = worker_for(files)
    worker.escalate(Process())
    worker.cancel()
    for now[0] in (0.5, 1.6, 2.0):
        worker.escalate(Process())
    assert done == ["terminate", "kill"]


def test_an_error_in_the_callers_progress_ends_the_worker(files):
    program = """
        import time
        print('{"version": 1, "event": "progress", "stage": "s", "done": 1, "total": 2}', flush=True)
        time.sleep(60)
        """

    def progress(event):
        raise ZeroDivisionError

    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        run(pretending(files, program), progress)
    assert time.monotonic() - started < 50


def test_options_that_an_error_names_can_be_named_in_the_callers_words(files):
    with pytest.raises(UserError) as caught:
        run(worker_for(files, "chest", method="consistent", minutes=1.0))
    assert caught.value.worded(str.upper).startswith("method consistent has no MINUTES")
    assert "--" not in str(caught.value)
