"""What a wrong slice thickness costs (Fig. 5 of the SR4ZCT paper): ``python -m ... THIN PICTURE.png``.

A thin scan is made thick with a box of --thickness every --spacing mm and enhanced back with wrong
thicknesses assumed. Prints PSNR (window [-1024, 2048] HU, five slices at either end left out) and draws it,
with a coronal plane of three of the results and of the truth.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.evaluation.metrics import HU_RANGE, slice_errors
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume

ERRORS_MM = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
SHOWN_MM = (-1.0, 0.0, 1.0)
METHODS = ("consistent", "sr4zct")
END = 5


def enhanced(thick: Volume, method: str, thickness: float, step: float) -> np.ndarray:
    minutes = 0.0 if method == "sr4zct" else None
    settings = Settings(method, spacing=step, axis=2, thickness=thickness, minutes=minutes)
    return enhance_volume(thick, settings)[0].voxels


def draw(found: dict, curves: dict, truth: np.ndarray, spacing: tuple, thickness: float, path: Path) -> None:
    """Curves on the left, coronal planes of the last method on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(15, 5.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2))
    axes = left.subplots()
    for method, values in curves.items():
        axes.plot(thickness + np.array(ERRORS_MM), values, "o-", label=method)
    axes.axvline(thickness, color="grey", linewidth=0.8)
    axes.set(xlabel="assumed slice thickness, mm", ylabel="PSNR, dB")
    axes.legend()
    row = truth.shape[1] // 2
    planes = {f"{METHODS[-1]}, {thickness + error:g} mm assumed": found[error][:, row] for error in SHOWN_MM}
    planes["truth"] = truth[:, row]
    for panel, (title, plane) in zip(right.subplots(2, 2).flat, planes.items(), strict=True):
        aspect = spacing[2] / spacing[0]
        panel.imshow(plane[::-1], cmap="gray", vmin=-160, vmax=240, aspect=aspect, interpolation="bilinear")
        panel.set_title(title, fontsize=9)
        panel.set_axis_off()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("thin", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--thickness", type=float, default=5.0, help="true thickness, mm (default 5)")
    parser.add_argument("--spacing", type=float, default=2.5, help="mm (default 2.5)")
    parser.add_argument("--rows", type=int, help="only this many rows in the middle")
    options = parser.parse_args()
    thin = replace(read_input(options.thin), slice_axis=2, thickness=None)
    spare = 0 if options.rows is None else max(0, thin.voxels.shape[1] - options.rows) // 2
    kept = thin.voxels[:, spare : thin.voxels.shape[1] - spare].astype(np.float32)
    thin, step = replace(thin, voxels=np.ascontiguousarray(kept)), thin.spacing[2]
    made = simulate(thin, Acquisition(options.thickness, options.spacing), axis=2)
    thick = replace(made, voxels=np.rint(made.voxels))
    curves: dict[str, list] = {method: [] for method in METHODS}
    for method in METHODS:
        found = {error: enhanced(thick, method, options.thickness + error, step) for error in ERRORS_MM}
        count = len(found[0.0])
        inner = slice(END, count - END)
        truth = np.clip(thin.voxels[:count], *HU_WINDOW)
        for error, voxels in found.items():
            value = slice_errors(truth[inner], np.clip(voxels, *HU_WINDOW)[inner]).psnr(HU_RANGE)
            curves[method].append(value)
            print(f"{method}: {options.thickness + error:g} mm assumed: {value:.2f} dB", flush=True)
    draw(found, curves, truth, thin.spacing, options.thickness, options.picture)


if __name__ == "__main__":
    main()
