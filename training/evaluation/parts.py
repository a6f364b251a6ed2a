"""What has been measured stays measured: a file a case and system, so that a benchmark goes on after an end.

``OUT/parts/CASE/SYSTEM-DIGEST.npz`` holds the rows and, for the picture, three small planes. The digest is
that of all that decides the numbers: the case's files, the weights' checksum, the settings, the commit. What
changed has another digest and is measured again; nothing is ever removed, the folder may be at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ThickToThinSRLib.io.volume_files import replacing

FOLDER = "parts"


@dataclass(frozen=True)
class Part:
    """Facts that JSON can hold, and planes by their names."""

    facts: dict
    planes: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """The measured parts in a folder; without one, nothing is kept."""

    folder: Path | None

    def kept(self, case: str, label: str, decides: dict, measure: Callable[[], Part]) -> tuple[Part, bool]:
        """The part that was measured before, or what `measure` gives now; and whether it is an old one.

        Parameters
        ----------
        label : str
            For whoever looks at the folder.
        decides : dict
            All that the numbers depend on.
        """
        if self.folder is None:
            return measure(), False
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
        path = self.folder / case / f"{re.sub('[^A-Za-z0-9._-]+', '_', label)}-{digest}.npz"
        part = _read(path)
        if part is not None:
            return part, True
        part = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, ".npz") as temporary:
            np.savez_compressed(temporary, facts=json.dumps(part.facts), **part.planes)
        return part, False


def _read(path: Path) -> Part | None:
    """None where there is no such part, or a damaged one, which is then measured again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            planes = {name: arrays[name] for name in arrays.files}
        return Part(json.loads(str(planes.pop("facts"))), planes)
    except Exception:  # of many types: NumPy, zipfile and zlib each have their own
        return None
