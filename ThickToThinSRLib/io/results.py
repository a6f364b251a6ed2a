"""Where a result goes: a volume file or a folder with a derived DICOM series, its provenance beside it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from ..errors import UserError
from ..monitor import Monitor
from ..volume import Volume
from .dicom.derived_series import wants_series, write_series
from .replacing import check_free, replacing
from .volume_files import write_volume, written_suffix


def provenance_path(target: Path) -> Path:
    """Where the provenance of the result `target` is kept."""
    return target.with_name(target.name + ".provenance.json")


def check_target(source: Path, target: Path, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any work."""
    if not target.name:
        raise UserError(f"{target}: name a new file or folder in it")
    if wants_series(source, target):
        _check_folder(source, target, overwrite)
    else:
        written_suffix(target)
        check_free(target, overwrite, source)
    check_free(provenance_path(target), overwrite=True)


def _check_folder(source: Path, target: Path, overwrite: bool) -> None:
    if not target.is_dir():
        check_free(target, overwrite, source)
    elif target.is_symlink() or os.path.ismount(target):
        raise UserError(f"{target}: is a link or a mount point; name a new folder in it")
    elif any(target.iterdir()):
        ours = provenance_path(target).is_file()
        if not (ours and overwrite):  # only what this program wrote is ever removed
            advice = "choose another name" + (" or add {overwrite}" if ours else "")
            raise UserError(f"{target}: this folder is not empty; {advice}", "overwrite")
        if Path(source).resolve().is_relative_to(target.resolve()):
            raise UserError(f"{target}: holds the input itself; choose another name")
        names = sorted(entry.name for entry in target.iterdir() if not entry.name.startswith("."))
        foreign = [name for name in names if not re.fullmatch(r"\d{4,}\.dcm", name)]
        if foreign:
            raise UserError(f"{target}: holds {foreign[0]}, which would be lost; choose another name")


def write_result(thin: Volume, source: Path, target: Path, report: dict, monitor: Monitor) -> None:
    """Write result and provenance, both or neither."""
    with replacing(provenance_path(target), ".json") as beside:
        beside.write_text(json.dumps(report, indent=2) + "\n")
        if wants_series(source, target):
            write_series(thin, target, report, monitor)
        else:
            write_volume(thin, target)
