"""The model card of trained weights."""

from __future__ import annotations

from dataclasses import asdict

from ThickToThinSRLib import __version__

from .data.cases import Case
from .recipes.base import Recipe


def model_card(
    recipe: Recipe,
    splits: dict[str, list[Case]],
    origin: str,
    step: int,
    epoch: int,
    seconds: float,
    validation: dict | None,
) -> dict:
    """What is known about the weights of a run.

    ``trained`` holds the spacing of the thick slices in training, by which ``enhance`` warns where a scan is
    another kind.
    """
    spacings = [case.geometry["thick"]["spacing"][2] for case in splits["train"]]
    span = [round(min(spacings), 4), round(max(spacings), 4)]
    settings = asdict(recipe.settings)
    return {
        "title": recipe.title,
        "version": f"step {step}",
        "licence": "that of whoever trained it; mind the licence of the data",
        "origin": f"trained by training.train {recipe.name}, thicktothin {__version__}",
        "data": f"{origin}: {', '.join(case.name for case in splits['train'][:20])}"
        + (f" and {len(splits['train']) - 20} more" if len(splits["train"]) > 20 else ""),
        "recipe": {"name": recipe.name, **settings},
        "results": {"validation": validation, "epochs": epoch, "hours": round(seconds / 3600, 3)},
        "trained": {"spacing": span, "thickness": span},
        "limits": "research use only; not a medical device",
    }
