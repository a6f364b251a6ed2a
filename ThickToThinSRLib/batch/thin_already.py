"""A case whose slices are thin already: skipped, copied, or a failure, as the user wants it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..errors import UserError
from ..io.replacing import folder_replacing, replacing
from ..io.results import check_target, provenance_path
from ..settings import Settings
from .inputs import BatchInput

SKIP, COPY, FAIL = CHOICES = ("skip", "copy", "fail")


def copy_as_result(entry: BatchInput, settings: Settings, reason: str, overwrite: bool) -> None:
    """Copy the input's files to where its result would be, with a provenance that says so.

    Raises
    ------
    UserError
        If they cannot be written.
    """
    target = entry.target
    check_target(entry.source, target, overwrite)
    report = {
        "input": str(entry.source),
        "output": str(target),
        "asked": settings.for_provenance(),
        "method": "copied",
        "notes": [reason],
    }
    with replacing(provenance_path(target), ".json") as beside:
        beside.write_text(json.dumps(report, indent=2) + "\n")
        if entry.source.is_dir():
            with folder_replacing(target) as folder:
                for number, path in enumerate(entry.files, 1):
                    _copy(path, folder / f"{number:04d}.dcm")
        else:
            with replacing(target, "".join(target.suffixes[-2:])) as temporary:
                _copy(entry.source, temporary)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"{source}: cannot be copied to {target.parent} ({error.strerror})") from error
