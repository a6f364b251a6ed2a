"""How a long job tells what it does, and how it learns that it is to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import Cancelled


class Monitor:
    """Takes progress, lines for the user and facts for the provenance; raises `Cancelled` when asked to stop.

    Without arguments it shows nothing and never stops, which suits scripts.

    Parameters
    ----------
    progress : callable, optional
        Takes (stage, done, total).
    say : callable, optional
        Takes a line for the user.
    cancelled : callable, optional
        Returns whether to stop; polled.

    Attributes
    ----------
    notes, warnings : list of str
        For the provenance: what was assumed or had to give way; what makes the result doubtful.
    facts : dict
        For the provenance, such as the device and the precision that were used in the end.
    """

    def __init__(
        self,
        progress: Callable[[str, int, int], None] | None = None,
        say: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ):
        self._progress, self._say, self._cancelled = progress, say, cancelled
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}

    def step(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` pieces of a stage are done; raise `Cancelled` if asked to stop."""
        self.check()
        self.report(stage, done, total)

    def report(self, stage: str, done: int, total: int) -> None:
        """Report progress without stopping, for work in another process that is to end by itself."""
        if self._progress is not None:
            self._progress(stage, done, total)

    def check(self) -> None:
        """Raise `Cancelled` if asked to stop."""
        if self.is_cancelled():
            raise Cancelled

    def is_cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancelled is not None and self._cancelled()

    def say(self, line: str) -> None:
        """Tell the user something that the provenance holds elsewhere."""
        if self._say is not None:
            self._say(line)

    def note(self, line: str) -> None:
        """Tell the user what was assumed or had to give way, and keep it for the provenance."""
        self.notes.append(line)
        self.say(line)

    def warn(self, line: str) -> None:
        """Tell the user what makes the result doubtful, and keep it for the provenance."""
        self.warnings.append(line)
        self.say(f"warning: {line}")

    def record(self, **facts: Any) -> None:
        """Keep facts for the provenance."""
        self.facts.update(facts)
