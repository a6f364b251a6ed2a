"""Measure systems on a split of a data set: the paper's table, with statistics and figures.

``python -m training.benchmark --data DIR --split test --output OUT [--method NAME ...] [--checkpoint FILE
...] [--device D] [--precision P]``; under torchrun the processes share the cases.

What is measured is kept in ``OUT/parts`` at once. The same command given again goes on, and measures only
what is new or has changed: cases, weights, settings. A case that cannot be measured is left out for all
systems; the others are written, and the command ends with exit code 2 and a line that names it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import replacing
from ThickToThinSRLib.methods.registry import ADAPTED_NETWORKS, METHODS, PRECISIONS

from .command import run
from .data.cases import SPLITS, cases_of
from .evaluation.figures import write_figures
from .evaluation.parts import FOLDER, Parts
from .evaluation.run import Findings, evaluate, write_cases
from .evaluation.systems import System, find_systems
from .evaluation.table import table
from .ranks import Ranks, joined


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="training.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="a data set, prepared or in a published layout"
    )
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for cases.csv, table.md and figures"
    )
    parser.add_argument("--method", nargs="+", action="extend", default=[], metavar="NAME", choices=METHODS)
    parser.add_argument("--checkpoint", type=Path, nargs="+", action="extend", default=[], metavar="FILE")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--factor", type=int, default=5, help="thick over thin spacing (default 5)")
    parser.add_argument("--epochs", type=int, help="passes of methods that adapt to the scan (sr4zct, davsr)")
    parser.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument(
        "--network", choices=ADAPTED_NETWORKS, help="what sr4zct adapts: U-Net or MS-D network"
    )
    options = parser.parse_args(arguments)
    return run(lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    """The work of the command."""
    methods = options.method or ([] if options.checkpoint else ["interpolation"])
    told = options.epochs, options.minutes, options.network
    systems = find_systems(methods, options.checkpoint, *told)
    cases = cases_of(options.data, options.split)
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"{options.output}: is a file; give a folder")
    ranks = joined(options.device)
    parts = Parts(options.output / FOLDER)
    found = evaluate(systems, cases, ranks, options.precision, options.factor, _say, parts)
    if not ranks.first:
        return
    if found.rows:
        _write(options, systems, found, ranks)
    found.raise_faults()


def _write(options: argparse.Namespace, systems: list[System], found: Findings, ranks: Ranks) -> None:
    """``cases.csv``, ``table.md`` and the figures."""
    options.output.mkdir(parents=True, exist_ok=True)
    write_cases(found.rows, options.output / "cases.csv")
    device = f"{ranks.world} x {ranks.device}" if ranks.world > 1 else str(ranks.device)
    text = table(found.rows, systems, f"{options.data.name}, {options.split}", device)
    with replacing(options.output / "table.md", ".md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_figures(found, systems, options.output)
    print(f"written: {options.output}/cases.csv, table.md and figures")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
