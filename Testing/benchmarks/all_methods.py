"""All methods side by side: ``python -m Testing.benchmarks.all_methods THIN [THIN ...] --output PNG``.

Five thin slices are averaged to one; each method makes thin slices again. Prints a Markdown table (PSNR and
SSIM over 3072 HU, five slices at either end left out, seconds for the first scan on this machine), says which
weights have seen a scan, and draws one coronal plane of each result of the first scan in a lung window. The
region is small: some networks take an hour for a whole scan on a CPU. `--universal` names weights that have
not seen the scans.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.evaluation.metrics import HU_RANGE
from ThickToThinSRLib.evaluation.similarity import ssim
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.methods.choices import choose_method
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume

FACTOR = 5
END = 5
LUNG = (-1150.0, 350.0)  # HU from black to white


def region(path: Path, start: tuple[int, int], shape: tuple[int, int], slices: int) -> Volume:
    """Some rows and columns, from `start`, of the slices in the middle of a thin scan."""
    volume = read_input(path)
    first = max(0, len(volume.voxels) - slices) // 2
    rows, columns = (slice(begin, begin + size) for begin, size in zip(start, shape, strict=True))
    voxels = volume.voxels[first : first + slices, rows, columns].astype(np.float32)
    return replace(volume, voxels=voxels, slice_axis=2, thickness=None)


def measured(method: str, thin: Volume, thick: Volume, weights: Path | None) -> tuple[np.ndarray, float]:
    """Result of a method without adaptation, and its seconds."""
    epochs = 0 if METHODS[method].network == "davsr" else None
    started = time.monotonic()
    settings = Settings(method=method, spacing=thin.spacing[2], axis=2, epochs=epochs, checkpoint=weights)
    return enhance_volume(thick, settings)[0].voxels, time.monotonic() - started


def has_seen(method: str, weights: Path | None, scan: str) -> bool:
    """Whether the weights of a method were trained with a scan, by their model card."""
    used = choose_method(method, weights)[1]
    return used is not None and scan in used.card["data"]


def scores(true: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """PSNR in dB and SSIM of the slices between the ends."""
    inner = slice(END, len(found) - END)
    true, found = (np.clip(values[inner], *HU_WINDOW) for values in (true[: len(found)], found))
    return float(10 * np.log10(HU_RANGE**2 / np.square(found - true).mean())), ssim(true, found, HU_RANGE)


def draw(planes: dict[str, np.ndarray], path: Path) -> None:
    """Planes side by side, voxels as they are, the first slice at the bottom."""
    from matplotlib.figure import Figure

    columns = 3
    rows = -(-len(planes) // columns)
    height, width = next(iter(planes.values())).shape
    figure = Figure(figsize=(4 * columns, rows * (4 * height / width + 0.3)), layout="constrained")
    grid = figure.subplots(rows, columns).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, (name, plane) in zip(grid, planes.items(), strict=False):
        axes.imshow(plane, "gray", vmin=LUNG[0], vmax=LUNG[1], origin="lower", interpolation="nearest")
        axes.set_title(name, fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("thin", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True, metavar="PNG")
    parser.add_argument("--start", type=int, nargs=2, default=(160, 40), metavar=("ROW", "COLUMN"))
    parser.add_argument("--shape", type=int, nargs=2, default=(48, 192), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--slices", type=int, default=71)
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--universal", type=Path, metavar="WEIGHTS")
    options = parser.parse_args()
    scans = {path.name.split(".")[0]: path for path in options.thin}
    pairs = {name: _pair(path, options) for name, path in scans.items()}
    first, row = next(iter(pairs)), options.shape[0] // 2
    thin, thick = pairs[first]
    blocks = np.repeat(thick.voxels[:, row], FACTOR, axis=0)
    planes = {"true thin slices": thin.voxels[:, row], "thick slices": blocks[FACTOR // 2 :]}
    print(f"| method | {' | '.join(f'{name}: PSNR, SSIM' for name in pairs)} | seconds |")
    print("|---" * (len(pairs) + 2) + "|", flush=True)
    for method in options.method:
        weights = options.universal if method == "universal" else None
        cells, seconds = [], {}
        for name, (thin, thick) in pairs.items():
            found, seconds[name] = measured(method, thin, thick, weights)
            psnr, similarity = scores(thin.voxels, found)
            seen = " (has seen it)" * has_seen(method, weights, name)
            cells.append(f"{psnr:.2f} dB, {similarity:.3f}{seen}")
            if name == first:
                planes[f"{method}, {psnr:.1f} dB"] = found[:, row]
        print(f"| `{method}` | {' | '.join(cells)} | {seconds[first]:.1f} |", flush=True)
    count = min(len(plane) for plane in planes.values())
    draw({name: plane[:count] for name, plane in planes.items()}, options.output)


def _pair(path: Path, options: argparse.Namespace) -> tuple[Volume, Volume]:
    """A region of a thin scan, and the thick slices made of it."""
    thin = region(path, options.start, options.shape, options.slices)
    step = thin.spacing[2]
    made = simulate(thin, Acquisition(FACTOR * step, FACTOR * step), axis=2)
    return thin, replace(made, voxels=np.rint(made.voxels))


if __name__ == "__main__":
    main()
