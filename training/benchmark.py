"""Measure systems on a split of a data set: the paper's table, with statistics and figures.

``python -m training.benchmark --data DIR --split test --output OUT [--method NAME ...] [--checkpoint FILE
...] [--device D] [--precision P]``; under torchrun the processes share the cases.

Every measurement is stored in ``OUT/parts`` at once. The same command, given again, continues: it measures
only what is new or has changed (cases, weights, settings). A case that cannot be measured is left out for all
systems; the others are written, and the command ends with exit code 2 and a line that names the case.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.settings import ADAPTED_NETWORKS, PRECISIONS

from .command import run
from .data.cases import SPLITS, cases_of, find_cases
from .data.rplhr import is_rplhr_ct
from .evaluation.benchmark_figures import write_figures, write_similarity
from .evaluation.evaluate import Conditions, Results, evaluate, write_cases
from .evaluation.progress import Progress
from .evaluation.similarity import KIND, similarity_of
from .evaluation.store import FOLDER, MeasurementStore
from .evaluation.systems import System, find_systems
from .evaluation.table import table
from .ranks import Ranks, joined


@dataclass(frozen=True)
class BenchmarkRequest:
    """What to measure.

    Attributes
    ----------
    data : Path
        A data set, prepared or in a published layout.
    output : Path
        Folder for ``cases.csv``, ``table.md`` and the figures.
    split : {"train", "val", "test"}
        Which cases.
    methods : sequence of str
        Names of methods; interpolation if there are neither methods nor checkpoints.
    checkpoints : sequence of Path
        Weights files.
    device, precision : str
        Where and how to compute.
    factor : int
        Upsampling factor of the pairs.
    epochs, minutes : int, float, optional
        How long methods that adapt to the scan do so.
    network : {"unet", "msd"}, optional
        Which network `sr4zct` adapts.
    similarity : bool
        Whether to show how similar neighbouring slices are, over all splits of the data.
    """

    data: Path
    output: Path
    split: str = "test"
    methods: Sequence[str] = ()
    checkpoints: Sequence[Path] = ()
    device: str = "auto"
    precision: str = "auto"
    factor: int = 5
    epochs: int | None = None
    minutes: float | None = None
    network: str | None = None
    similarity: bool = True


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
    parser.add_argument(
        "--method", nargs="+", action="extend", default=[], metavar="NAME", choices=METHODS, dest="methods"
    )
    parser.add_argument(
        "--checkpoint", type=Path, nargs="+", action="extend", default=[], metavar="FILE", dest="checkpoints"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--factor", type=int, default=5, help="upsampling factor (default 5)")
    parser.add_argument("--epochs", type=int, help="epochs of methods that adapt to the scan (sr4zct, davsr)")
    parser.add_argument("--minutes", type=float, help="instead of --epochs: minutes for each scan")
    parser.add_argument(
        "--network", choices=ADAPTED_NETWORKS, help="which network sr4zct adapts: U-Net or MS-D network"
    )
    request = BenchmarkRequest(**vars(parser.parse_args(arguments)))
    return run(lambda: benchmark(request))


def benchmark(request: BenchmarkRequest) -> None:
    """Measure systems, and write rows, table and figures.

    Raises
    ------
    UserError
        For a wrong request; and, after everything was written, if cases could not be measured.
    """
    methods = request.methods or ([] if request.checkpoints else ["interpolation"])
    systems = find_systems(methods, request.checkpoints, request.epochs, request.minutes, request.network)
    cases = cases_of(request.data, request.split)
    if request.output.exists() and not request.output.is_dir():
        raise UserError(f"{request.output}: is a file; give a folder")
    ranks = joined(request.device)
    store = MeasurementStore(request.output / FOLDER)
    conditions = Conditions(request.precision, request.factor)
    compared = find_cases(request.data)[1] if request.similarity else []
    pieces = {system.name: len(ranks.share(cases)) for system in systems}
    progress = Progress({**pieces, KIND: len(ranks.share(compared))}, _say)
    results = evaluate(systems, cases, ranks, conditions, progress, store)
    if ranks.first and results.rows:
        _write(request, systems, results, ranks)
    # What is damaged was said before.
    compared = [c for c in compared if c.split != request.split or c.name not in results.faults]
    similarity, faults = similarity_of(compared, ranks, conditions, progress, store)
    if ranks.first and similarity:
        request.output.mkdir(parents=True, exist_ok=True)
        write_similarity(similarity, results.spacing[2], request.output / "similarity.png")
    if ranks.first:
        results.faults |= faults
        results.raise_faults()


def _write(request: BenchmarkRequest, systems: list[System], results: Results, ranks: Ranks) -> None:
    """``cases.csv``, ``table.md`` and the figures."""
    output = request.output
    output.mkdir(parents=True, exist_ok=True)
    write_cases(results.rows, output / "cases.csv")
    device = f"{ranks.world} x {ranks.device}" if ranks.world > 1 else str(ranks.device)
    official = request.split == "test" and is_rplhr_ct(request.data) and not results.faults
    text = table(results.rows, systems, f"{request.data.name}, {request.split}", device, official)
    with replacing(output / "table.md", ".md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_figures(results, systems, output)
    _say(f"written: {output}/cases.csv, table.md and figures")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
