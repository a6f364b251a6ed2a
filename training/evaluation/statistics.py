"""Whether one system is better than another: one-sided Wilcoxon signed-rank tests over the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


@dataclass(frozen=True)
class Comparison:
    """Result of a test: the p value (None without a case) and the number of cases that differ."""

    p: float | None
    n: int

    @property
    def stars(self) -> str:
        """`*` p < 0.05, `**` p < 0.01, `***` p < 0.001.

        The exact p of n cases is 2^-n or more, so that few cases cannot carry many stars.
        """
        return next((mark for limit, mark in _STARS if self.p is not None and self.p < limit), "")

    def __str__(self) -> str:
        if self.p is None:
            return "-"
        value = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        return f"{value}{' ' + self.stars if self.stars else ''} (n = {self.n})"


def better(values: Sequence[float], others: Sequence[float]) -> Comparison:
    """Test whether `values` are larger than `others`, case by case.

    Exact distribution (SciPy) where no two differences are of equal size; cases without a difference are left
    out, as Wilcoxon did.
    """
    from scipy.stats import wilcoxon

    differences = np.asarray(values, np.float64) - np.asarray(others, np.float64)
    differences = differences[differences != 0]
    if not len(differences):
        return Comparison(None, 0)
    found = wilcoxon(differences, alternative="greater", method="exact")
    return Comparison(float(found.pvalue), len(differences))
