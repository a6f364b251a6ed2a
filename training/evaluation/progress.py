"""The progress of a benchmark: what is being done, and how much time is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ThickToThinSRLib.monitor import Monitor

_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Estimates the time left from the work that this process has done, and says it now and then.

    Work that was stored before takes no time and does not count.

    Parameters
    ----------
    pieces : mapping of str to int
        Kinds of work, such as the systems, and how many pieces of each there are.
    say : callable
        Takes a line.
    """

    def __init__(self, pieces: Mapping[str, int], say: Callable[[str], None]):
        self.left, self.say = dict(pieces), say
        self.seconds: dict[str, list[float]] = {kind: [] for kind in pieces}
        self.said = time.monotonic()

    def done(self, kind: str, seconds: float | None) -> None:
        """Count a piece of work; `seconds` is None if it was stored before or failed."""
        self.left[kind] -= 1
        if seconds is not None:
            self.seconds[kind].append(seconds)

    def time_left(self) -> str:
        """For the end of a line: ``, about 2 h 5 min left``; empty while nothing is known, and at the end."""
        known = {kind: sum(taken) / len(taken) for kind, taken in self.seconds.items() if taken}
        if not known or not any(self.left.values()):
            return ""
        # What was never done yet counts as the quickest: right for the similarity, low for slow systems.
        seconds = sum(count * known.get(kind, min(known.values())) for kind, count in self.left.items())
        return f", about {in_words(seconds)} left"

    def tell(self, line: str) -> None:
        """Say a line and the time left, unless another one was said a moment ago."""
        if time.monotonic() - self.said >= _SECONDS_BETWEEN_LINES:
            self.say(f"{line}{self.time_left()}")
            self.said = time.monotonic()

    def monitor(self, what: str) -> Monitor:
        """A monitor that tells how far the stages of some work are."""
        return Monitor(lambda stage, done, total: self.tell(f"{what}: {stage} {100 * done // total} %"))


def in_words(seconds: float) -> str:
    """Such as ``40 s``, ``3 min`` or ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
