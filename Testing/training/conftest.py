"""A tiny data set like RPLHR-CT for the tests of training, and trainings of tiny networks on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from Testing.training.runs import TINY, quiet_prepare
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from training.data.lookalike import write_lookalike
from training.train import main


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Quadrants of a look-alike's person in RPLHR-CT's layout: each a case of 5 thick slices, 32 x 32 pixels.

    Two cases to train and to test on, one for validation; the second test case is the first training one.
    """
    folder = tmp_path_factory.mktemp("data")
    write_lookalike(folder / "person", (1, 0, 0), side=64, thick_slices=5)
    for kind in ("1mm", "5mm"):
        scan = read_volume(folder / "person" / "train" / kind / "CT00000001.nii.gz")
        quadrants = [(y, x) for y in (0, 32) for x in (0, 32)]
        for place, name in (
            (0, "train/1"), (1, "train/2"), (2, "val/1"), (3, "test/1"), (0, "test/2"),
        ):  # fmt: skip
            y, x = quadrants[place]
            split, number = name.split("/")
            path = folder / "published" / split / kind / f"CT{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            voxels, spacing = scan.voxels[:, y : y + 32, x : x + 32], (0.7, 0.7, scan.spacing[2])
            write_volume(replace(scan, voxels=voxels, spacing=spacing), path)
    return folder / "published"


@pytest.fixture(scope="session")
def prepared(published, tmp_path_factory):
    """The same as arrays."""
    return quiet_prepare(published, tmp_path_factory.mktemp("data") / "prepared")


@pytest.fixture(scope="session")
def finished(prepared, tmp_path_factory):
    """The folder of a finished training of a tiny MPU-Net."""
    run = tmp_path_factory.mktemp("runs") / "mpunet"
    settings = [*TINY["mpunet"], "crop=16", "steps=4", "workers=0", "learning_rate=0.001"]
    assert main(["mpunet", "--data", str(prepared), "--output", str(run), "--set", *settings]) == 0
    return run
