"""How a long job reports what it does, and how it is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import Cancelled


class Monitor:
    """Receives progress, messages and facts for the provenance; raises `Cancelled` when asked to stop.

    Without arguments it shows nothing and never stops the work: suitable for scripts.

    Parameters
    ----------
    progress : callable, optional
        Called with (stage, done, total).
    say : callable, optional
        Called with a line for the user.
    cancelled : callable, optional
        Returns whether to stop; called again and again.

    Attributes
    ----------
    notes : list of str
        For the provenance: assumptions, and changes that were necessary (such as smaller tiles).
    warnings : list of str
        For the provenance: reasons to doubt the result.
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
        """Report progress and never stop, for work in another process that ends by itself."""
        if self._progress is not None:
            self._progress(stage, done, total)

    def check(self) -> None:
        """Raise `Cancelled` if asked to stop."""
        if self.is_cancelled():
            raise Cancelled

    def is_cancelled(self) -> bool:
        """Whether the work is to stop."""
        return self._cancelled is not None and self._cancelled()

    def say(self, line: str) -> None:
        """Show a line to the user, without adding it to the provenance."""
        if self._say is not None:
            self._say(line)

    def note(self, line: str) -> None:
        """Show an assumption or a necessary change to the user, and add it to the provenance."""
        self.notes.append(line)
        self.say(line)

    def warn(self, line: str) -> None:
        """Show a reason to doubt the result to the user, and add it to the provenance."""
        self.warnings.append(line)
        self.say(f"warning: {line}")

    def record(self, **facts: Any) -> None:
        """Add facts to the provenance."""
        self.facts.update(facts)
