"""How the command line reports: a progress bar for people, JSON for programs, or errors only."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from ..errors import UserError
from ..monitor import Monitor
from .protocol import DONE, FAILED, PROTOCOL_VERSION, SKIPPED, THERE


class SilentReporter:
    """Reports errors only.

    Attributes
    ----------
    ending : callable
        The last line for a user who stopped the work: what has been done.
    """

    def __init__(self):
        self.ending: Callable[[], str] = lambda: "cancelled; nothing was written"

    def monitor(self, cancelled: Callable[[], bool]) -> Monitor:
        """A monitor whose reports go to this reporter."""
        return Monitor(self.progress, self.say, cancelled)

    def progress(self, stage: str, done: int, total: int) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def result(self, report: dict) -> None:
        pass

    def case(self, name: str, state: str, reason: str = "", seconds: float | None = None) -> None:
        """Report the state of one input of a batch; a failure is reported always."""
        if state == FAILED:
            print(f"thicktothin: {name}: {state}: {reason}", file=sys.stderr)

    def error(self, message: str, cause: UserError | None = None) -> None:
        """Report an error; `cause` is given if the user can solve it."""
        print(f"thicktothin: {message}", file=sys.stderr)


class BarReporter(SilentReporter):
    """For people: lines on standard output; warnings, errors and a progress bar on standard error.

    If standard error is not a terminal (a log file), each stage is one line instead of a bar.
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
    """The name of a stage without the part in brackets, which changes while the stage runs."""
    return stage.partition(" (")[0]


def _bar(stage: str, total: int):
    from tqdm import tqdm

    layout = "{desc}: {percentage:3.0f} % |{bar}| {elapsed} passed, {remaining} left"
    return tqdm(total=total, desc=stage, file=sys.stderr, bar_format=layout, leave=False)


class JsonReporter(SilentReporter):
    """For programs: one JSON object per line on standard output."""

    def __init__(self):
        super().__init__()
        self._stage, self._started, self._done_at_start = None, 0.0, 0

    def progress(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        seconds_left = None
        if _plain(stage) != self._stage:
            # When the stage began is unknown, so the clock starts at the end of its first step.
            self._stage, self._started, self._done_at_start = _plain(stage), now, done
        elif done > self._done_at_start:
            seconds_per_step = (now - self._started) / (done - self._done_at_start)
            seconds_left = round(seconds_per_step * (total - done), 1)
        self._emit("progress", stage=stage, done=done, total=total, seconds_left=seconds_left)

    def result(self, report: dict) -> None:
        self._emit("result", **report)

    def case(self, name: str, state: str, reason: str = "", seconds: float | None = None) -> None:
        self._emit("case", name=name, state=state, reason=reason, seconds=seconds)

    def error(self, message: str, cause: UserError | None = None) -> None:
        # The receiving program may have its own names for the options, so it also gets the placeholders.
        template = {}
        if cause is not None and cause.options:
            template = {"text": cause.text, "options": cause.options}
        if cause is not None and cause.kind:
            template["kind"] = cause.kind
        self._emit("error", message=message, **template)
        super().error(message, cause)

    def _emit(self, event: str, **fields) -> None:
        print(json.dumps({"version": PROTOCOL_VERSION, "event": event, **fields}), flush=True)


REPORTERS = {"bar": BarReporter, "json": JsonReporter, "none": SilentReporter}
