"""What a folder holds of DICOM: series of slices, files that are none, damaged files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from .headers import Found, look_at
from .sifting import Series, sifted

BROKEN_LINK = "broken link"
_NO_STACK = "image of a series that is no stack"


@dataclass
class Inventory:
    """DICOM files by what they are.

    Attributes
    ----------
    series : dict of str to Series
        By UID; those without any image that may be a slice as well.
    others : list of (Path, str)
        Files that belong to no series, and what they are.
    damaged : list of (Path, UserError)
        Files that cannot be read.
    """

    series: dict[str, Series]
    others: list[tuple[Path, str]]
    damaged: list[tuple[Path, UserError]]

    def candidates(self) -> dict[str, Series]:
        """The series between which a user can choose, see :func:`choices`."""
        return choices(self.series)

    def left_out(self, chosen: Iterable[Series]) -> list[tuple[Path, str]]:
        """Files of all series but the chosen ones that are no slices to choose, and what they are."""
        chosen, candidates = list(chosen), self.candidates()
        files = list(self.others)
        for uid, series in self.series.items():
            if series in chosen:
                continue
            files += series.left_out
            if uid not in candidates:
                kind = f"image of modality {series.modality}" if series.is_stack else _NO_STACK
                files += [(image.path, kind) for image in series.images]
        return files


def choices(series: dict[str, Series]) -> dict[str, Series]:
    """Those of some series that a user may want: CT that lies at several places in the patient.

    If there is none, other modalities that do; else those with an image that may be a slice: reading them
    says what is wrong.
    """
    some = {uid: one for uid, one in series.items() if one.images}
    stacks = {uid: one for uid, one in some.items() if one.is_stack}
    return {uid: one for uid, one in stacks.items() if one.modality in ("CT", "")} or stacks or some


def inventory(paths: Iterable[Path], check: Callable[[], None] = lambda: None) -> Inventory:
    """Look at files; those that are not DICOM are passed over.

    Parameters
    ----------
    check : callable
        Called before each file; may raise, to stop.
    """
    by_series: dict[str, list[Found]] = defaultdict(list)
    others, damaged = [], []
    for path in paths:
        check()
        if path.is_symlink() and not path.exists():
            others.append((path, BROKEN_LINK))
            continue
        if not path.is_file():  # a pipe or device would never answer
            continue
        try:
            found = look_at(path)
        except UserError as error:
            damaged.append((path, error))
            continue
        if found is None:
            continue
        if found.series:
            by_series[found.series].append(found)
        else:
            others.append((path, found.other or "other object"))
    return Inventory({uid: sifted(uid, files) for uid, files in by_series.items()}, others, damaged)
