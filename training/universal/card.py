"""The model card of the universal weights."""

from __future__ import annotations

import argparse
from pathlib import Path

# Collections of The Cancer Imaging Archive, but for FUMPE.
SOURCES = {
    "lidc": "LIDC-IDRI (CC BY 3.0)",
    "rider": "RIDER Pilot (CC BY 3.0)",
    "fumpe": "FUMPE, known by naming and scanner (CC BY 4.0, to be confirmed)",
    "phantom_fda": "Phantom FDA (CC BY 3.0)",
    "lungfcp": "Lung-Fused-CT-Pathology (CC BY 3.0)",
    "cmb": "CMB-CRC (CC BY 4.0)",
    "lungdx": "Lung-PET-CT-Dx (CC BY 4.0)",
}


def card(paths: list[Path], options: argparse.Namespace) -> dict:
    """What can be said before the weights were measured; results are added with :func:`save_network`."""
    names = [path.name.split(".")[0] for path in paths]
    used = [source for key, source in SOURCES.items() if any(key in name for name in names)]
    return {
        "title": "Universal",
        "version": "1.0",
        "licence": "CC BY 4.0",
        "origin": "trained for this project; data: " + "; ".join(used),
        "data": names,
        "recipe": {
            "command": "python -m training.universal",
            "seed": options.seed,
            "steps": options.steps,
            "settling": options.settling,
            "rate": options.rate,
            "precision": options.precision,
            "left out": options.leave_out,
        },
        "limits": "for research; not a medical device; chest CT of eight scans, no other body part",
        "trained": {"spacing": [1.5, 8.0], "thickness": [2.0, 8.0]},
    }
