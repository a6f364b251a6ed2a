"""Weights file of a finished run: the weights that ship, in half precision, and the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ThickToThinSRLib.weights.checkpoint import save_network

from .recipe import BundledRecipe, Source
from .trainer import BundledState

# Where the scans come from, by parts of their names: collections of The Cancer Imaging Archive, but for FUMPE
# and the Visible Human.
DATA_SOURCES = {
    "lidc": "LIDC-IDRI (CC BY 3.0)",
    "rider": "RIDER Pilot (CC BY 3.0)",
    "fumpe": "FUMPE, known by naming and scanner (CC BY 4.0, to be confirmed)",
    "phantom_fda": "Phantom FDA (CC BY 3.0)",
    "lungfcp": "Lung-Fused-CT-Pathology (CC BY 3.0)",
    "cmb": "CMB-CRC (CC BY 4.0)",
    "lungdx": "Lung-PET-CT-Dx (CC BY 4.0)",
    "visible_human": "Visible Human, US National Library of Medicine (public)",
}


def model_card(
    recipe: BundledRecipe, state: BundledState, names: list[str], facts: dict[str, Any]
) -> dict[str, Any]:
    """What is known about the weights before they are evaluated; the results are added afterwards.

    Parameters
    ----------
    names : list of str
        Names of the training scans.
    facts : dict
        What else decided the run, such as its seed.
    """
    used = [text for key, text in DATA_SOURCES.items() if any(key in name for name in names)]
    return {
        **recipe.card,
        "limits": recipe.card["limits"].format(scans=len(names)),
        "origin": "trained for this project; data: " + "; ".join(used),
        "data": names,
        "recipe": {
            "command": f"python -m training.bundled {recipe.name}",
            "steps": state.step,
            "settling": recipe.settling_steps,
            "rate": recipe.rate,
            "hours": round(state.seconds / 3600, 2),
            **facts,
        },
    }


def export(
    recipe: BundledRecipe, state: BundledState, source: Source, folder: Path, facts: dict[str, Any]
) -> Path:
    """Write ``folder/<name of the recipe>.safetensors``; returns its path."""
    path = folder / f"{recipe.name}.safetensors"
    halves = {key: value.half() for key, value in recipe.finish(state.mean, source).items()}
    card = model_card(recipe, state, source.names, facts)
    save_network(path, halves, recipe.network, recipe.arguments, state.network.window, card)
    return path
