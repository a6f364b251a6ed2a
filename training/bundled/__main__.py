"""Train weights that ship with the project: ``python -m training.bundled RECIPE RUN --data FOLDER``.

A run that was interrupted, killed too, goes on by the same command as if it had not been. At the end RUN holds
the running mean of the weights with their model card.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from ..command import run
from . import tvsrn_warm
from .export import export
from .trainer import train

RECIPES = {recipe.name: recipe for recipe in (tvsrn_warm.RECIPE,)}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="training.bundled", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of this run; goes on where it stopped")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="what the recipe learns from"
    )
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="NAME", help="parts of scans' names")
    parser.add_argument("--steps", type=int, metavar="N", help="in place of the recipe's")
    parser.add_argument("--settling", type=int, metavar="N", help="steps of falling rate at the end")
    parser.add_argument("--stop", type=int, metavar="N", help="interrupt the run at this step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, metavar="N", help="of the processor; default: all")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = RECIPES[options.recipe]
    changed = {
        key: getattr(options, key) for key in ("steps", "settling") if getattr(options, key) is not None
    }
    recipe = replace(recipe, **changed)
    options.run.mkdir(parents=True, exist_ok=True)
    source = recipe.source(options.data, options.leave_out)
    state = train(
        recipe,
        source,
        options.run / "state.pt",
        seed=options.seed,
        stop=options.stop,
        precision=options.precision,
    )
    if state.step == recipe.steps:
        facts = {"seed": options.seed, "precision": options.precision, "left out": options.leave_out}
        print(f"written: {export(recipe, state, source, options.run, facts)}")


if __name__ == "__main__":
    sys.exit(run(main))
