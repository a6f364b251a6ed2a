"""How a process reports: a progress bar for people, JSON for programs, or nothing but errors."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from ..errors import UserError
from ..monitor import Monitor
from .protocol import DONE, FAILED, PROTOCOL_VERSION, SKIPPED, THERE


class SilentReporter:
    """Says nothing but errors.

    Attributes
    ----------
    ending : callable
        The line for a user who has stopped the work: what became of it.
    """

    def __init__(self):
        self.ending: Callable[[], str] = lambda: "cancelled; nothing was written"

    def monitor(self, cancelled: Callable[[], bool]) -> Monitor:
        """A monitor that reports here."""
        return Monitor(self.progress, self.say, cancelled)

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

    def error(self, message: str, cause: UserError | None = None) -> None:
        """Say what went wrong; `cause` is there if the user can mend it."""
        print(f"thicktothin: {message}", file=sys.stderr)


class BarReporter(SilentReporter):
    """For a person: lines on standard output; warnings, errors and a progress bar on standard error.

    Where standard error is no terminal (a log file), a stage is one line instead of a bar.
    """

    def __init__(self):
        super().__init__()
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
        elif state in (DONE, THERE, SKIPPED):
            took = f" in {seconds:.1f} s" if seconds is not None else ""
            print(f"{name}: {state}{took}" + (f": {reason}" if reason else ""), flush=True)

    def error(self, message: str, cause: UserError | None = None) -> None:
        self._close()
        super().error(message, cause)

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
        super().__init__()
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

    def error(self, message: str, cause: UserError | None = None) -> None:
        # Programs that name options in their own words need the text before they were named.
        named = {"text": cause.text, "options": cause.options} if cause is not None and cause.options else {}
        if cause is not None and cause.kind:
            named["kind"] = cause.kind
        self._emit("error", message=message, **named)
        super().error(message, cause)

    def _emit(self, event: str, **fields) -> None:
        print(json.dumps({"version": PROTOCOL_VERSION, "event": event, **fields}), flush=True)


REPORTERS = {"bar": BarReporter, "json": JsonReporter, "none": SilentReporter}
