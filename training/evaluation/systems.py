"""What is measured: methods and checkpoints, run as a user runs them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.checkpoint_header import read_header
from ThickToThinSRLib.enhance import choose_method
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.methods import METHODS, Options, check_adaptation
from ThickToThinSRLib.sliding_window import depth_parts
from ThickToThinSRLib.volume import Volume

from ..data.cases import Pair
from ..recipes import NAMES, Recipe, find_recipe

_COUNTED_SIDE = 64  # pixels of the tile whose operations are counted; the work grows with the pixels


@dataclass(frozen=True)
class System:
    """One method with its weights.

    Attributes
    ----------
    name : str
        In files: the recipe or method.
    title : str
        In tables and figures.
    method : str
        In the library's registry.
    card : dict, optional
        Model card of the weights, with their ``path``.
    epochs, minutes
        For methods that adapt to the scan.
    """

    name: str
    title: str
    method: str
    card: dict[str, Any] | None = None
    epochs: int | None = None
    minutes: float | None = None

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of a published system."""
        return find_recipe(self.name) if self.name in NAMES else None

    @property
    def tiled(self) -> bool:
        """Whether the authors' tiling differs from the seamless one: networks of a fixed factor."""
        return self.card is not None and self.card["window"]["factor"] is not None

    @cached_property
    def weights(self) -> int:
        """Number of weights."""
        if self.card is None:
            return 0
        header = read_header(Path(self.card["path"]))
        return sum(int(np.prod(e["shape"])) for key, e in header.items() if key != "__metadata__")

    @cached_property
    def gflop_per_window(self) -> float | None:
        """GFLOP of one window for one pixel of its slices; None where windows are not of fixed factor."""
        if not self.tiled:
            return None
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        from ThickToThinSRLib.networks import build

        # With gradients on: fused inference kernels would not be counted.
        network = build(self.card["network"], **self.card["arguments"]).eval()
        side = _COUNTED_SIDE
        x = torch.zeros(1, 1, network.window.depth, side, side)
        with FlopCounterMode(display=False) as counter:
            network(x)
        return counter.get_total_flops() / 1e9 / side**2

    def gflop(self, thick: Volume) -> float | None:
        """GFLOP of a whole scan by the authors' windows; a multiplication and an addition are two."""
        if self.gflop_per_window is None:
            return None
        slices, height, width = thick.voxels.shape
        window = _window(self.card)
        windows = len(depth_parts(max(slices, window.depth), window, "authors"))
        return self.gflop_per_window * height * width * windows


@dataclass(frozen=True)
class Prediction:
    """Thin slices (N, H, W) in HU, float32, and what they cost."""

    hu: np.ndarray
    seconds: float
    peak_mib: float | None


def find_systems(
    methods: list[str], checkpoints: list[Path], epochs: int | None = None, minutes: float | None = None
) -> list[System]:
    """Systems of method names and weights files, each with a name of its own.

    Raises
    ------
    UserError
        For an unknown method, or a file that holds no weights.
    """
    found = []
    for name in methods:
        method, card = choose_method(name, None)
        taken = {k: v for k, v in (("epochs", epochs), ("minutes", minutes)) if k in METHODS[name].options}
        check_adaptation(method, **taken)
        recipe = find_recipe(name) if name in NAMES else None
        found.append(System(name, recipe.title if recipe else name, method, card, **taken))
    for path in checkpoints:
        method, card = choose_method(None, path)
        name = card.get("recipe", {}).get("name", method)
        taken = {k: v for k, v in (("epochs", epochs), ("minutes", minutes)) if k in METHODS[method].options}
        found.append(System(name, card["title"], method, card, **taken))
    names = [system.name for system in found]
    for index, system in enumerate(found):
        if names.count(system.name) > 1 and system.card:
            path = Path(system.card["path"])
            mark = f"{path.parent.name}/{path.stem}"
            found[index] = replace(system, name=f"{system.name} {mark}", title=f"{system.title} ({mark})")
    if len({system.name for system in found}) < len(found):
        raise UserError("a system is named twice")
    return found


def predict_pair(system: System, pair: Pair, protocol: str, device: str, precision: str) -> Prediction:
    """Run a system on the thick slices of a pair.

    Parameters
    ----------
    protocol : {"authors", "seamless"}
        How windows lie. Images that the authors' tiles do not fill, on which their code fails, are filled up
        with air.
    """
    thick = replace(pair.thick, voxels=np.asarray(pair.thick.voxels, np.float32))
    factor = (len(pair.thin.voxels) - 1) // (len(thick.voxels) - 1)
    spacing = thick.spacing[2]
    height, width = thick.voxels.shape[1:]
    tiling = protocol if system.tiled else "seamless"
    if tiling == "authors":
        tile = system.card["window"]["tile"]
        gaps = [(0, -size % tile) for size in (height, width)]
        padded = np.pad(thick.voxels, [(0, 0), *gaps], constant_values=HU_WINDOW[0])
        thick = replace(thick, voxels=padded)
    options = Options(
        axis=2,
        checkpoint=Path(system.card["path"]) if system.card else None,
        tiling=tiling,
        device=device,
        precision=precision,
        epochs=system.epochs,
        minutes=system.minutes,
    )
    with _PeakMemory(device) as memory:
        started = time.perf_counter()
        thin = METHODS[system.method].enhance(
            thick,
            spacing / factor,
            Acquisition(spacing, spacing),
            options,
            lambda *step: None,
            lambda: False,
        )
        seconds = time.perf_counter() - started
    return Prediction(thin.voxels[:, :height, :width], seconds, memory.mib)


class _PeakMemory:
    """Highest use of a GPU's memory within a ``with`` block above that before it, MiB.

    None on the CPU: what a process holds there is mostly what came before (``Testing.benchmarks.volumes``
    measures it in processes of their own).
    """

    def __init__(self, device: str):
        import torch

        self.gpu = torch.cuda if device.startswith("cuda") and torch.cuda.is_available() else None
        self.device = device
        self.mib: float | None = None

    def __enter__(self):
        if self.gpu:
            self.gpu.reset_peak_memory_stats(self.device)
            self.before = self.gpu.memory_allocated(self.device)
        return self

    def __exit__(self, *_):
        if self.gpu:
            self.mib = (self.gpu.max_memory_allocated(self.device) - self.before) / 2**20


def _window(card: dict):
    from ThickToThinSRLib.networks import WindowSpec

    return WindowSpec(**card["window"])
