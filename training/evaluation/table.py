"""``table.md``: the paper's table and further measures; on RPLHR-CT's test split with published numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .evaluate import PROTOCOLS
from .statistics import better
from .systems import System

_MEASURES = (
    ("PSNR body (dB)", "psnr_body", "{:.2f}"),
    ("Match", "psnr_match", "{:.2f}"),
    ("Near", "psnr_near", "{:.2f}"),
    ("Far", "psnr_far", "{:.2f}"),
    ("bias body (HU)", "bias_body_hu", "{:+.2f}"),
    ("bias lung (HU)", "bias_lung_hu", "{:+.2f}"),
    ("consistency (HU)", "consistency_mean_hu", "{:.2f}"),
    ("s per volume", "seconds", "{:.2f}"),
    ("peak MiB", "peak_mib", "{:.0f}"),
    ("GFLOP", "gflop", "{:.0f}"),
)

_NOTES = """\
Means over cases; after +- the standard deviation (n - 1). Authors' protocol: every result as it is before it
would be made consistent with the thick slices (consistent interpolation is so by itself). Seamless: tiles are
blended, and every result, cubic interpolation too, is made consistent with the thick slices. p: one-sided,
exact Wilcoxon signed-rank test of PSNR against the row above; `*` p < 0.05, `**` p < 0.01, `***` p < 0.001,
for which at least 5, 7 and 10 cases are needed. The order of the rows is from the same cases. Match, Near,
Far: PSNR at 0, 1 and 2 thin slices from a thick one. The authors' tiles have 256 x 256 pixels; smaller slices
are one tile, padded with air. Peak MiB: memory above that in use before, allocated on a GPU, resident on the
CPU. GFLOP: operations of the network on all windows; a multiplication and an addition are two.
"""


def values_of(rows: Sequence[dict], system: str, protocol: str, key: str) -> np.ndarray:
    """One column of a system and protocol, in the order of the cases; NaN if it was not measured."""
    chosen = [r for r in rows if r["system"] == system and r["protocol"] == protocol]
    return np.array([np.nan if r.get(key) is None else r[key] for r in chosen], np.float64)


def ranked(rows: Sequence[dict], systems: Sequence[System], protocol: str) -> list[System]:
    """Systems in the order of their mean PSNR, lowest first, as in the paper."""
    return sorted(systems, key=lambda s: values_of(rows, s.name, protocol, "psnr").mean())


def table(
    rows: Sequence[dict], systems: Sequence[System], data: str, device: str, official: bool = False
) -> str:
    """The text of ``table.md``.

    Parameters
    ----------
    rows : sequence of dict
        Rows of ``cases.csv``.
    systems : sequence of System
        The measured systems.
    data, device : str
        Names of the data set, and of where it was computed.
    official : bool
        Whether the rows are of RPLHR-CT's own test split, for which the published numbers hold.
    """
    cases = len({row["case"] for row in rows})
    parts = [f"# Benchmark\n\n{cases} case(s) of {data}; computed on {device}.\n"]
    titles = {
        "authors": "Authors' protocol: first and last five slices left out, nothing made consistent",
        "seamless": "Seamless: whole volumes, everything made consistent with the thick slices",
    }
    tiles = sorted({f"{row['tile']} x {row['tile']}" for row in rows if row.get("tile")})
    if tiles:
        titles["authors"] += f"; tiles of {', '.join(tiles)} pixels"
    for protocol in PROTOCOLS:
        beside = official and protocol == "authors"
        parts.append(f"## {titles[protocol]}\n\n{_scores(rows, systems, protocol, beside)}")
        parts.append(_measured(rows, systems, protocol))
    parts.append(_NOTES + _published_note(systems, official))
    return "\n".join(parts)


def _published_note(systems: Sequence[System], official: bool) -> str:
    """What the published numbers are, or, where they do not hold, what they would be."""
    recipes = {system.recipe.title: system.recipe for system in systems if system.recipe}.values()
    published = [f"{recipe.title} {recipe.published}" for recipe in recipes if recipe.published]
    if not published:
        return ""
    if official:
        return "Published: RPLHR-CT paper, the same 100 test cases by the authors' protocol.\n"
    return (
        "\nPublished PSNR (dB) / SSIM hold for RPLHR-CT's own test split of 100 cases by the authors' "
        f"protocol, not for these data: {'; '.join(published)}.\n"
    )


def _scores(rows, systems, protocol: str, beside: bool) -> str:
    """Scores and tests; with the published numbers `beside` them."""
    head = ["system", "PSNR (dB)", "SSIM", "p, better than the row above", "weights"]
    if beside:
        head += ["published PSNR / SSIM", "weights in the paper"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    above = None
    for system in ranked(rows, systems, protocol):
        psnr, ssim = (values_of(rows, system.name, protocol, key) for key in ("psnr", "ssim"))
        test = "" if above is None else str(better(psnr, above))
        cells = [system.title, spread(psnr, 3), spread(ssim, 4), test, f"{system.weights:,}"]
        if beside:
            recipe = system.recipe
            cells += [recipe.published, recipe.parameters] if recipe else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
        above = psnr
    return "\n".join(lines) + "\n"


def _measured(rows, systems, protocol: str) -> str:
    head = ["system", *(title for title, *_ in _MEASURES), "LAA-950 error (points)", "Perc15 error (HU)"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for system in ranked(rows, systems, protocol):
        cells = [system.title]
        for _, key, form in _MEASURES:
            cells.append(_mean(values_of(rows, system.name, protocol, key), form))
        for key in ("laa950", "perc15"):
            estimate, truth = (values_of(rows, system.name, protocol, k) for k in (key, f"{key}_reference"))
            cells.append(_mean(np.abs(estimate - truth), "{:.2f}"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values: np.ndarray, digits: int) -> str:
    """Mean and, of several values, standard deviation."""
    if len(values) < 2:
        return f"{values.mean():.{digits}f}"
    return f"{values.mean():.{digits}f} +- {values.std(ddof=1):.{digits}f}"


def _mean(values: np.ndarray, form: str) -> str:
    known = values[~np.isnan(values)]
    return form.format(known.mean()) if len(known) else ""
