"""A process that does one job for another program: progress out, cancel in.

Progress, results and errors leave as one JSON object a line on standard output::

    {"version": 1, "event": "progress", "stage": "network", "done": 3, "total": 31, "seconds_left": 84.2}
    {"version": 1, "event": "result", "output": "thin.nrrd", ...}
    {"version": 1, "event": "error", "message": "..."}

Cancel comes in as a file that appears, as SIGTERM or SIGINT, or as the death of the parent process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from .files import remove_temporaries

PROTOCOL_VERSION = 1
EXIT_DONE, EXIT_UNEXPECTED, EXIT_BAD_INPUT, EXIT_CANCELLED = 0, 1, 2, 3
_POLL_SECONDS, _GRACE_SECONDS = 0.2, 1.0


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
        self._parent = os.getppid() if parent else None
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._handlers: dict[int, object] = {}

    def cancelled(self) -> bool:
        return self._asked.is_set()

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, lambda *_: self._asked.set())
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

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
            or (self._cancel_file is not None and self._cancel_file.exists())
            or (self._parent is not None and os.getppid() != self._parent)
        )


class SilentReporter:
    """Says nothing but errors."""

    def progress(self, stage: str, done: int, total: int) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def result(self, report: dict) -> None:
        pass

    def error(self, message: str) -> None:
        print(f"thicktothin: {message}", file=sys.stderr)


class BarReporter(SilentReporter):
    """For a person at a terminal: lines and a progress bar on standard error."""

    def __init__(self):
        self._bar = None
        self._stage = None

    def progress(self, stage: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if stage != self._stage:
            self._close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, unit="", leave=False)
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._close()

    def say(self, line: str) -> None:
        self._close()
        print(line, file=sys.stderr)

    def result(self, report: dict) -> None:
        self._close()

    def error(self, message: str) -> None:
        self._close()
        super().error(message)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._stage = None


class JsonReporter(SilentReporter):
    """For a program: one JSON object a line on standard output."""

    def __init__(self):
        self._stage, self._started, self._already = None, 0.0, 0

    def progress(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        seconds_left = None
        if stage != self._stage:
            # What the first step took is unknown; the rate counts from its end.
            self._stage, self._started, self._already = stage, now, done
        elif done > self._already:
            rate = (now - self._started) / (done - self._already)
            seconds_left = round(rate * (total - done), 1)
        self._emit("progress", stage=stage, done=done, total=total, seconds_left=seconds_left)

    def result(self, report: dict) -> None:
        self._emit("result", **report)

    def error(self, message: str) -> None:
        self._emit("error", message=message)
        super().error(message)

    def _emit(self, event: str, **fields) -> None:
        print(json.dumps({"version": PROTOCOL_VERSION, "event": event, **fields}), flush=True)


REPORTERS = {"bar": BarReporter, "json": JsonReporter, "none": SilentReporter}
