"""Train weights that ship with the project: ``python -m training.bundled RECIPE RUN --data FOLDER``.

The same command continues a run that was interrupted or killed, to the same bits as an uninterrupted run. At
the end RUN holds the weights file with its model card.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from ..command import run
from .export import export
from .recipes import RECIPES
from .trainer import RunOptions, train

STATE = "state.pt"


def main() -> None:
    options = _parsed()
    if options.threads:
        torch.set_num_threads(options.threads)
    given = {"steps": options.steps, "settling": options.settling, "rate": options.rate}
    recipe = replace(
        RECIPES[options.recipe], **{key: value for key, value in given.items() if value is not None}
    )
    source = recipe.source(options.data, options.leave_out)
    options.run.mkdir(parents=True, exist_ok=True)
    chosen = RunOptions(options.seed, options.stop, options.precision, options.workers)
    state = train(recipe, source, options.run / STATE, chosen)
    if state.step == recipe.steps:
        facts = {"seed": options.seed, "precision": options.precision, "left out": options.leave_out}
        print(f"written: {export(recipe, state, source, options.run, facts)}")


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="training.bundled", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run; an existing run continues")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER",
        help="training scans (.nii.gz; for sr4zct_unet also DICOM folders), or for *_warm what "
        "training.bundled.distilled wrote",
    )  # fmt: skip
    parser.add_argument(
        "--leave-out", nargs="*", default=[], metavar="NAME", help="skip scans whose names contain NAME"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="number of steps (default: the recipe's)")
    parser.add_argument(
        "--settling", type=int, metavar="N",
        help="number of last steps in which the learning rate falls (default: the recipe's)",
    )  # fmt: skip
    parser.add_argument("--rate", type=float, help="full learning rate (default: the recipe's)")
    parser.add_argument("--stop", type=int, metavar="N", help="interrupt the run at this step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all cores)")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N",
        help="processes that draw batches beside the training process (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(main))
