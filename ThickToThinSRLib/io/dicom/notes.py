"""What a user is told of DICOM files that were left out: how many of which kind, and the names of some."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sifting import Series

_NAMED = 3  # files that a note names


def counted(left_out: list[tuple[Path, str]], folder: Path) -> str:
    """How many files of which kind were left out, with the first ones' names."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path, kind in left_out:
        kinds[kind].append(path)
    return ", ".join(
        f"{len(paths)} {plural(kind, len(paths))} ({_names(paths, folder)})" for kind, paths in kinds.items()
    )


def plural(kind: str, count: int) -> str:
    """A kind's name for that many: its first noun takes the s."""
    noun, *rest = kind.split(" ", 1) if kind.startswith("image ") else [kind]
    return " ".join([noun if count == 1 else f"{noun}s", *rest])


def _names(paths: list[Path], folder: Path) -> str:
    names = [str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path) for path in paths]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def notes_of(series: list[Series], others: list[tuple[Path, str]], folder: Path) -> list[str]:
    """What to tell the user of files that were left out of `series`, or that belong to none."""
    left_out = [*(entry for one in series for entry in one.left_out), *others]
    copies = [pair for one in series for pair in one.copies]
    notes = []
    if left_out:
        notes.append(f"left out, no slices of a scan: {counted(left_out, folder)}")
    if copies:
        files = f"{len(copies)} file{'s' if len(copies) > 1 else ''}"
        names = _names([copy for copy, _ in copies], folder)
        first, kept = (path.relative_to(folder) for path in copies[0])
        notes.append(
            f"{files} with the SOP Instance UID of another counted once: {names} ({first} as {kept})"
        )
    return notes
