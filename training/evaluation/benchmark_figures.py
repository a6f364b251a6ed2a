"""The paper's figures, drawn from our measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np

from .evaluate import PROTOCOLS, Results
from .similarity import Similarity
from .systems import System
from .table import ranked, values_of

_LUNG, _BONE = (-1350.0, 150.0), (-500.0, 1300.0)  # HU shown from black to white
_WINDOWS = {"axial": ("lung", _LUNG), "coronal": ("lung", _LUNG), "sagittal": ("bone", _BONE)}
_DPI = 120
_MOST_BESIDE = 7  # systems in a row of the figure


def write_figures(results: Results, systems: Sequence[System], folder: Path) -> None:
    """Draw the figures of the systems into `folder`."""
    figures = {
        "quality": _quality(results, systems),
        "time": _time(results, systems),
        "cases": _cases(results, systems),
        "crops": _crops(results),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=_DPI)


def write_similarity(similarity: Similarity, step: float, path: Path) -> None:
    """Draw PSNR and SSIM of thick slices and the thin ones beside them, `step` mm apart, for each split."""
    figure = _figure(9, 3.8)
    for panel, (measure, label) in enumerate((("psnr", "PSNR (dB)"), ("ssim", "SSIM")), start=1):
        axes = figure.add_subplot(1, 2, panel, ylabel=label)
        for number, (split, measures) in enumerate(similarity.items()):
            groups = measures[measure]
            color = _colors(len(similarity))[number]
            boxes = axes.boxplot(
                list(groups.values()),
                positions=np.arange(len(groups)) + 0.27 * (number - (len(similarity) - 1) / 2),
                widths=0.22,
                showfliers=False,
                patch_artist=True,
                medianprops={"color": "black"},
            )
            for box in boxes["boxes"]:
                box.set_facecolor(color)
            axes.plot([], [], "s", color=color, label=f"{split}, n = {len(groups['Match'])} thick slices")
        axes.set_xticks(range(len(groups)), [f"{name}\n{d * step:g} mm" for d, name in enumerate(groups)])
    axes.legend(fontsize=7)
    figure.suptitle("Thick slices and the thin ones beside them", fontsize=10)
    figure.savefig(path, dpi=_DPI)


def _figure(width: float, height: float):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


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
        axes.scatter(seconds, psnr, _area(system.weights), [color], alpha=0.6)
        label = fill(f"{system.title}{_millions(system.weights)}", 40)
        axes.plot([], [], "o", color=color, label=label)
    axes.margins(0.2)
    figure.legend(fontsize=7, loc="outside right upper")
    sizes = [
        axes.scatter([], [], _area(count), "0.6", label=_millions(count)[2:] or "none")
        for count in (0, 1_000_000, 3_000_000, 10_000_000)
    ]
    axes.legend(
        handles=sizes, title="weights", title_fontsize=7, fontsize=7, labelspacing=2.2, borderpad=1.5,
        handletextpad=1.8, loc="lower right",
    )  # fmt: skip
    return figure


def _area(weights: int) -> float:
    """Area of a circle, in square points; systems without weights must be visible too."""
    return 30 + 60 * weights / 1e6


def _millions(weights: int) -> str:
    return f", {weights / 1e6:.2f} M" if weights else ""


def _cases(results: Results, systems: Sequence[System]):
    first = systems[0]
    order = np.argsort(values_of(results.rows, first.name, "authors", "psnr"))
    figure = _figure(max(8, 5 + 0.13 * len(order)), 4.4)
    axes = figure.add_subplot(
        xlabel=f"case, by the PSNR of: {first.title}", ylabel="PSNR (dB), authors' protocol"
    )
    # Side by side within a case, so that equal scores do not hide each other.
    beside = np.linspace(-0.35, 0.35, len(systems)) if len(systems) > 1 else [0.0]
    for system, color, aside in zip(systems, _colors(len(systems)), beside, strict=True):
        values = values_of(results.rows, system.name, "authors", "psnr")[order]
        axes.plot(np.arange(len(order)) + aside, values, "o", ms=4, color=color, label=fill(system.title, 40))
    for border in np.arange(1, len(order)) - 0.5:
        axes.axvline(border, color="0.85", lw=0.8, zorder=0)
    names = [
        row["case"] for row in results.rows if (row["system"], row["protocol"]) == (first.name, "authors")
    ]
    axes.set_xticks(range(len(order)), [names[i] for i in order], rotation=90, fontsize=7)
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
            low, high = _WINDOWS[plane][1]
            axes.imshow(upright, "gray", vmin=low, vmax=high, aspect=aspects[plane])
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(fill(name, 30), fontsize=8)
            if column == 0:
                label = f"{plane}\n{_WINDOWS[plane][0]}"
                axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7)
    windows = [f"{name}: {low:g} to {high:g} HU" for name, (low, high) in dict(_WINDOWS.values()).items()]
    figure.suptitle(f"windows, {', '.join(windows)}", fontsize=8)
    return figure
