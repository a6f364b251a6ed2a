"""How much of a benchmark of several methods is left, told on standard error."""

from __future__ import annotations

import sys
import time
from collections import Counter

from training.evaluation.progress import in_words

# Seconds a million thin voxels, two cores, on parts of lungs; what counts is how they compare.
COST = {
    "interpolation": 0.1,
    "consistent": 0.2,
    "universal": 3.8,
    "sr4zct": 5.8,
    "tvsrn": 22.0,
    "resvox": 9.0,
    "mpunet": 6.0,
    "saint": 57.0,
    "cthnet": 27.0,
    "davsr": 5.4,
}


class WorkLeft:
    """Tells the time left from the voxels to come and from how fast this machine was so far."""

    def __init__(self):
        self.left: Counter[str] = Counter()
        self.expected = self.taken = 0.0

    def plan(self, methods: list[str], voxels: int) -> None:
        """Add thin slices that each of the methods is to make; `+noise` costs next to nothing."""
        names = {method.partition("+")[0] for method in methods}
        self.left.update({name: voxels for name in names if name in COST})

    def seconds(self) -> float:
        """What the rest is expected to take."""
        slower = self.taken / self.expected if self.expected else 1.0
        return slower * sum(COST[method] * voxels / 1e6 for method, voxels in self.left.items())

    def done(self, what: str, method: str, voxels: int, since: float) -> None:
        """A method made thin slices, from the time `since` (``time.monotonic()``) until now."""
        taken = time.monotonic() - since
        self.left[method] -= voxels
        self.expected += COST[method] * voxels / 1e6
        self.taken += taken
        left = f"about {in_words(self.seconds())} left" if self.seconds() > 0 else "the last"
        print(f"{what}: {method} {in_words(taken)}, {left}", file=sys.stderr, flush=True)
