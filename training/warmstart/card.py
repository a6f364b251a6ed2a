"""The model card of the warm start of `sr4zct`."""

from __future__ import annotations

import argparse

from ..universal.card import SOURCES
from .pairs import SPACING, THICKNESS


def card(options: argparse.Namespace) -> dict:
    """What can be said before the weights were measured; ``results`` are added by hand."""
    names = [path.name.split(".")[0] for path in options.volumes]
    used = [source for key, source in SOURCES.items() if any(key in name for name in names)]
    return {
        "title": "SR4ZCT, U-Net before adaptation",
        "version": "1.0",
        "licence": "CC BY 4.0",
        "origin": "trained for this project; data: " + "; ".join(used),
        "data": names,
        "recipe": {
            "command": "python -m training.warmstart",
            "seed": options.seed,
            "steps": options.steps,
            "rate": options.rate,
            "precision": "bfloat16",
        },
        "limits": f"for research; not a medical device; trained on {len(names)} chest series",
        "trained": {"spacing": list(SPACING), "thickness": list(THICKNESS)},
    }
