"""Measurements on disk, so that an interrupted benchmark continues: one file for each system and case.

``OUT/parts/CASE/SYSTEM-DIGEST.npz`` holds the rows of ``cases.csv`` and three small planes for the figure.
The digest covers everything that decides the numbers: the case's files, the checksum of the weights, the
settings and the commit. If any of these changes, the digest changes and the system is measured again. No file
is ever removed; the folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ThickToThinSRLib.io.replacing import replacing

FOLDER = "parts"


@dataclass(frozen=True)
class Measurement:
    """What was measured of one system on one case.

    Attributes
    ----------
    facts : dict
        Numbers and texts that JSON can hold.
    planes : dict of str to ndarray
        Small images by their names.
    """

    facts: dict
    planes: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasurementStore:
    """Measurements in a folder; with None as folder nothing is stored."""

    folder: Path | None

    def get_or_measure(
        self, case: str, label: str, depends_on: dict, measure: Callable[[], Measurement]
    ) -> tuple[Measurement, bool]:
        """The stored measurement, or a new one.

        Parameters
        ----------
        case : str
            Name of the case.
        label : str
            Name of the system, for the file name.
        depends_on : dict
            Everything that decides the numbers.
        measure : callable
            Makes a new measurement.

        Returns
        -------
        measurement : Measurement
            What was measured.
        stored_before : bool
            Whether it was stored before.
        """
        if self.folder is None:
            return measure(), False
        digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
        path = self.folder / case / f"{re.sub('[^A-Za-z0-9._-]+', '_', label)}-{digest}.npz"
        measurement = _read(path)
        if measurement is not None:
            return measurement, True
        measurement = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, ".npz") as temporary:
            np.savez_compressed(temporary, facts=json.dumps(measurement.facts), **measurement.planes)
        return measurement, False


def _read(path: Path) -> Measurement | None:
    """None if the file is missing or damaged, so that it is measured again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            planes = {name: arrays[name] for name in arrays.files}
        return Measurement(json.loads(str(planes.pop("facts"))), planes)
    except Exception:  # of many types: NumPy, zipfile and zlib each have their own
        return None
