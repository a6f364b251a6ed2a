"""A file of simulated thick slices with true thin slices and those that several networks agree on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.io.replacing import replacing

# Beside the blocks: the weights of `universal` that taught, and the names of the scans.
TEACHER, NAMES = "teacher.safetensors", "scans.json"
# HU are stored as whole numbers of this fraction of one.
_PARTS = 8


@dataclass(frozen=True)
class TaughtBlock:
    """Thick slices, with true and taught thin slices.

    Attributes
    ----------
    thick : ndarray, shape (M, H, W)
        HU.
    truth, taught : ndarray, shape (N, H, W)
        Thin slices, HU; the first lies at the first thick one.
    assumed : Acquisition
        What the network is told of the thick slices.
    step, pixel : float
        Distance of the thin slices and size of the pixels, mm.
    """

    thick: np.ndarray
    truth: np.ndarray
    taught: np.ndarray
    assumed: Acquisition
    step: float
    pixel: float

    def save(self, path: Path) -> None:
        """Write the block, in one move."""
        facts = {"assumed": asdict(self.assumed), "step": self.step, "pixel": self.pixel}
        arrays = {name: _stored(getattr(self, name)) for name in ("thick", "truth", "taught")}
        with replacing(path, ".npz") as temporary:
            np.savez(temporary, facts=json.dumps(facts), **arrays)


def read_block(path: Path) -> TaughtBlock:
    """Read a block; its arrays are in eighths of a HU, see :func:`in_hu`."""
    with np.load(path) as stored:
        facts = json.loads(str(stored["facts"]))
        arrays = {name: stored[name] for name in ("thick", "truth", "taught")}
    return TaughtBlock(**arrays, assumed=Acquisition(**facts.pop("assumed")), **facts)


def in_hu(stored: np.ndarray) -> np.ndarray:
    """Stored voxels in HU, float32."""
    return stored.astype(np.float32) / _PARTS


def _stored(voxels: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(voxels * _PARTS, -32768, 32767)).astype(np.int16)
