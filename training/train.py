"""Train a published system, or go on with an interrupted training.

``python -m training.train RECIPE --data DIR --output RUN [--device D] [--set key=value ...] [--resume]``, or
the same under ``torchrun --nproc-per-node N --nnodes M -m training.train ...``
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from ThickToThinSRLib import __version__
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import replacing
from ThickToThinSRLib.networks.registry import NETWORKS

from .command import run
from .data.arrays import prepare_cases
from .data.cases import INDEX, SPLITS, Case, find_cases
from .ranks import Ranks, joined
from .recipes import NAMES, Recipe, find_recipe
from .resuming import RUN_FILE, check_resuming, earlier_starts, sizes, stored_recipe
from .revision import commit

DATA = "data"  # in the run's folder, where the data were not prepared before


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", metavar="RECIPE", help=f"one of {', '.join(NAMES)}")
    parser.add_argument(
        "--data", type=Path, required=True, help="a data set, prepared or in a published layout"
    )
    parser.add_argument("--output", type=Path, required=True, help="the run's folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="assignments"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in this folder")
    options = parser.parse_args(arguments)
    return run(lambda: train(options))


def train(options: argparse.Namespace) -> None:
    """The work of the command."""
    recipe = find_recipe(options.recipe)
    if recipe.network is None:
        raise UserError(
            f"{recipe.name} needs no training beforehand: "
            f"python -m training.benchmark --method {recipe.method}"
        )
    recipe = recipe.changed(options.assignments)
    _check_splits(options.data)
    ranks = joined(options.device)
    from .fit import Fit

    faults = ranks.gathered(_fault(recipe, options, ranks) if ranks.first else None)
    if faults[0]:
        raise UserError(faults[0])
    if options.resume:
        recipe = stored_recipe(options.output).changed(options.assignments)
    splits, origin = _splits(options, recipe, ranks)
    fit = Fit(recipe, splits, options.output, ranks, origin)
    if options.resume and fit.resume() and ranks.first:
        print(f"{options.output}: going on after step {fit.step}")
    if ranks.first:
        _describe(recipe, options, splits, ranks, fit.step)
    fit.run()


def _check_splits(data: Path) -> None:
    """Refuse data without cases to train or to validate on, before anything is written."""
    found = {case.split for case in find_cases(data)[1]}
    for split in ("train", "val"):
        if split not in found:
            raise UserError(f"{data}: its split {split!r} is empty")


def _fault(recipe: Recipe, options: argparse.Namespace, ranks: Ranks) -> str | None:
    """Make or check the run's folder; returns what is wrong, if anything."""
    folder = options.output
    try:
        if options.resume:
            check_resuming(folder, recipe, options.assignments, find_cases(options.data)[1], ranks.world)
            return None
        # Data prepared by a run that then failed are of use to the next one.
        if folder.exists() and (not folder.is_dir() or {p.name for p in folder.iterdir()} - {DATA}):
            return f"{folder}: exists already; choose another folder, or --resume to go on with its run"
        folder.mkdir(parents=True, exist_ok=True)
    except UserError as error:
        return str(error)
    return None


def _describe(
    recipe: Recipe, options: argparse.Namespace, splits: dict[str, list[Case]], ranks: Ranks, step: int
) -> None:
    """Write the run's file: recipe and data as they are now, and the code of every start."""
    start = {
        "after_step": step,
        "program": f"thicktothin {__version__}",
        "commit": commit(),
        "command": sys.argv,
    }
    facts = {
        "recipe": recipe.name,
        "arguments": recipe.arguments,
        "settings": asdict(recipe.settings),
        "data": str(options.data.resolve()),
        "cases": sizes([case for cases in splits.values() for case in cases]),
        "processes": ranks.world,
        "starts": [*(earlier_starts(options.output) if options.resume else []), start],
    }
    with replacing(options.output / RUN_FILE, ".json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _splits(options: argparse.Namespace, recipe: Recipe, ranks: Ranks) -> tuple[dict[str, list[Case]], str]:
    """Prepared cases by split; data in a published layout are prepared into the run's folder first."""
    layout, cases = find_cases(options.data)
    folder, factor = options.data, NETWORKS[recipe.network].window(**recipe.arguments).factor
    if layout != "prepared":
        folder = options.output / DATA
        fault = None
        if ranks.first and not (options.resume and (folder / INDEX).is_file()):
            used = [case for case in cases if case.split != "test"]
            try:
                prepare_cases(
                    used, folder, factor, str(options.data), say=lambda line: print(line, file=sys.stderr)
                )
            except UserError as error:
                fault = str(error)
        fault = ranks.gathered(fault)[0]
        if fault:
            raise UserError(fault)
        cases = find_cases(folder)[1]
    splits = {split: [case for case in cases if case.split == split] for split in SPLITS}
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if index["factor"] != factor:
        raise UserError(
            f"{folder}: its pairs have the factor {index['factor']}, the network {factor}: prepare other "
            f"pairs, or --set factor={index['factor']}"
        )
    return splits, index["origin"]


if __name__ == "__main__":
    sys.exit(main())
