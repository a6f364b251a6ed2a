"""The model card of weights that a training run exports."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ThickToThinSRLib import __version__

from .data.cases import Case
from .recipes.base import Recipe

_MOST_NAMED = 20


def model_card(
    recipe: Recipe, cases: list[Case], origin: str, step: int, results: dict[str, Any]
) -> dict[str, Any]:
    """What is known about the weights of a run.

    Parameters
    ----------
    recipe : Recipe
        With all settings in place.
    cases : list of Case
        Training cases. Their slice spacing stands in the card's ``trained``, so that ``enhance`` warns where
        a scan has another one.
    origin : str
        The data set.
    step : int
        Number of finished steps.
    results : dict
        Scores and training time.
    """
    spacings = [case.geometry["thick"]["spacing"][2] for case in cases]
    span = [round(min(spacings), 4), round(max(spacings), 4)]
    names = ", ".join(case.name for case in cases[:_MOST_NAMED])
    more = f" and {len(cases) - _MOST_NAMED} more" if len(cases) > _MOST_NAMED else ""
    return {
        "title": recipe.title,
        "version": f"step {step}",
        "licence": "set by whoever trained the weights; observe the licence of the data",
        "origin": f"trained by training.train {recipe.name}, thicktothin {__version__}",
        "data": f"{origin}: {names}{more}",
        "recipe": {"name": recipe.name, **asdict(recipe.settings)},
        "results": results,
        "trained": {"spacing": span, "thickness": span},
        "limits": "research use only; not a medical device",
    }
