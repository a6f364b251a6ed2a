"""How good the methods are on thin CT made thick: ``python -m Testing.benchmarks.quality THIN [THIN ...]``.

Every protocol simulates thick slices (rounded to whole HU) with its true profile; every method is told the
thickness and nothing else. Prints a Markdown table for each scan and, with --csv, a row
for each scan, protocol and method:

``body``, ``lung`` PSNR over 3072 HU, window [-1024, 2048], the five slices at either end left out; ``ssim``
of every eighth slice; ``coronal``, ``sagittal`` mean PSNR and SSIM of every eighth plane through the body;
``groups`` PSNR by distance from the nearest thick slice (Match / Near / Far for 5 to 1 mm), inside the body;
``bias_lung``, ``bias_soft`` HU, in regions of the smoothed truth (lung under -600 HU, soft tissue 0 to 100
HU); ``laa950`` estimate minus truth, percent of the lung; ``c_mean``, ``c_worst``, ``c_999`` consistency
with the true profile, HU; ``seconds``, and ``peak_mib``, the memory at its peak beyond that of the thick
slices.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.consistency import measure
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.evaluation.lung import densitometry, lung_mask
from ThickToThinSRLib.evaluation.metrics import HU_RANGE, distance_groups
from ThickToThinSRLib.evaluation.similarity import ssim
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume, slice_count
from training.evaluation.cost import PeakMemory

# Thickness and spacing in thin slices, and the true profile.
PROTOCOLS = {
    "5/5": (5, 5, "box"),
    "3/3": (3, 3, "box"),
    "2.5/2.5": (2.5, 2.5, "box"),
    "5/2.5": (5, 2.5, "box"),
    "6.25/2.5": (6.25, 2.5, "box"),
    "3/2": (3, 2, "box"),
    "6.25/3.125": (6.25, 3.125, "box"),
    "5/5 Gaussian": (5, 5, "gaussian"),
    "5/2.5 Gaussian": (5, 2.5, "gaussian"),
    "6.25/2.5 trapezoid": (6.25, 2.5, "trapezoid"),
}
END = 5
SOME = 8  # SSIM takes longer than all the rest


def middle(size: int, kept: int | None) -> slice:
    """The `kept` in the middle of `size`, or one more."""
    spare = 0 if kept is None else max(0, size - kept) // 2
    return slice(spare, size - spare)


class Truth:
    """A thin scan and its regions."""

    def __init__(self, path: Path, slices: int | None, rows: int | None):
        volume = read_input(path)
        kept = volume.voxels[middle(volume.voxels.shape[0], slices), middle(volume.voxels.shape[1], rows)]
        self.name = path.name.split(".")[0]
        self.volume = replace(volume, voxels=kept.astype(np.float32), slice_axis=2, thickness=None)
        self.step = volume.spacing[2]
        self.voxels = self.volume.voxels
        self.body = np.broadcast_to(self.voxels.mean(axis=0) > -1000, self.voxels.shape)
        self.lung = lung_mask(replace(self.volume, voxels=kept))
        smooth = gaussian_filter(self.voxels, [3.0 / spacing for spacing in volume.spacing[::-1]])
        self.aerated = self.lung & (smooth < -600)
        self.soft = self.body & (smooth > 0) & (smooth < 100)

    def thick(self, acquisition: Acquisition) -> Volume:
        made = simulate(self.volume, acquisition, axis=2)
        return replace(made, voxels=np.rint(made.voxels))


def nearest(thick: Volume, count: int, step: float) -> np.ndarray:
    """Each thin slice is its nearest thick one."""
    place = np.arange(count) * step / thick.spacing[2]
    return thick.voxels[np.clip(np.floor(place + 0.5).astype(int), 0, len(thick.voxels) - 1)]


def linear(thick: Volume, count: int, step: float) -> np.ndarray:
    """Linear interpolation between thick slices."""
    place = np.arange(count) * step / thick.spacing[2]
    below = np.clip(np.floor(place).astype(int), 0, len(thick.voxels) - 2)
    share = (place - below)[:, None, None].astype(np.float32)
    return thick.voxels[below] * (1 - share) + thick.voxels[below + 1] * share


PLAIN = {"nearest": nearest, "linear": linear}


def estimate(method: str, thick: Volume, count: int, step: float) -> np.ndarray:
    """Thin slices by a method: a name or a file of weights, with ``+M`` (minutes) or ``+Ne`` (epochs)."""
    if method in PLAIN:
        return PLAIN[method](thick, count, step)
    name, _, budget = method.partition("+")
    given = {"checkpoint": Path(name)} if name.endswith(".safetensors") else {"method": name}
    if budget.endswith("e"):
        given["epochs"] = int(budget[:-1])
    elif budget:
        given["minutes"] = float(budget)
    return enhance_volume(thick, Settings(spacing=step, axis=2, **given))[0].voxels


def planes(true: np.ndarray, found: np.ndarray, body: np.ndarray, across: int) -> str:
    """Mean PSNR and SSIM of some planes across an axis, of those through the body."""
    chosen = np.flatnonzero(body.any(axis=2 - across))[::SOME]
    pair = [np.moveaxis(np.clip(v, *HU_WINDOW), across, 0)[chosen] for v in (true, found)]
    errors = np.square(pair[1] - pair[0]).mean(axis=(1, 2))
    return f"{10 * np.log10(HU_RANGE**2 / errors).mean():.2f} {ssim(*pair, HU_RANGE):.4f}"


def row(truth: Truth, acquisition: Acquisition, thick: Volume, found: np.ndarray) -> dict[str, object]:
    """All that is measured of one result."""
    count = len(found)
    true = truth.voxels[:count]
    inner = slice(END, count - END)
    error = np.clip(found, *HU_WINDOW) - np.clip(true, *HU_WINDOW)
    squared = error**2

    def psnr(mask):
        return float(10 * np.log10(HU_RANGE**2 / squared[inner][mask].mean()))

    result: dict[str, object] = {"body": psnr(truth.body[:count][inner])}
    lung = truth.lung[:count]
    result["lung"] = psnr(lung[inner]) if lung[inner].any() else None
    result["ssim"] = ssim(true[inner][::SOME], found[inner][::SOME], HU_RANGE)
    for name, across in (("coronal", 1), ("sagittal", 2)):
        result[name] = planes(true[inner], found[inner], truth.body[0], across)
    column = truth.body[0]
    groups = distance_groups(count, truth.step, len(thick.voxels), acquisition.spacing)
    within = (np.array([i for i in which if END <= i < count - END]) for _, which in groups)
    result["groups"] = " ".join(
        f"{10 * np.log10(HU_RANGE**2 / squared[which][:, column].mean()):.2f}" for which in within
    )
    for name, mask in (("bias_lung", truth.aerated), ("bias_soft", truth.soft)):
        mask = mask[:count][inner]
        result[name] = float(error[inner][mask].mean()) if mask.any() else None
    result["laa950"] = None
    if lung.any():
        share = [densitometry(voxels, lung)["laa950_percent"] for voxels in (found, true)]
        result["laa950"] = share[0] - share[1]
    agreement = measure(found, thick.voxels, acquisition, truth.step)
    result |= {
        "c_mean": agreement.mean,
        "c_worst": agreement.worst_slice,
        "c_999": agreement.percentile_99_9,
    }
    return result


def measured(truth: Truth, protocols: list[str], methods: list[str]):
    """Yield a row for each protocol and method."""
    for protocol in protocols:
        thickness, spacing, profile = PROTOCOLS[protocol]
        acquisition = Acquisition(thickness * truth.step, spacing * truth.step, profile)
        thick = truth.thick(acquisition)
        count = slice_count(len(thick.voxels), acquisition.spacing, truth.step)
        for method in methods:
            started = time.monotonic()
            with PeakMemory("cpu") as memory:
                found = estimate(method, thick, count, truth.step)
            seconds = time.monotonic() - started
            label = Path(method).stem if method.endswith(".safetensors") else method
            yield {
                "scan": truth.name,
                "protocol": protocol,
                "method": label,
                **row(truth, acquisition, thick, found),
                "seconds": seconds,
                "peak_mib": memory.mib,
            }


def shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("thin", nargs="+", type=Path)
    parser.add_argument("--protocol", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument(
        "--method", nargs="+", default=["nearest", "linear", "interpolation", "consistent", "universal"],
        help="names of methods or files of weights; +M or +Ne for M minutes or N epochs of adaptation",
    )  # fmt: skip
    parser.add_argument("--slices", type=int, help="only this many slices in the middle of each scan")
    parser.add_argument("--rows", type=int, help="only this many rows in the middle of each slice")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = []
    for path in options.thin:
        for found in measured(Truth(path, options.slices, options.rows), options.protocol, options.method):
            if not rows:
                print("| " + " | ".join(found) + " |\n" + "|---" * len(found) + "|")
            print("| " + " | ".join(map(shown, found.values())) + " |", flush=True)
            rows.append(found)
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
