"""Train a published system, or continue an interrupted training.

``python -m training.train RECIPE --data DIR --output RUN [--device D] [--set key=value ...] [--resume]``, or
the same under ``torchrun --nproc-per-node N --nnodes M -m training.train ...``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ThickToThinSRLib import __version__
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing
from ThickToThinSRLib.networks.registry import NETWORKS

from .command import run
from .data.arrays import prepare_cases
from .data.cases import INDEX, SPLITS, Case, find_cases
from .fit import fit
from .job import TrainingJob, begin, check_crops
from .ranks import Ranks, joined
from .recipes import NAMES, Recipe, find_recipe
from .resuming import RUN_FILE, case_sizes, check_resuming, earlier_starts, stored_recipe
from .revision import commit

DATA = "data"  # folder in the run's folder, for data that were not prepared before


@dataclass(frozen=True)
class TrainRequest:
    """What to train.

    Attributes
    ----------
    recipe : str
        Name of the recipe.
    data : Path
        A data set, prepared or in a published layout.
    output : Path
        The run's folder.
    device : str
        auto, cpu, cuda, cuda:N or mps.
    assignments : sequence of str
        Changed settings and network arguments, each as ``key=value``.
    resume : bool
        Continue the run in `output`.
    """

    recipe: str
    data: Path
    output: Path
    device: str = "auto"
    assignments: Sequence[str] = ()
    resume: bool = False


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
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="assignments",
        help="change settings of the recipe or arguments of its network",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="continue the run in this folder")
    request = TrainRequest(**vars(parser.parse_args(arguments)))
    return run(lambda: train(request))


def train(request: TrainRequest) -> None:
    """Train one system.

    Raises
    ------
    UserError
        For a wrong request or faulty data, and as :func:`~training.fit.fit` does.
    Cancelled
        If a signal asked the process to stop.
    """
    recipe = _requested_recipe(request)
    cases = _training_cases(request.data)
    ranks = joined(request.device)
    if not request.resume:
        check_crops(recipe, cases)
    fault = ranks.gathered(_folder_fault(recipe, request, ranks) if ranks.first else None)[0]
    if fault:
        raise UserError(fault)
    if request.resume:
        recipe = stored_recipe(request.output).changed(request.assignments)
        check_crops(recipe, cases)
    splits, origin = _prepared_splits(request, recipe, ranks)
    job = TrainingJob(recipe, splits, request.output, ranks, origin)
    beginning = begin(job)
    if request.resume and beginning.state.load(request.output) and ranks.first:
        print(f"{request.output}: continuing after step {beginning.state.step}")
    if ranks.first:
        _describe(job, request, beginning.state.step)
    fit(job, beginning)


def _requested_recipe(request: TrainRequest) -> Recipe:
    recipe = find_recipe(request.recipe)
    if recipe.network is None:
        raise UserError(
            f"{recipe.name} needs no training beforehand: "
            f"python -m training.benchmark --method {recipe.method}"
        )
    return recipe.changed(request.assignments)


def _training_cases(data: Path) -> list[Case]:
    """The training cases; refuses data without cases for training or validation."""
    cases = find_cases(data)[1]
    for split in ("train", "val"):
        if all(case.split != split for case in cases):
            raise UserError(f"{data}: its split {split!r} is empty")
    return [case for case in cases if case.split == "train"]


def _folder_fault(recipe: Recipe, request: TrainRequest, ranks: Ranks) -> str | None:
    """Make or check the run's folder; returns what is wrong, if anything."""
    folder = request.output
    try:
        if request.resume:
            cases = find_cases(request.data)[1]
            check_resuming(folder, recipe, request.assignments, cases, ranks.world)
            return None
        # Data that a failed run has prepared can be used by the next one.
        if folder.exists() and (not folder.is_dir() or {p.name for p in folder.iterdir()} - {DATA}):
            return f"{folder}: exists already; choose another folder, or --resume to continue its run"
        folder.mkdir(parents=True, exist_ok=True)
    except UserError as error:
        return str(error)
    return None


def _describe(job: TrainingJob, request: TrainRequest, step: int) -> None:
    """Write the run's file: recipe and data as they are now, and the code version of every start."""
    start = {
        "after_step": step,
        "program": f"thicktothin {__version__}",
        "commit": commit(),
        "command": sys.argv,
    }
    facts = {
        "recipe": job.recipe.name,
        "arguments": job.recipe.arguments,
        "settings": asdict(job.recipe.settings),
        "data": str(request.data.resolve()),
        "cases": case_sizes([case for cases in job.splits.values() for case in cases]),
        "processes": job.ranks.world,
        "starts": [*(earlier_starts(request.output) if request.resume else []), start],
    }
    with replacing(request.output / RUN_FILE, ".json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _prepared_splits(
    request: TrainRequest, recipe: Recipe, ranks: Ranks
) -> tuple[dict[str, list[Case]], str]:
    """Prepared cases by split, and the data set's origin.

    Data in a published layout are prepared into the run's folder first.
    """
    layout, cases = find_cases(request.data)
    factor = NETWORKS[recipe.network].window(**recipe.arguments).factor
    folder = request.data
    if layout != "prepared":
        folder = request.output / DATA
        prepared_before = request.resume and (folder / INDEX).is_file()
        needed = ranks.first and not prepared_before
        fault = ranks.gathered(_preparing_fault(cases, request, folder, factor) if needed else None)[0]
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


def _preparing_fault(cases: list[Case], request: TrainRequest, folder: Path, factor: int) -> str | None:
    """Prepare the cases for training and validation; returns what is wrong, if anything."""
    used = [case for case in cases if case.split != "test"]
    try:
        prepare_cases(used, folder, factor, str(request.data), say=lambda line: print(line, file=sys.stderr))
    except UserError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
