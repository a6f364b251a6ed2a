"""Runs the command line in tests: as a process, or in this process if it is expected to refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import SimpleITK as sitk

from Testing.volumes import some_hu
from ThickToThinSRLib.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[1]
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
# One thread: the volumes are tiny, and tests should not wait for each other's threads. NumPy's warnings are
# errors: what the library makes of its input must not depend on numbers that overflow.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(REPOSITORY),
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "error::RuntimeWarning",
}


def command(*arguments) -> list[str]:
    """The command to give to subprocess."""
    return [sys.executable, "-m", "ThickToThinSRLib", *map(str, arguments)]


def run(*arguments, **options) -> subprocess.CompletedProcess:
    """Run the command line as a process of its own."""
    options = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 240, **options}
    return subprocess.run(command(*arguments), **options)


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file, folder and link under `folder` with what it holds."""
    entries: dict[str, bytes | str] = {}
    for place, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(place) / name
            if path.is_symlink():
                entries[str(path)] = os.readlink(path)
            else:
                entries[str(path)] = path.read_bytes() if path.is_file() else "not a file"
    return entries


def expect_refusal(capfd, folder: Path, *arguments) -> str:
    """Run the command line in this process; it must refuse with one line and change nothing in `folder`.

    Returns
    -------
    str
        The line.
    """
    before = contents(folder)
    capfd.readouterr()
    code = main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert code == 2, (code, out, err)
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert err.startswith("thicktothin")
    assert contents(folder) == before
    return err


def write(path: Path, voxels=None, spacing=(0.7, 0.8, 5.0), compress=True) -> Path:
    """Write an array with SimpleITK, even if this project would refuse it."""
    image = sitk.GetImageFromArray(some_hu() if voxels is None else voxels)
    if image.GetDimension() == 3:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path), compress)
    return path
