"""The paper's figures, drawn from our measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np

from .evaluate import PROTOCOLS, Results
from .systems import System
from .table import ranked, values_of

_WINDOW = (-1000.0, 400.0)  # HU shown from black to white in all crops
_MOST_BESIDE = 7  # systems in a row of the figure


def write_figures(results: Results, systems: Sequence[System], folder: Path) -> list[Path]:
    """Draw all figures into `folder`; returns their files."""
    figures = {
        "similarity": _similarity(results),
        "quality": _quality(results, systems),
        "time": _time(results, systems),
        "cases": _cases(results, systems),
        "crops": _crops(results),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths


def _figure(width: float, height: float):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _similarity(results: Results):
    figure = _figure(4.5, 3.5)
    axes = figure.add_subplot(title="Thick slices and the thin ones beside them")
    axes.boxplot(list(results.similarity.values()), showfliers=False)
    axes.set_xticks(
        range(1, 4), [f"{n}\n{d * results.spacing[2]:g} mm" for d, n in enumerate(results.similarity)]
    )
    axes.set_ylabel("PSNR (dB)")
    return figure


def _quality(results: Results, systems: Sequence[System]):
    figure = _figure(2.5 + 1.1 * len(systems), 7)
    order = ranked(results.rows, systems, "authors")
    place = np.arange(len(order))
    for panel, (key, label) in enumerate((("psnr", "PSNR (dB)"), ("ssim", "SSIM")), start=1):
        axes = figure.add_subplot(2, 1, panel)
        lowest = np.inf
        for offset, protocol in zip((-0.2, 0.2), PROTOCOLS, strict=True):
            values = [values_of(results.rows, system.name, protocol, key) for system in order]
            means = [v.mean() for v in values]
            spread = [v.std(ddof=1) if len(v) > 1 else 0 for v in values]
            axes.bar(place + offset, means, 0.38, yerr=spread if any(spread) else None, label=protocol)
            lowest = min(lowest, min(m - s for m, s in zip(means, spread, strict=True)))
        axes.margins(x=0.01)
        axes.set_ylim(lowest - (0.5 if key == "psnr" else 0.01), None if key == "psnr" else 1)
        axes.set_xticks(place, [fill(system.title, 14) for system in order], fontsize=8)
        axes.set_ylabel(label)
        axes.legend()
    return figure


def _time(results: Results, systems: Sequence[System]):
    figure = _figure(8, 4.5)
    axes = figure.add_subplot(
        xscale="log", xlabel="seconds per volume", ylabel="PSNR (dB), authors' protocol"
    )
    for system, color in zip(systems, _colors(len(systems)), strict=True):
        seconds, psnr = (
            values_of(results.rows, system.name, "authors", k).mean() for k in ("seconds", "psnr")
        )
        # The area shows the number of weights; systems without weights must be visible too.
        area = 30 + 60 * system.weights / 1e6
        axes.scatter(seconds, psnr, area, [color], alpha=0.6)
        axes.plot([], [], "o", color=color, label=f"{system.title}{_millions(system.weights)}")
    axes.margins(0.2)
    axes.set_title("area: number of weights", fontsize=9)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _millions(weights: int) -> str:
    return f", {weights / 1e6:.2f} M" if weights else ""


def _cases(results: Results, systems: Sequence[System]):
    figure = _figure(8, 4)
    axes = figure.add_subplot(
        xlabel="case, by the first system's PSNR", ylabel="PSNR (dB), authors' protocol"
    )
    order = np.argsort(values_of(results.rows, systems[0].name, "authors", "psnr"))
    # Side by side within a case, so that equal scores do not hide each other.
    beside = np.linspace(-0.35, 0.35, len(systems)) if len(systems) > 1 else [0.0]
    for system, color, aside in zip(systems, _colors(len(systems)), beside, strict=True):
        values = values_of(results.rows, system.name, "authors", "psnr")[order]
        axes.plot(np.arange(len(order)) + aside, values, "o", ms=4, color=color, label=system.title)
    for border in np.arange(1, len(order)) - 0.5:
        axes.axvline(border, color="0.85", lw=0.8, zorder=0)
    axes.set_xticks(range(len(order)), range(1, len(order) + 1) if len(order) <= 30 else [""] * len(order))
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _colors(count: int) -> list:
    """Colors that differ if there are at most twenty."""
    from matplotlib import colormaps

    table = colormaps["tab10" if count <= 10 else "tab20"]
    return [table(i % table.N) for i in range(count)]


def _crops(results: Results):
    shown = {"thin (truth)": results.pictures["thin"], "thick": results.pictures["thick"]}
    shown |= {name: planes for name, planes in results.pictures.items() if name not in ("thin", "thick")}
    dx, dy, dz = results.spacing
    aspects = {"axial": dy / dx, "coronal": dz / dx, "sagittal": dz / dy}
    # Planes are shown in their true proportions.
    thin = results.pictures["thin"].items()
    heights = [aspects[plane] * image.shape[0] / image.shape[1] for plane, image in thin]
    columns = min(len(shown), _MOST_BESIDE)
    blocks = -(-len(shown) // columns)
    figure = _figure(2.1 * columns + 0.8, (2.1 * sum(heights) + 0.6) * blocks + 0.3)
    grid = figure.add_gridspec(3 * blocks, columns, height_ratios=heights * blocks)
    for number, (name, planes) in enumerate(shown.items()):
        block, column = divmod(number, columns)
        for row, (plane, image) in enumerate(planes.items()):
            axes = figure.add_subplot(grid[3 * block + row, column])
            upright = image if plane == "axial" else image[::-1]
            axes.imshow(upright, "gray", vmin=_WINDOW[0], vmax=_WINDOW[1], aspect=aspects[plane])
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(fill(name, 30), fontsize=8)
            if column == 0:
                axes.set_ylabel(plane, rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle(f"window {_WINDOW[0]:g} to {_WINDOW[1]:g} HU", fontsize=8)
    return figure
