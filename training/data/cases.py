"""The pairs of a data set on disk. Three layouts are known:

* *rplhr*: ``{train,val,test}/{1mm,5mm}/CASE.nii.gz`` (or a folder of DICOM files as CASE);
* *paired*: ``HD_1mm/CASE.nii.gz``, ``HD_5mm/CASE.nii.gz`` and a JSON file with the lists ``train``, ``val``,
  ``test`` (that of CTH-Net);
* *prepared*: arrays that ``python -m training.prepare`` writes, which need no unpacking.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.intensity import detect_intensity, to_hu
from ThickToThinSRLib.volume import Volume, through_plane_axis

from .headers import shape_in_headers

SPLITS = ("train", "val", "test")
INDEX = "index.json"


@dataclass(frozen=True)
class ScanPair:
    """A thick and a thin scan of one patient in HU.

    Attributes
    ----------
    thick, thin : Volume
        Slices along the first array axis.
    scales : tuple of {"hu", "unit"}
        Intensity scales of both files.
    """

    thick: Volume
    thin: Volume
    scales: tuple[str, str] = ("hu", "hu")


@dataclass(frozen=True)
class Case:
    """One pair on disk.

    Attributes
    ----------
    name : str
        Name of the patient.
    split : {"train", "val", "test"}
        What the case is used for.
    thick, thin : Path
        Volume files, DICOM folders or prepared arrays.
    geometry : dict, optional
        For prepared arrays: shape, spacing, origin and direction of ``thick`` and ``thin``.
    """

    name: str
    split: str
    thick: Path
    thin: Path
    geometry: dict | None = None

    def read(self) -> ScanPair:
        """The pair in HU; prepared arrays are mapped into memory, not read.

        Raises
        ------
        UserError
            If a file is missing or damaged; the message names the case.
        """
        try:
            if self.geometry is not None:
                return ScanPair(*(self._mapped(kind, path) for kind, path in self._files()))
            volumes = _axial(*(_read(path) for _, path in self._files()))
        except UserError as error:
            raise UserError(f"case {self.name}: {error}") from error
        scales = tuple(detect_intensity(volume.voxels) for volume in volumes)
        thick, thin = (
            replace(volume, voxels=_rounded_if_whole(to_hu(volume.voxels))) if scale == "unit" else volume
            for volume, scale in zip(volumes, scales, strict=True)
        )
        return ScanPair(thick, thin, scales)

    def thick_shape(self) -> tuple[int, int, int] | None:
        """Thick slices, rows and columns according to the headers alone; None if they cannot be read."""
        return tuple(self.geometry["thick"]["shape"]) if self.geometry else shape_in_headers(self.thick)

    def _files(self):
        return ("thick", self.thick), ("thin", self.thin)

    def _mapped(self, kind: str, path: Path) -> Volume:
        try:
            voxels = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path}: missing or damaged array ({error}); prepare the data again") from error
        place = self.geometry[kind]
        if list(voxels.shape) != place["shape"]:
            raise UserError(f"{path}: holds {voxels.shape}, not {place['shape']}; prepare the data again")
        return Volume(voxels, place["spacing"], place["origin"], np.array(place["direction"]), slice_axis=2)


def find_cases(folder: Path) -> tuple[str, list[Case]]:
    """The layout of a data set and its cases, in the order of split and name.

    Raises
    ------
    UserError
        If the folder has none of the three layouts, or a thick scan without its thin one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of data")
    if (folder / INDEX).is_file():
        return "prepared", _prepared(folder)
    if (folder / "HD_1mm").is_dir() and (folder / "HD_5mm").is_dir():
        return "paired", _paired(folder)
    if any((folder / split / "5mm").is_dir() for split in SPLITS):
        return "rplhr", _rplhr(folder)
    raise UserError(
        f"{folder}: no known layout; expected {{train,val,test}}/{{1mm,5mm}}, or HD_1mm and HD_5mm with a "
        "JSON split, or what training.prepare wrote"
    )


def cases_of(folder: Path, split: str) -> list[Case]:
    """The cases of one split; raises UserError if there is none."""
    layout, cases = find_cases(folder)
    chosen = [case for case in cases if case.split == split]
    if not chosen:
        raise UserError(f"{folder} ({layout}): its split {split!r} is empty")
    return chosen


