"""Thin slices made again by each method from averaged ones, for the benchmarks that read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from Testing.benchmarks.quality import nearest
from Testing.benchmarks.work_left import WorkLeft
from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.trust.noise import restore_noise
from ThickToThinSRLib.volume import Volume

TRUTH = "true thin slices"
THICK = "thick"
NOISE = "+noise"
END = 5  # slices at either end that are not measured


@dataclass
class Run:
    """What all tables of one run of the benchmark share.

    Attributes
    ----------
    weights : Path, optional
        Of `universal`, instead of those that ship.
    left : WorkLeft
        Told about each result.
    """

    weights: Path | None = None
    left: WorkLeft = field(default_factory=WorkLeft)


def results(
    thin: Volume, acquisition: Acquisition, methods: list[str], run: Run, what: str
) -> Iterator[tuple[str, Volume]]:
    """The true thin slices, then those of each method, without adaptation to the scan.

    Parameters
    ----------
    thin : Volume
        The true slices.
    acquisition : Acquisition
        How thick slices are made of them.
    methods : list of str
        Names of methods; ``thick`` repeats the thick slices as they are; ``NAME+noise`` restores noise, and
        is quick just after NAME, and left out where the noise cannot be measured.
    run : Run
    what : str
        Is measured, for the progress.

    Yields
    ------
    name, Volume
    """
    thick = simulate(thin, acquisition, axis=2)
    thick = replace(thick, voxels=np.rint(thick.voxels).astype(np.int16))
    step = thin.spacing[2]
    count = int((len(thick.voxels) - 1) * acquisition.spacing / step + 1e-6) + 1
    yield TRUTH, replace(thin, voxels=thin.voxels[:count])
    made: tuple[str, Volume] | None = None
    for name in methods:
        if name == THICK:
            yield name, replace(thin, voxels=nearest(thick, count, step))
            continue
        method = name.removesuffix(NOISE)
        if made is None or made[0] != method:
            since = time.monotonic()
            made = method, enhance_volume(thick, _settings(method, step, run.weights))[0]
            run.left.done(what, method, thin.voxels.size, since)
        found = made[1]
        if name.endswith(NOISE):
            found = replace(found, voxels=found.voxels.copy())
            if restore_noise(found.voxels, thick.voxels, acquisition, step, 0, Monitor()) is None:
                continue
        yield name, found


def _settings(method: str, step: float, weights: Path | None) -> Settings:
    return Settings(
        method=method,
        spacing=step,
        axis=2,
        checkpoint=weights if method == "universal" else None,
        epochs=0 if METHODS[method].network == "davsr" else None,
    )


def heading(*titles: str) -> None:
    """First lines of a Markdown table."""
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|", flush=True)
