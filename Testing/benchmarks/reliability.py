"""Expected against measured error on patients left out of the fit, by decile, region and protocol.

``python -m Testing.benchmarks.reliability THIN [THIN ...] --leave-out NAME [NAME ...] --checkpoint WEIGHTS
[--picture PNG]``: for each name the regression is fitted to all other scans and judged on that one. The
weights must not have seen the scans left out. A ratio of 1 means that the error expected is the one there is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.trust.uncertainty import predict
from training.expected_error import PROTOCOLS, Case, cases, fit, region

REGIONS = {"all": (-1010, 4000), "lung": (-1000, -500), "soft tissue": (-200, 250), "bone": (250, 4000)}
UNSEEN = (6.25, 2.5)  # a protocol that is judged, and in no fit
FEWEST = 3000  # pixels of 2 x 2
WITHIN = 0.15


def deciles(expected: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of expected and measured error in ten equal parts, by expected error."""
    parts = np.array_split(np.argsort(expected), 10)
    return tuple(np.array([values[part].mean() for part in parts]) for values in (expected, measured))


def judged(found: list[Case], names: list[str]) -> Iterator[tuple[Case, str, np.ndarray, np.ndarray]]:
    """Deciles of each case of the scans left out, by region."""
    for name in names:
        for method in ("consistent", "universal"):
            of_method = [case for case in found if case.method == method]
            coefficients = fit([case for case in of_method if case.name != name and case.protocol != UNSEEN])
            for case in of_method:
                if case.name != name:
                    continue
                expected = np.stack([predict(features, coefficients) for features in case.features])
                for title, (low, high) in REGIONS.items():
                    there = (case.level > low) & (case.level <= high)
                    if there.sum() >= FEWEST:
                        yield case, title, *deciles(expected[there], case.error[there])


def report(found: list[Case], names: list[str], picture: Path | None) -> None:
    """Print the table; draw the reliability diagram."""
    columns = ["scan left out", "protocol", "method", "region", "expected HU", "measured HU"]
    columns += ["ratio by decile", "deciles within 15 %"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    lines = []
    for case, title, expected, measured in judged(found, names):
        ratio = measured / expected
        protocol = "/".join(f"{value:g}" for value in case.protocol)
        print(
            f"| {case.name} | {protocol} | {case.method} | {title} | {expected.mean():.1f} | "
            f"{measured.mean():.1f} | {' '.join(f'{value:.2f}' for value in ratio)} | "
            f"{(np.abs(ratio - 1) <= WITHIN).sum()} |",
            flush=True,
        )
        lines.append((case, title, expected, measured))
    if picture is not None:
        draw(lines, names, picture)


def draw(lines: list, names: list[str], picture: Path) -> None:
    """Measured over expected error: a column for each scan, a row for each method, regions by colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(names), 7.5), layout="constrained")
    axes = figure.subplots(2, len(names), squeeze=False)
    colours = dict(zip(REGIONS, ("black", "tab:blue", "tab:orange", "tab:red"), strict=True))
    limits = np.array([2.0, 400.0])
    for row, method in enumerate(("consistent", "universal")):
        for column, name in enumerate(names):
            plot = axes[row, column]
            plot.fill_between(limits, limits * (1 - WITHIN), limits * (1 + WITHIN), color="0.85")
            for case, title, expected, measured in lines:
                if (case.method, case.name) == (method, name):
                    plot.plot(expected, measured, ".-", lw=0.8, color=colours[title])
            plot.set(
                xscale="log", yscale="log", xlim=limits, ylim=limits, title=f"{method},\n{name} left out"
            )
            plot.set(xlabel="expected error, HU", ylabel="measured error, HU")
    for title, colour in colours.items():
        axes[0, 0].plot([], [], color=colour, label=title)
    axes[0, 0].legend(title="a line for each protocol")
    figure.savefig(picture, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("thin", nargs="+", type=Path)
    parser.add_argument("--leave-out", nargs="+", required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    found = []
    for path in options.thin:
        name = path.name.split(".")[0]
        protocols = (*PROTOCOLS, UNSEEN) if name in options.leave_out else PROTOCOLS
        found += cases(region(read_input(path)), name, options.checkpoint, protocols)
    report(found, options.leave_out, options.picture)


if __name__ == "__main__":
    main()