def _prepared(folder: Path) -> list[Case]:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return [
            Case(
                entry["name"],
                entry["split"],
                folder / entry["thick"]["file"],
                folder / entry["thin"]["file"],
                {kind: entry[kind] for kind in ("thick", "thin")},
            )
            for entry in index["cases"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / INDEX}: damaged index ({error!r}); prepare the data again") from error


def _rplhr(folder: Path) -> list[Case]:
    cases = []
    for split in SPLITS:
        thick, thin = (_volumes(folder / split / kind) for kind in ("5mm", "1mm"))
        _check_partners(folder / split, thick, thin)
        cases += [Case(name, split, thick[name], thin[name]) for name in sorted(thick)]
    return cases


def _paired(folder: Path) -> list[Case]:
    thick, thin = (_volumes(folder / kind) for kind in ("HD_5mm", "HD_1mm"))
    split = _split_file(folder)
    cases: list[Case] = []
    for name in SPLITS:
        for case in split.get(name, []):
            case = case if case in thick else stem(Path(case))
            if case not in thick or case not in thin:
                lacking = "HD_5mm" if case not in thick else "HD_1mm"
                raise UserError(f"{folder}: case {case} of split {name!r} is missing in {lacking}")
            cases.append(Case(case, name, thick[case], thin[case]))
    _check_listed_once(folder, cases)
    return cases


def _check_listed_once(folder: Path, cases: list[Case]) -> None:
    """Refuse a patient in two splits, or twice in one."""
    splits: dict[str, list[str]] = {}
    for case in cases:
        splits.setdefault(case.name, []).append(case.split)
    for name, listed in splits.items():
        if len(listed) > 1:
            raise UserError(f"{folder}: case {name} is listed {len(listed)} times ({', '.join(listed)})")


def _split_file(folder: Path) -> dict[str, list[str]]:
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: is not valid JSON ({error})") from error
        if isinstance(content, dict) and all(isinstance(content.get(split), list) for split in SPLITS):
            return {split: [str(name) for name in content[split]] for split in SPLITS}
    raise UserError(f"{folder}: needs a JSON file with the lists train, val and test")


def _read(path: Path) -> Volume:
    # Prepared data need no library that reads files of scans.
    from ThickToThinSRLib.io.reading import read_input

    return read_input(path)


def _suffixes() -> tuple[str, ...]:
    from ThickToThinSRLib.io.volume_files import SUFFIXES

    return SUFFIXES


def _volumes(folder: Path) -> dict[str, Path]:
    """Volume files and DICOM folders in a folder, by their names without suffix."""
    if not folder.is_dir():
        return {}
    paths = [p for p in folder.iterdir() if not p.name.startswith(".")]
    return {stem(p): p for p in paths if p.is_dir() or p.name.lower().endswith(_suffixes())}


def stem(path: Path) -> str:
    """File name without the suffix of a volume file."""
    for suffix in _suffixes():
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def _check_partners(folder: Path, thick: dict, thin: dict) -> None:
    alone = sorted(thick.keys() ^ thin.keys())
    if alone:
        missing = "1mm" if alone[0] in thick else "5mm"
        raise UserError(f"{folder}: {len(alone)} case(s) lack a partner; {alone[0]} is missing in {missing}")


def _axial(thick: Volume, thin: Volume) -> list[Volume]:
    """Both scans with their slices along the last index axis, whatever axis they have in the files."""
    axis = through_plane_axis(thick)  # the spacing of thin slices may equal that of their pixels
    if axis == 2:
        return [thick, thin]
    order = [a for a in range(3) if a != axis] + [axis]
    return [
        replace(
            volume,
            voxels=volume.slices_first(axis),
            spacing=tuple(volume.spacing[a] for a in order),
            direction=volume.direction[:, order],
            slice_axis=2,
        )
        for volume in (thick, thin)
    ]


def _rounded_if_whole(hu: np.ndarray) -> np.ndarray:
    """HU rounded to whole numbers, if only the single precision of [0, 1] moved them a little off."""
    rounded = np.rint(hu)
    return rounded.astype(np.int16) if np.abs(hu - rounded).max() < 0.02 else hu.astype(np.float32)
