"""How tests train: tiny networks on the CPU, in this process or in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from Testing.command_line import ENVIRONMENT, REPOSITORY
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.volume import Volume
from training.prepare import main as prepare
from training.train import main as train_main

TINY = {
    "mpunet": ["features=4"],
    "tvsrn": ["encoder_blocks=1", "decoder_blocks=2", "in_plane_groups=1", "heads=2", "mlp_ratio=1"],
    "saint": [
        "depth=4",
        "features=8",
        "blocks=2",
        "layers=2",
        "growth=4",
        "fusion_blocks=2",
        "fusion_layers=2",
    ],
}
COMMON = ["crop=16", "workers=0", "learning_rate=0.001", "precision=float32"]


def arguments(recipe: str, data: Path, run: Path, *settings: str, resume: bool = False) -> list[str]:
    """Of the command that trains a tiny network."""
    found = [recipe, "--data", str(data), "--output", str(run), "--device", "cpu"]
    return [*found, *(["--resume"] if resume else []), "--set", *TINY[recipe], *COMMON, *settings]


def train(recipe: str, data: Path, run: Path, *settings: str, resume: bool = False) -> int:
    """Train in this process; returns the exit code."""
    return train_main(arguments(recipe, data, run, *settings, resume=resume))


def process(*command: str, timeout: float = 500) -> subprocess.CompletedProcess:
    """Run Python with these arguments; at a timeout its own processes end with it."""
    with subprocess.Popen(
        [sys.executable, *command],
        env=ENVIRONMENT, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as started:  # fmt: skip
        try:
            out, err = started.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, started.returncode, out, err)


def quiet_prepare(source: Path, target: Path, *options: str) -> Path:
    """Prepare a folder of pairs; returns `target`."""
    assert prepare(["folder", str(source), str(target), "--workers", "1", *options]) == 0
    return target


def write_pair(
    folder: Path, thick: Volume, thin: Volume, name: str = "CT1.nii.gz", split: str = "train"
) -> None:
    """One pair in RPLHR-CT's layout."""
    for kind, volume in (("5mm", thick), ("1mm", thin)):
        (folder / split / kind).mkdir(parents=True, exist_ok=True)
        write_volume(volume, folder / split / kind / name)


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    """Of a run's folder."""
    return load_file(run / f"{name}.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two networks have the same weights, bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
