"""What the methods do to measurements: nodules, vessels, airways, densitometry, lung volume.

``python -m Testing.benchmarks.measurements [--scan THIN ...] [--universal WEIGHTS]`` prints the tables of
docs/measurements.md. Thick slices are averaged from thin ones, each method makes thin slices again, and the
same measurement is read on all of them; what it reads on the true thin slices stands in the first row.
`--universal` names weights that have not seen the scans.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from Testing.benchmarks.quality import nearest
from Testing.nodules import Planted, free_places, plant
from Testing.tubes import AIR_HU, BLOOD_HU, LENGTH, LUNG_HU, block
from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.evaluation.lung import densitometry, lung_mask
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume

END = 5
METHODS = ("thick", "interpolation", "consistent", "universal")
KINDS = {"solid": 30.0, "ground glass": -600.0}
SIZES = ((3.0, 5.0), (5.0, 8.0), (8.0, 12.0))


def results(
    thin: Volume, acquisition: Acquisition, methods, weights: Path | None
) -> Iterator[tuple[str, Volume]]:
    """The true thin slices, then those of each method; ``+noise`` after a name restores noise."""
    thick = simulate(thin, acquisition, axis=2)
    thick = replace(thick, voxels=np.rint(thick.voxels).astype(np.int16))
    step = thin.spacing[2]
    count = int((len(thick.voxels) - 1) * acquisition.spacing / step + 1e-6) + 1
    yield "true thin slices", replace(thin, voxels=thin.voxels[:count])
    for name in methods:
        method, _, noise = name.partition("+")
        if method == "thick":
            yield name, replace(thin, voxels=nearest(thick, count, step))
            continue
        checkpoint = weights if method == "universal" else None
        settings = Settings(
            method=method, spacing=step, axis=2, checkpoint=checkpoint, noise="restore" if noise else "keep"
        )
        yield name, enhance_volume(thick, settings)[0]


def heading(*titles: str) -> None:
    """First lines of a table."""
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|", flush=True)


def nodule_scan(seed: int) -> tuple[Volume, list[tuple[str, Planted]]]:
    """A phantom with nodules of random size and kind at random positions between the slices."""
    thin = thorax((0.7, 0.7, 1.0), seed=seed, size_mm=(300.0, 190.0), z_range=(-110.0, 0.0))
    rng = np.random.default_rng(seed)
    lung = lung_mask(thin)
    planted = []
    for number, place in enumerate(free_places(thin, lung, 1.5, 15.0, seed)):
        low, high = SIZES[number % 3]
        kind = list(KINDS)[number // 3 % 2]
        planted.append((kind, Planted(tuple(place), float(rng.uniform(low, high)), KINDS[kind])))
    return plant(thin, [nodule for _, nodule in planted]), planted


def measured_nodule(volume: Volume, nodule: Planted) -> tuple[float | None, float, float]:
    """Volume in mm3 by the half-contrast threshold (None if not found), mean HU of the core, CNR."""
    box = nodule.box(volume, 3.0)
    inside = volume.voxels[box].astype(np.float32)
    cover = nodule.cover(volume, box)
    background = float(np.median(inside[cover == 0]))
    spread = 1.4826 * float(np.median(np.abs(inside[cover == 0] - background)))
    labels, _ = ndimage.label(inside > 0.5 * (nodule.hu + LUNG_HU))
    at = tuple(round(c) - part.start for c, part in zip(nodule.centre, box, strict=True))
    label = labels[at]
    core = float(np.average(inside, weights=cover))
    found = float((labels == label).sum() * np.prod(volume.spacing)) if label else None
    return found, core, (core - background) / max(spread, 1.0)


def nodules(acquisition: Acquisition, methods, seeds) -> None:
    """Table of nodules."""
    rows: dict[tuple[str, str, int], list] = {}
    for seed in seeds:
        thin, planted = nodule_scan(seed)
        for name, volume in results(thin, acquisition, methods, None):
            for kind, nodule in planted:
                size = next(i for i, (low, high) in enumerate(SIZES) if low <= nodule.diameter <= high)
                true = np.pi / 6 * nodule.diameter**3
                found, core, cnr = measured_nodule(volume, nodule)
                rows.setdefault((name, kind, size), []).append((true, nodule.diameter, found, core, cnr))
    heading("kind, diameter", "read on", "number", "missed", "volume: mean error", "mean absolute error",
            "diameter: mean absolute error", "mean HU", "contrast to noise")  # fmt: skip
    for (name, kind, size), entries in sorted(rows.items(), key=lambda item: (item[0][1], item[0][2])):
        true, diameter = (np.array([entry[index] for entry in entries]) for index in (0, 1))
        there = np.array([entry[2] is not None for entry in entries])
        volume = np.array([entry[2] or np.nan for entry in entries])
        error = 100 * (volume / true - 1)[there]
        across = np.abs(np.cbrt(6 / np.pi * volume) - diameter)[there]
        label = f"{kind}, {SIZES[size][0]:g} to {SIZES[size][1]:g} mm"
        core, contrast = np.mean([entry[3:] for entry in entries], axis=0)
        print(
            f"| {label} | {name} | {len(entries)} | {100 * (1 - there.mean()):.0f} % | "
            f"{error.mean():+.0f} % | {np.abs(error).mean():.0f} % | {across.mean():.2f} mm | {core:.0f} | "
            f"{contrast:.1f} |",
            flush=True,
        )


def airways_and_vessels(acquisition: Acquisition, methods) -> None:
    """Table of tubes: sizes from volumes over half contrast, divided by the known length."""
    thin, placed = block()
    heading("read on", "vessel diameter: mean error", "mean absolute error",
            "airway lumen diameter: mean error", "wall area: mean error")  # fmt: skip
    voxel = float(np.prod(thin.spacing))
    for name, volume in results(thin, acquisition, methods, None):
        vessels, lumens, walls = [], [], []
        for tube, box in placed:
            inside = volume.voxels[box].astype(np.float32)
            dense = (inside > 0.5 * (BLOOD_HU + LUNG_HU)).sum() * voxel / LENGTH
            if not tube.lumen:
                vessels.append(np.sqrt(4 / np.pi * dense) - tube.diameter)
                continue
            hollow = (inside < 0.5 * (AIR_HU + LUNG_HU)).sum() * voxel / LENGTH
            lumens.append(np.sqrt(4 / np.pi * hollow) - tube.lumen)
            walls.append(100 * (dense / (np.pi / 4 * (tube.diameter**2 - tube.lumen**2)) - 1))
        print(
            f"| {name} | {np.mean(vessels):+.2f} mm | {np.mean(np.abs(vessels)):.2f} mm | "
            f"{np.mean(lumens):+.2f} mm | {np.mean(walls):+.0f} % |",
            flush=True,
        )


def densities(path: Path, protocols, options) -> None:
    """Table of a real scan: densitometry in the true lung, volume of the lung found in each result."""
    volume = read_input(path)
    middle = slice(max(0, len(volume.voxels) - options.slices) // 2, None)
    thin = replace(volume, voxels=volume.voxels[middle][: options.slices], slice_axis=2, thickness=None)
    step = thin.spacing[2]
    for thickness, spacing in protocols:
        acquisition = Acquisition(thickness * step, spacing * step)
        lung = truth = None
        for name, found in results(thin, acquisition, options.method, options.universal):
            inner = slice(END, len(found.voxels) - END)
            own = lung_mask(found)
            lung = own if lung is None else lung
            values = found.voxels[inner][lung[inner]]
            core = ndimage.binary_erosion(lung[inner], iterations=3)
            numbers = {
                **densitometry(found.voxels[inner], lung[inner]),
                "litres": own[inner].sum() * np.prod(found.spacing) / 1e6,
                "mean": float(values.mean()),
                "deviation": float(found.voxels[inner][core].std()),
            }
            truth = truth or numbers
            off = {key: numbers[key] - truth[key] for key in numbers}
            if numbers is truth:
                off = numbers
            label = f"{path.name.split('.')[0]}, {thickness:g}/{spacing:g}"
            print(
                f"| {label} | {name} | {off['laa950_percent']:+.2f} | {off['perc15_hu']:+.0f} | "
                f"{1000 * off['litres']:+.0f} | {off['mean']:+.1f} | {off['deviation']:+.1f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scan", nargs="*", type=Path, default=[], help="thin scans of chests")
    parser.add_argument("--universal", type=Path, help="weights that have not seen the scans")
    parser.add_argument("--method", nargs="+", default=[*METHODS, "universal+noise"])
    parser.add_argument("--slices", type=int, default=1000, help="only this many in the middle of each scan")
    parser.add_argument(
        "--seeds", type=int, default=5, help="phantoms with nodules; 0 leaves the phantom out"
    )
    options = parser.parse_args()
    acquisition = Acquisition(5.0, 5.0)
    methods = [name for name in options.method if not name.endswith("+noise")]
    if options.seeds:
        tables: list[Callable[[], None]] = [
            lambda: nodules(acquisition, methods, range(20, 20 + options.seeds)),
            lambda: airways_and_vessels(acquisition, methods),
        ]
        for table in tables:
            table()
            print()
    if options.scan:
        heading("scan, thickness/spacing in thin slices", "read on", "LAA-950, points", "Perc15, HU",
                "lung volume, ml", "mean HU of the lung", "standard deviation, HU")  # fmt: skip
    for path in options.scan:
        densities(path, ((5, 5), (5, 2.5)), options)


if __name__ == "__main__":
    main()
