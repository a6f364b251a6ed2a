"""Whether an interrupted run can continue exactly as it began, judged by what its folder says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ThickToThinSRLib.errors import UserError

from .data.cases import Case
from .recipes import Recipe, find_recipe
from .recipes.base import TrainingSettings

RUN_FILE = "run.json"
_KEYS = ("recipe", "arguments", "settings", "data", "cases", "processes", "starts")
# Settings that may change when a run continues, because they do not affect finished steps.
_MAY_CHANGE = ("steps", "epochs", "workers", "save_seconds", "most_idle_epochs", "most_drops")


def check_resuming(
    folder: Path, recipe: Recipe, assignments: Iterable[str], cases: Iterable[Case], processes: int
) -> None:
    """Refuse to continue with another recipe, other data or another number of processes.

    Half-written files that a killed process has left in the folder are removed.

    Parameters
    ----------
    folder : Path
        The run's folder.
    recipe : Recipe
        The requested one, with `assignments` applied.
    assignments : iterable of str
        Settings given now, each as ``key=value``.
    cases : iterable of Case
        Cases of the data given now, in any layout.
    processes : int
        Number of processes that take part now.

    Raises
    ------
    UserError
        If the run would differ from an uninterrupted one.
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
            f"the run to resume has {facts['processes']} process(es), not {processes}: with another number "
            "its steps would differ"
        )
    if not _same_cases(facts["cases"], case_sizes(cases)):
        raise UserError(
            f"the run to resume was trained on the cases of {facts['data']}: give these, unchanged, by --data"
        )
    for path in folder.glob(".thicktothin-*"):
        path.unlink(missing_ok=True)


def stored_recipe(folder: Path) -> Recipe:
    """The recipe of a run's folder, as the run was last started."""
    facts = _facts(folder)
    try:
        recipe = find_recipe(facts["recipe"])
        settings = TrainingSettings(**facts["settings"])
    except TypeError as error:
        raise UserError(f"{folder / RUN_FILE}: damaged description of a run ({error})") from error
    return replace(recipe, arguments=facts["arguments"], settings=settings)


def earlier_starts(folder: Path) -> list[dict[str, Any]]:
    """For each start of the run: after which step, by which code version and command."""
    return _facts(folder)["starts"]


def case_sizes(cases: Iterable[Case]) -> dict[str, dict[str, list[int] | None]]:
    """Shapes of the thick scans for training and validation, by split and case; None for unprepared scans."""
    sizes: dict[str, dict[str, list[int] | None]] = {"train": {}, "val": {}}
    for case in cases:
        if case.split in sizes:
            sizes[case.split][case.name] = case.geometry and case.geometry["thick"]["shape"]
    return sizes


def _same_cases(before: dict[str, dict], now: dict[str, dict]) -> bool:
    return all(
        before[split].keys() == now[split].keys()
        and all(size in (None, before[split][name]) for name, size in now[split].items())
        for split in now
    )


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return {key: facts[key] for key in _KEYS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged description of a run ({error!r})") from error
