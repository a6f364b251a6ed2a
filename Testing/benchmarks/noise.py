"""Noise power spectra of thin slices: true ones, those of a method, those with noise restored.

``python -m Testing.benchmarks.noise THIN [THIN ...] --picture PNG [--universal WEIGHTS]`` averages five thin
slices to one and draws the mean power of smooth patches of soft tissue, the same places in all of them, over
the spatial frequency in the slice. LAA-950 and Perc15 of the same results: `Testing.benchmarks.measurements`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import fft

from Testing.benchmarks.made_thin import END, results
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.io.reading import read_input

PATCH = 32
METHODS = ("interpolation", "universal", "universal+noise")
SMOOTHEST = 0.05  # of the patches of soft tissue


def patches(voxels: np.ndarray) -> np.ndarray:
    """All patches without their plane trend: (slices * rows * columns, 32, 32)."""
    slices, rows, columns = voxels.shape
    cut = voxels[:, : rows // PATCH * PATCH, : columns // PATCH * PATCH].astype(np.float32)
    found = cut.reshape(slices, rows // PATCH, PATCH, columns // PATCH, PATCH).swapaxes(2, 3)
    found = found.reshape(-1, PATCH, PATCH)
    place = np.linspace(-1, 1, PATCH, dtype=np.float32)
    for ramp in (place[None, :, None], place[None, None, :]):
        slope = (found * ramp).mean(axis=(1, 2), keepdims=True) / np.square(place).mean()
        found = found - slope * np.broadcast_to(ramp, (1, PATCH, PATCH))
    return found


def smooth_places(voxels: np.ndarray) -> np.ndarray:
    """Which patches of the true thin slices are smooth soft tissue."""
    found = patches(voxels)
    means, spread = found.mean(axis=(1, 2)), found.std(axis=(1, 2))
    soft = np.flatnonzero((means > 0) & (means < 120))
    return soft[np.argsort(spread[soft])[: max(10, round(SMOOTHEST * len(soft)))]]


def power(voxels: np.ndarray, places: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Radial noise power spectrum: frequency in 1 / mm, power in HU2 mm2."""
    found = patches(voxels)[places]
    found = found - found.mean(axis=(1, 2), keepdims=True)
    spectrum = np.square(np.abs(fft.fft2(found))).mean(axis=0) * (pixel / PATCH) ** 2
    frequency = np.hypot(*np.meshgrid(*[fft.fftfreq(PATCH, pixel)] * 2))
    rings = np.rint(frequency * PATCH * pixel).astype(int)
    kept = range(2, PATCH // 2 + 1)
    return (
        np.array([frequency[rings == ring].mean() for ring in kept]),
        np.array([spectrum[rings == ring].mean() for ring in kept]),
    )


def draw(scans: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]], picture: Path) -> None:
    """A diagram for each scan."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(scans), 4), layout="constrained")
    for plot, (scan, curves) in zip(
        figure.subplots(1, len(scans), squeeze=False)[0], scans.items(), strict=True
    ):
        for name, (frequency, spectrum) in curves.items():
            plot.plot(frequency, spectrum, label=name, color="black" if name.startswith("true") else None)
        plot.set(title=scan, xlabel="spatial frequency in the slice, 1/mm", ylabel="noise power, HU² mm²")
        plot.set_ylim(bottom=0)
        plot.legend()
    figure.savefig(picture, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("thin", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--universal", type=Path, help="weights that have not seen the scans")
    parser.add_argument("--slices", type=int, default=91, help="only this many in the middle of each scan")
    options = parser.parse_args()
    scans = {}
    for path in options.thin:
        volume = read_input(path)
        first = max(0, len(volume.voxels) - options.slices) // 2
        cut = volume.voxels[first : first + options.slices]
        thin = replace(volume, voxels=cut, slice_axis=2, thickness=None)
        acquisition = Acquisition(5 * thin.spacing[2], 5 * thin.spacing[2])
        places, curves = None, {}
        for name, found in results(thin, acquisition, METHODS, options.universal):
            inner = found.voxels[END:-END]
            places = smooth_places(inner) if places is None else places
            curves[name] = power(inner, places, thin.spacing[0])
            print(path.name, name, f"noise {np.sqrt(patches(inner)[places].var()):.1f} HU", flush=True)
        scans[path.name.split(".")[0]] = curves
    draw(scans, options.picture)


if __name__ == "__main__":
    main()
