"""Whether one system is better than another: one-sided Wilcoxon signed-rank tests over the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


@dataclass(frozen=True)
class Comparison:
    """Result of a test.

    Attributes
    ----------
    p : float or None
        p value; None if no case differs.
    n : int
        Number of cases that differ.
    """

    p: float | None
    n: int

    @property
    def stars(self) -> str:
        """`*` p < 0.05, `**` p < 0.01, `***` p < 0.001.

        The exact p of n cases is at least 2^-n, so few cases cannot get many stars.
        """
        return next((mark for limit, mark in _STARS if self.p is not None and self.p < limit), "")

    def __str__(self) -> str:
        if self.p is None:
            return "-"
        value = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        return f"{value}{' ' + self.stars if self.stars else ''} (n = {self.n})"


def better(values: Sequence[float], others: Sequence[float]) -> Comparison:
    """Test whether `values` are larger than `others`, case by case.

    The distribution is exact (SciPy) if no two differences have the same size. Cases without a difference are
    left out, as in Wilcoxon's paper.
    """
    from scipy.stats import wilcoxon

    differences = np.asarray(values, np.float64) - np.asarray(others, np.float64)
    differences = differences[differences != 0]
    if not len(differences):
        return Comparison(None, 0)
    test = wilcoxon(differences, alternative="greater", method="exact")
    return Comparison(float(test.pvalue), len(differences))
