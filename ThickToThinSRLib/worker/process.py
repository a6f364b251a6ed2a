"""Running the worker from another program: its command, its output, its cancellation.

:class:`WorkerProcess` handles the protocol of one run but does not start a process, so that a program can
start it in its own way (Slicer: ``qt.QProcess``); :func:`run` starts it by ``subprocess`` and waits. The
caller creates and removes the folder for temporary files.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..errors import AlreadyThin, Cancelled, UserError
from .protocol import EXIT_BAD_INPUT, EXIT_CANCELLED, EXIT_DONE, PROTOCOL_VERSION

# The worker ends by itself within 1.2 s of the cancel file; after that it is terminated, then killed.
_TERMINATE_SECONDS, _KILL_SECONDS = 1.5, 1.8
# One that has a worker of its own ends that first.
_SECONDS_FOR_WORKERS = 3.0
_KEPT_LINES = 20
# What this process has started and what still runs.
_running: set[subprocess.Popen] = set()


class WorkerFailed(Exception):
    """The worker ended without a result, for a reason other than its input and options.

    Attributes
    ----------
    summary : str
        One line: what happened and what may help.
    last_words : list of str
        The last lines that the worker wrote, without the events of the protocol.
    """

    def __init__(self, summary: str, last_words: list[str]):
        super().__init__("\n".join([summary, *last_words]))
        self.summary, self.last_words = summary, last_words


class WorkerProcess:
    """One command of the command line in a process of its own.

    Parameters
    ----------
    python : path
        Python executable that has the library's dependencies.
    arguments : list of str
        Command and options of the command line; the command must have the option ``--cancel-file``.
    folder : path
        Existing folder for the cancel file, created by the caller; use it as the working folder.
    source, source_name : str, optional
        The input in `arguments`, and the user's name for it, which replaces `source` in messages.

    Attributes
    ----------
    command : list of str
        Program and arguments to launch.
    environment : dict
        Environment variables to set in addition to those of the calling process.
    """

    def __init__(
        self,
        python: str | Path,
        arguments: list[str],
        folder: str | Path,
        *,
        source: str = "",
        source_name: str = "",
    ):
        self.folder = Path(folder)
        self._source, self._source_name = source, source_name or source
        self._cancel_file = self.folder / "cancel"
        self.command = [str(python), "-m", "ThickToThinSRLib", *arguments]
        self.command += ["--progress", "json", "--cancel-file", str(self._cancel_file)]
        # The library may not be installed: let the worker import the caller's copy.
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
        self.environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self._output, self._errors = _Lines(), _Lines()
        self._last_words: deque[str] = deque(maxlen=_KEPT_LINES)
        self._result: dict | None = None
        self._error: UserError | None = None
        self._foreign_version = None
        self._cancelled_at: float | None = None
        self._patience = _SECONDS_FOR_WORKERS if arguments[:1] == ["enhance-many"] else 0.0

    def feed_output(self, data: bytes) -> list[dict]:
        """Take bytes of standard output as they arrive; returns the events that are now complete."""
        events = []
        for line in self._output.split(data):
            event = self._event(line)
            if event is not None:
                events.append(event)
        return events

    def feed_errors(self, data: bytes) -> None:
        """Take bytes of standard error as they arrive."""
        self._last_words.extend(filter(None, self._errors.split(data)))

    def cancel(self) -> None:
        """Ask the worker to stop; a result that still arrives is ignored."""
        if self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
            with contextlib.suppress(OSError):
                self._cancel_file.touch()

    def escalate(self, process) -> None:
        """End a worker that did not stop after :meth:`cancel`; call this about every 0.1 s while it runs.

        Parameters
        ----------
        process
            Anything with ``terminate()`` and ``kill()``: ``subprocess.Popen``, ``qt.QProcess``.
        """
        if self._cancelled_at is None:
            return
        waited = time.monotonic() - self._cancelled_at - self._patience
        if waited > _KILL_SECONDS:
            process.kill()
        elif waited > _TERMINATE_SECONDS:
            process.terminate()

    def outcome(self, exit_code: int | None) -> dict:
        """The report of a worker that has ended: its ``result`` event.

        Parameters
        ----------
        exit_code : int or None
            None or negative if it was killed or crashed.

        Raises
        ------
        Cancelled
            If it was asked to stop, even if it finished before it noticed.
        UserError
            If its input or options were wrong; the message is the worker's.
        WorkerFailed
            If it failed for any other reason.
        """
        self.feed_output(b"\n")
        self.feed_errors(b"\n")
        if self._cancelled_at is not None or exit_code == EXIT_CANCELLED:
            raise Cancelled("cancelled; nothing was written")
        if exit_code == EXIT_DONE and self._result is not None:
            return self._result
        if exit_code == EXIT_BAD_INPUT and self._error is not None:
            raise self._error
        raise WorkerFailed(self._what_happened(exit_code), list(self._last_words))

    def not_started(self, reason: str = "") -> NoReturn:
        """Raise WorkerFailed for a command that could not be started."""
        raise WorkerFailed(f"{self.command[0]}: could not be started{reason and f' ({reason})'}", [])

    def _what_happened(self, exit_code: int | None) -> str:
        if self._foreign_version is not None:
            return (
                f"the worker uses version {self._foreign_version} of the protocol, not {PROTOCOL_VERSION}: "
                "module and library do not belong together; install the extension again"
            )
        if self._error is not None:
            return str(self._error)
        if exit_code is None or exit_code < 0:
            signal = f" (signal {-exit_code})" if exit_code else ""
            return (
                f"the worker was ended from outside{signal}, perhaps for lack of memory: "
                "close other programs or choose a larger spacing"
            )
        return f"the worker ended without a result (exit code {exit_code})"

    def _event(self, line: str) -> dict | None:
        """The event in `line`; None if it is no event, which is then added to the last words."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or "event" not in event:
            if line:
                self._last_words.append(line)
            return None
        if event.get("version") != PROTOCOL_VERSION:
            self._foreign_version = event.get("version")
            return None
        if event["event"] == "result":
            self._result = event
        elif event["event"] == "error":
            self._error = self._renamed(event)
        return event

    def _renamed(self, event: dict) -> UserError:
        """The error in an event, with the user's name for the input."""
        text = str(event.get("text", event.get("message")))
        if self._source:
            text = text.replace(self._source, self._source_name)
        kind = AlreadyThin if event.get("kind") == AlreadyThin.kind else UserError
        return kind(text, *event.get("options", ()))


