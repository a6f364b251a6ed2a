"""The file of bundled weights: their running mean in half precision, with the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ThickToThinSRLib.weights.checkpoints import save_network

from .recipe import BundledRecipe, Source
from .trainer import TrainState

# Where the scans come from, by parts of their names; collections of The Cancer Imaging Archive but for the last.
SOURCES = {
    "lidc": "LIDC-IDRI (CC BY 3.0)",
    "rider": "RIDER Pilot (CC BY 3.0)",
    "fumpe": "FUMPE, known by naming and scanner (CC BY 4.0, to be confirmed)",
    "phantom_fda": "Phantom FDA (CC BY 3.0)",
    "lungfcp": "Lung-Fused-CT-Pathology (CC BY 3.0)",
    "cmb": "CMB-CRC (CC BY 4.0)",
    "lungdx": "Lung-PET-CT-Dx (CC BY 4.0)",
    "visible_human": "Visible Human, US National Library of Medicine (public)",
}


def export(
    recipe: BundledRecipe, state: TrainState, source: Source, folder: Path, facts: dict[str, Any]
) -> Path:
    """Write ``folder/<recipe's name>.safetensors``; results are added when they are measured."""
    path = folder / f"{recipe.name}.safetensors"
    used = [text for key, text in SOURCES.items() if any(key in name for name in source.names)]
    card = {
        "version": "1.0",
        **recipe.card,
        "origin": "trained for this project; data: " + "; ".join(used),
        "data": source.names,
        "recipe": {
            "command": f"python -m training.bundled {recipe.name}",
            "steps": state.step,
            "settling": recipe.settling,
            "rate": recipe.rate,
            "hours": round(state.seconds / 3600, 2),
            **facts,
        },
    }
    halves = {key: value.half() for key, value in state.mean.items()}
    save_network(path, halves, recipe.network, recipe.arguments, state.network.window, card)
    return path
