"""How many inputs of a batch ended how, in the line that a user reads last."""

from __future__ import annotations

from collections import Counter

from ..worker.protocol import DONE, FAILED, SKIPPED, THERE


class Tally:
    """Counts the ends of `total` inputs."""

    def __init__(self, total: int):
        self.total, self.counts = total, Counter()

    def count(self, state: str) -> None:
        """Take note of an input that has ended."""
        self.counts[state] += 1

    @property
    def left(self) -> int:
        """Inputs that have not ended."""
        return self.total - sum(self.counts.values())

    def as_dict(self) -> dict[str, int]:
        return {state: self.counts[state] for state in (DONE, THERE, SKIPPED, FAILED)} | {"left": self.left}

    def __str__(self) -> str:
        return ", ".join(f"{count} {state}" for state, count in self.as_dict().items())
