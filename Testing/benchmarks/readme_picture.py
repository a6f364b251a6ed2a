"""The README's picture: a scan that no weights were trained on, thick, interpolated, enhanced and as it is.

``python -m Testing.benchmarks.readme_picture FOLDER [--output PNG]`` makes the volumes that FOLDER lacks by
these commands, and draws crops of them::

    thicktothin phantom true.nrrd --spacing 1 --thickness 1 --seed 7
    thicktothin simulate true.nrrd thick.nrrd --thickness 5 --spacing 5
    thicktothin enhance thick.nrrd cubic.nrrd --method interpolation
    thicktothin enhance thick.nrrd ours.nrrd

The digital phantom is no patient; its true thin slices are known. All panels show voxels as they are, without
smoothing. The PSNR over the columns is that of the whole volume inside the body.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ThickToThinSRLib.cli.main import main as thicktothin
from ThickToThinSRLib.io.volume_files import read_volume
from ThickToThinSRLib.volume import Volume

from .against_truth import body_mask, errors

OUTPUT = Path(__file__).resolve().parents[2] / "Resources" / "Screenshots" / "comparison.png"
COMMANDS = {
    "true.nrrd": ("phantom", "{out}", "--spacing", "1", "--thickness", "1", "--seed", "7"),
    "thick.nrrd": ("simulate", "{true.nrrd}", "{out}", "--thickness", "5", "--spacing", "5"),
    "cubic.nrrd": ("enhance", "{thick.nrrd}", "{out}", "--method", "interpolation"),
    "ours.nrrd": ("enhance", "{thick.nrrd}", "{out}"),
}
CROP_MM = 84.0  # side of a crop
PIXEL_MM = 0.25  # of the picture


@dataclass(frozen=True)
class View:
    """A square crop: which plane, where it lies (LPS mm) and the window (width, level in HU)."""

    plane: str
    centre: tuple[float, float, float]
    window: tuple[float, float]
    name: str


VIEWS = (
    View("coronal", (95.0, 30.0, -90.0), (2000, -200), "coronal: ribs, diaphragm, vessels"),
    View("sagittal", (-74.0, 70.0, -75.0), (2000, -200), "sagittal: ribs and vessels"),
)


def make(folder: Path) -> dict[str, Volume]:
    """The four volumes; the command line makes those that the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {name: str(folder / name) for name in COMMANDS}
    for name, command in COMMANDS.items():
        if not (folder / name).exists():
            words = [names.get(word.strip("{}"), word) for word in command]
            words = [names[name] if word == "{out}" else word for word in words]
            if thicktothin(words):
                raise SystemExit(f"thicktothin {' '.join(words)} failed")
    return {name.split(".")[0]: read_volume(path) for name, path in names.items()}


def nearest_slices(volume: Volume, truth: Volume) -> np.ndarray:
    """The slice of `volume` nearest to each slice of `truth`, where both reach."""
    heights = truth.origin[2] + np.arange(len(truth.voxels)) * truth.spacing[2]
    index = np.rint((heights - volume.origin[2]) / volume.spacing[2]).astype(int)
    return volume.voxels[index[index < len(volume.voxels)]]


def crop(volume: Volume, view: View) -> np.ndarray:
    """HU of the nearest voxel at every pixel; upwards is the head."""
    offsets = np.arange(-CROP_MM / 2 + PIXEL_MM / 2, CROP_MM / 2, PIXEL_MM)
    along = [np.zeros(1), np.zeros(1), -offsets]
    along[0 if view.plane == "coronal" else 1] = offsets
    x, y, z = (
        np.rint((place + shift - origin) / spacing).astype(int)
        for place, shift, origin, spacing in zip(
            view.centre, along, volume.origin, volume.spacing, strict=True
        )
    )
    return volume.voxels[np.ix_(z, y, x)].reshape(len(z), -1)


def draw(volumes: dict[str, Volume], output: Path) -> None:
    """Columns thick, cubic, ours, true; a row a view; PSNR over the columns."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    truth = volumes["true"]
    quality = {}
    for name in ("thick", "cubic", "ours"):
        found = nearest_slices(volumes[name], truth)
        true = truth.voxels[: len(found)]
        quality[name] = errors(found, true, body_mask(true))
        print(f"{name:6} PSNR {quality[name][0]:.2f} dB, mean absolute error {quality[name][1]:.2f} HU")
    titles = {
        "thick": "thick, 5 mm",
        "cubic": "cubic interpolation",
        "ours": "ours (universal)",
        "true": "true thin, 1 mm",
    }
    side, gap, top, dpi = round(CROP_MM / PIXEL_MM), 6, 52, 100
    width, height = 4 * side + 3 * gap, top + len(VIEWS) * side + (len(VIEWS) - 1) * gap
    page = np.full((height, width), 255, np.uint8)
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
    FigureCanvasAgg(figure)
    for column, (name, title) in enumerate(titles.items()):
        left = column * (side + gap)
        for row, view in enumerate(VIEWS):
            wide, level = view.window
            grey = np.clip((crop(volumes[name], view) - level) / wide + 0.5, 0, 1)
            y = top + row * (side + gap)
            page[y : y + side, left : left + side] = np.rint(grey * 255)
            if column == 0:
                figure.text(
                    (left + 8) / width, 1 - (y + side - 14) / height, view.name, color="white", size=11,
                    va="center", bbox={"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 2},
                )  # fmt: skip
        middle = (left + side / 2) / width
        below = f"PSNR {quality[name][0]:.1f} dB" if name in quality else "the reference"
        figure.text(middle, 1 - 15 / height, title, ha="center", va="center", size=13, weight="bold")
        figure.text(middle, 1 - 37 / height, below, ha="center", va="center", size=12)
    figure.figimage(page, cmap="gray", vmin=0, vmax=255, origin="upper", zorder=-1)
    figure.savefig(output, dpi=dpi)
    shrink(output)


def shrink(path: Path) -> None:
    """Write the picture again with one grey byte a pixel."""
    from PIL import Image

    Image.open(path).convert("L").save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for the volumes; about 150 MB")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    draw(make(options.folder), options.output)
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