def run(
    worker: WorkerProcess,
    progress: Callable[[dict], None] = lambda event: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict:
    """Start `worker`, wait for its end and return its report.

    Parameters
    ----------
    progress : callable
        Called with each progress event, a dict with stage, done, total and seconds_left.
    cancelled : callable
        Called every 0.1 s; when it returns True, the worker is stopped.

    Returns
    -------
    dict
        See :meth:`WorkerProcess.outcome`.

    Raises
    ------
    Cancelled, UserError, WorkerFailed
        See :meth:`WorkerProcess.outcome`.
    """
    try:
        process = subprocess.Popen(
            worker.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **worker.environment},
            cwd=worker.folder,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        worker.not_started(error.strerror)
    _running.add(process)
    try:
        with process:
            try:
                _converse(process, worker, progress, cancelled)
            except BaseException:
                _end(process, worker)
                raise
    finally:
        _running.discard(process)
    return worker.outcome(process.returncode)


def end_workers() -> None:
    """Kill the workers that still run and wait for their end; for a process that is ended in a hurry."""
    for process in list(_running):
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)


def _end(process, worker: WorkerProcess) -> None:
    """End a worker that nobody listens to any more."""
    worker.cancel()
    while process.poll() is None:
        worker.escalate(process)
        time.sleep(0.05)


def _converse(process, worker: WorkerProcess, progress, cancelled) -> None:
    """Pass the output of the process to `worker` until both streams are closed."""
    chunks: queue.SimpleQueue = queue.SimpleQueue()
    streams = {"output": process.stdout, "errors": process.stderr}
    for name, stream in streams.items():
        threading.Thread(target=_read, args=(name, stream, chunks), daemon=True).start()
    while streams:
        with contextlib.suppress(queue.Empty):
            name, data = chunks.get(timeout=0.1)
            if not data:
                del streams[name]
            elif name == "errors":
                worker.feed_errors(data)
            else:
                for event in worker.feed_output(data):
                    if event["event"] == "progress":
                        progress(event)
        if cancelled():
            worker.cancel()
        worker.escalate(process)


def _read(name: str, stream, chunks: queue.SimpleQueue) -> None:
    while data := stream.read1(1 << 16):
        chunks.put((name, data))
    chunks.put((name, b""))


class _Lines:
    """Splits a stream of bytes, which may arrive in any pieces, into lines of text."""

    def __init__(self):
        self._rest = b""

    def split(self, data: bytes) -> list[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip() for line in whole]
