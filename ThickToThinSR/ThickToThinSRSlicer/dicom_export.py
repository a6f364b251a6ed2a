"""Exports a result as a derived DICOM series, with the input's files in Slicer's DICOM database."""

import pathlib

import slicer

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.dicom.derived_series import write_series
from ThickToThinSRLib.monitor import Monitor

from .node_volumes import provenance, volumeFromNode


def obstacle(node):
    """Why this volume cannot be exported as a derived series; empty if it can."""
    try:
        sourceFiles(node)
    except UserError as error:
        return str(error)
    return ""


def sourceFiles(node):
    """The DICOM files of the input that `node` was made from; UserError if there are none."""
    if node is None:
        raise UserError("Choose a result of this module")
    report = provenance(node)
    if "method" not in report:
        raise UserError(f"{node.GetName()} was not made by this module: choose one of its results")
    database = getattr(slicer, "dicomDatabase", None)
    uids = (report.get("sourceInstanceUIDs") or "").split()
    if not uids or database is None or not database.isOpen:
        raise UserError(
            f"{node.GetName()} was not made from a series in the DICOM database: save it as a file"
        )
    files = [database.fileForInstance(uid) for uid in uids]
    if not all(name and pathlib.Path(name).is_file() for name in files):
        raise UserError(
            f"The DICOM files that {node.GetName()} was made from are no longer in the DICOM database: "
            "save it as a file"
        )
    return files


def export(node, folder):
    """Write `node` as a series to a new subfolder of `folder`; returns the subfolder."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    volume = volumeFromNode(node)
    volume.source["files"] = sourceFiles(node)
    name = "".join(letter if letter.isalnum() or letter in "._- " else "_" for letter in node.GetName())
    target, number = folder / name, 1
    while target.exists():
        number += 1
        target = folder / f"{name} {number}"
    write_series(volume, target, provenance(node), Monitor())
    return target
