"""A process that does one job for another program: progress out, cancel in.

Progress, results and errors leave as one JSON object a line on standard output::

    {"version": 1, "event": "progress", "stage": "network", "done": 3, "total": 31, "seconds_left": 84.2}
    {"version": 1, "event": "result", "output": "thin.nrrd", ...}
    {"version": 1, "event": "error", "message": "..."}
    {"version": 1, "event": "case", "name": "a.nii.gz", "state": "done", ...}      (of many inputs)

Cancel comes in as a file that appears, as a signal to end, or as the death of the parent process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..io.volume_files import remove_temporaries

PROTOCOL_VERSION = 1
EXIT_DONE, EXIT_UNEXPECTED, EXIT_BAD_INPUT, EXIT_CANCELLED = 0, 1, 2, 3
# States of a case of `enhance-many`.
WAITING, RUNNING, THERE, DONE, FAILED = "waiting", "running", "already there", "done", "failed"
_POLL_SECONDS, _GRACE_SECONDS = 0.2, 1.0
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Watch:
    """Notices that the work is to stop; ends the process if the work does not end by itself.

    A thread looks every 0.2 s. Once asked to stop it gives the work a second to notice (through
    :meth:`cancelled`), then removes temporary files and ends the process with exit code 3.

    Parameters
    ----------
    cancel_file : Path, optional
        The work stops when this file exists.
    parent : bool
        Whether the work stops when the parent process is gone.
    """

    def __init__(self, cancel_file: Path | None = None, parent: bool = False):
        self._cancel_file = cancel_file
        self._parent_lives = _parent_watch() if parent else lambda: True
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._handlers: dict[int, object] = {}
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._former_wakeup: int | None = None
        self._signalled, self._wakeup = socket.socketpair()
        for end in (self._signalled, self._wakeup):
            end.setblocking(False)

    def cancelled(self) -> bool:
        return self._asked.is_set()

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            # Python calls a handler only between two steps of the main thread, which may sit in one long
            # step; the number of the signal reaches the socket at once.
            self._former_wakeup = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
            for number in _SIGNALS:
                # What the caller had ignored (nohup, a job in the background) stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, lambda *_: self._asked.set())
        # A short job could be done before the first look.
        if self._told_to_stop():
            self._asked.set()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._former_wakeup is not None:
            signal.set_wakeup_fd(self._former_wakeup)
        self._thread.join()
        for end in (self._signalled, self._wakeup):
            end.close()

    def _look(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            if self._told_to_stop():
                self._asked.set()
                if not self._ended.wait(_GRACE_SECONDS):
                    remove_temporaries()
                    os._exit(EXIT_CANCELLED)
                return

    def _told_to_stop(self) -> bool:
        return (
            self._asked.is_set()
            or self._signal_came()
            or (self._cancel_file is not None and os.path.exists(self._cancel_file))
            or not self._parent_lives()
        )

    def _signal_came(self) -> bool:
        try:
            return any(number in self._handlers for number in self._signalled.recv(64))
        except BlockingIOError:
            return False


def _parent_watch() -> Callable[[], bool]:
    """A function that tells whether the process that is now the parent still lives."""
    parent = os.getppid()
    if os.name != "nt":
        return lambda: os.getppid() == parent
    # Windows keeps the number of a dead parent.
    import ctypes

    kernel = ctypes.WinDLL("kernel32")
    kernel.OpenProcess.restype = ctypes.c_void_p
    synchronize, still_running = 0x00100000, 0x102
    handle = kernel.OpenProcess(synchronize, False, parent)
    return lambda: not handle or kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == still_running


class SilentReporter:
    """Says nothing but errors."""

    def progress(self, stage: str, done: int, total: int) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def result(self, report: dict) -> None:
        pass

    def case(self, name: str, state: str, reason: str = "", seconds: float | None = None) -> None:
        """How far one of many inputs is; a failure is never silent."""
        if state == FAILED:
            print(f"thicktothin: {name}: {state}: {reason}", file=sys.stderr)

    def error(self, message: str) -> None:
        print(f"thicktothin: {message}", file=sys.stderr)


class BarReporter(SilentReporter):
    """For a person: lines on standard output; warnings, errors and a progress bar on standard error.

    Where standard error is no terminal (a log file), a stage is one line instead of a bar.
    """

    def __init__(self):
        self._bar = None
        self._stage = None

    def progress(self, stage: str, done: int, total: int) -> None:
        if _plain(stage) != self._stage:
            self._close()
            self._stage = _plain(stage)
            if sys.stderr.isatty():
                self._bar = _bar(stage, total)
            else:
                print(f"{self._stage} ...", flush=True)
        if self._bar is not None:
            self._bar.set_description(stage, refresh=False)
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def say(self, line: str) -> None:
        self._close()
        print(line, file=sys.stderr if line.startswith("warning:") else sys.stdout, flush=True)

    def result(self, report: dict) -> None:
        self._close()

    def case(self, name: str, state: str, reason: str = "", seconds: float | None = None) -> None:
        self._close()
        if state == FAILED:
            super().case(name, state, reason)
        elif state in (DONE, THERE):
            print(f"{name}: {state}" + (f" in {seconds:.1f} s" if seconds is not None else ""), flush=True)

    def error(self, message: str) -> None:
        self._close()
        super().error(message)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._stage = None


def _plain(stage: str) -> str:
    """A stage's name without what changes while it runs, such as a loss, in brackets."""
    return stage.partition(" (")[0]


def _bar(stage: str, total: int):
    from tqdm import tqdm

    shape = "{desc}: {percentage:3.0f} % |{bar}| {elapsed} passed, {remaining} left"
    return tqdm(total=total, desc=stage, file=sys.stderr, bar_format=shape, leave=False)


class JsonReporter(SilentReporter):
    """For a program: one JSON object a line on standard output."""

    def __init__(self):
        self._stage, self._started, self._already = None, 0.0, 0

    def progress(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        seconds_left = None
        if _plain(stage) != self._stage:
            # What the first step took is unknown; the rate counts from its end.
            self._stage, self._started, self._already = _plain(stage), now, done
        elif done > self._already:
            rate = (now - self._started) / (done - self._already)
            seconds_left = round(rate * (total - done), 1)
        self._emit("progress", stage=stage, done=done, total=total, seconds_left=seconds_left)

    def result(self, report: dict) -> None:
        self._emit("result", **report)

    def case(self, name: str, state: str, reason: str = "", seconds: float | None = None) -> None:
        self._emit("case", name=name, state=state, reason=reason, seconds=seconds)

    def error(self, message: str) -> None:
        self._emit("error", message=message)
        super().error(message)

    def _emit(self, event: str, **fields) -> None:
        print(json.dumps({"version": PROTOCOL_VERSION, "event": event, **fields}), flush=True)


REPORTERS = {"bar": BarReporter, "json": JsonReporter, "none": SilentReporter}
