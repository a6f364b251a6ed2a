"""Whether an interrupted run can go on as if it had never stopped, after what its folder says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ThickToThinSRLib.errors import UserError

from .data.cases import Case
from .recipes import Recipe, find_recipe
from .recipes.base import Settings

RUN_FILE = "run.json"
_KEYS = ("recipe", "arguments", "settings", "data", "cases", "processes", "starts")
# What may be another when a run goes on: it changes no step that was done.
_MAY_CHANGE = ("steps", "epochs", "workers", "save_seconds", "most_idle_epochs", "most_drops")


def check_resuming(
    folder: Path, recipe: Recipe, assignments: list[str], cases: Iterable[Case], processes: int
) -> None:
    """Refuse to go on with another recipe, other data or another number of processes; clear up.

    Parameters
    ----------
    folder : Path
        Of the run. What a process that was killed while it wrote has left half-written is removed.
    recipe : Recipe
        Asked for now, `assignments` applied.
    cases : iterable of Case
        Of the data given now, in any layout.
    processes : int
        That take part now.

    Raises
    ------
    UserError
        If the run cannot go on as it began.
    """
    if not (folder / RUN_FILE).is_file():
        raise UserError(f"{folder}: holds no run to resume")
    facts, stored = _facts(folder), stored_recipe(folder)
    if stored.name != recipe.name:
        raise UserError(f"{folder}: this is a run of {stored.name}, not of {recipe.name}")
    for key in (text.partition("=")[0] for text in assignments):
        before, now = ({**asdict(r.settings), **r.arguments}.get(key) for r in (stored, recipe))
        if key not in _MAY_CHANGE and before != now:
            raise UserError(f"the run to resume has {key}={before}; only {', '.join(_MAY_CHANGE)} may change")
    if facts["processes"] != processes:
        raise UserError(
            f"the run to resume has {facts['processes']} process(es), not {processes}: its steps would be "
            "others"
        )
    if not _agree(facts["cases"], sizes(cases)):
        raise UserError(
            f"the run to resume has learnt from the cases of {facts['data']}: give these, unchanged, by "
            "--data"
        )
    for path in folder.glob(".thicktothin-*"):
        path.unlink(missing_ok=True)


def stored_recipe(folder: Path) -> Recipe:
    """The recipe of a run's folder, as it was started last."""
    facts = _facts(folder)
    try:
        recipe = find_recipe(facts["recipe"])
        return replace(recipe, arguments=facts["arguments"], settings=Settings(**facts["settings"]))
    except TypeError as error:
        raise UserError(f"{folder / RUN_FILE}: damaged description of a run ({error})") from error


def earlier_starts(folder: Path) -> list[dict[str, Any]]:
    """After which step, by which code and command the run was started each time."""
    return _facts(folder)["starts"]


def sizes(cases: Iterable[Case]) -> dict[str, dict[str, list[int] | None]]:
    """Of the thick scans that a training sees, by split and case; None where only their files tell."""
    found: dict[str, dict[str, list[int] | None]] = {"train": {}, "val": {}}
    for case in cases:
        if case.split in found:
            found[case.split][case.name] = case.geometry and case.geometry["thick"]["shape"]
    return found


def _agree(began: dict[str, dict], now: dict[str, dict]) -> bool:
    return all(
        began[split].keys() == now[split].keys()
        and all(size in (None, began[split][name]) for name, size in now[split].items())
        for split in now
    )


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return {key: facts[key] for key in _KEYS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged description of a run ({error!r})") from error
