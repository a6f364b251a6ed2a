"""The domain-gap experiment: how much worse a system is on real thick slices if trained on simulated ones.

``python -m training.domain_gap RECIPE --data DIR --output OUT [--device D] [--set key=value ...]`` makes
pseudo pairs from the thin scans of real pairs, trains the recipe once on the real and once on the pseudo
pairs, and measures both on the real and on the pseudo test cases: ``OUT/table.md`` (PSNR, SSIM and p values),
``OUT/gap.png`` and both benchmarks. DIR must have been prepared by ``python -m training.prepare``. The same
command, given again, continues where it was interrupted. Works under torchrun.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing

from .benchmark import BenchmarkRequest, benchmark
from .command import run
from .data.arrays import write_index, write_pair
from .data.cases import INDEX, Case, cases_of, find_cases
from .data.pseudo import pseudo_pair
from .evaluation.statistics import better
from .evaluation.table import spread
from .job import check_crops
from .ranks import joined
from .recipes import NAMES, find_recipe
from .resuming import RUN_FILE
from .train import TrainRequest, train

KINDS = ("real", "pseudo")
_NAMES = ("Cubic interpolation", "trained on real pairs", "trained on pseudo pairs")


@dataclass(frozen=True)
class GapRequest:
    """What the experiment is made with.

    Attributes
    ----------
    recipe : str
        Name of the recipe.
    data : Path
        Real pairs, prepared.
    output : Path
        Folder for everything that is made.
    device : str
        Where to compute.
    assignments : sequence of str
        Changed settings and network arguments, each as ``key=value``.
    """

    recipe: str
    data: Path
    output: Path
    device: str = "auto"
    assignments: Sequence[str] = ()

    def data_of(self, kind: str) -> Path:
        """The data set of ``real`` or ``pseudo`` pairs."""
        return self.data if kind == "real" else self.output / "pseudo"

    def run_of(self, kind: str) -> Path:
        """The folder of the training on ``real`` or ``pseudo`` pairs."""
        return self.output / "runs" / kind

    def rows_of(self, kind: str) -> Path:
        """The rows measured on ``real`` or ``pseudo`` test cases."""
        return self.output / f"on_{kind}" / "cases.csv"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="training.domain_gap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=[n for n in NAMES if find_recipe(n).network], metavar="RECIPE")
    parser.add_argument("--data", type=Path, required=True, help="real pairs, prepared by training.prepare")
    parser.add_argument("--output", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="assignments",
        help="change settings of the recipe or arguments of its network",
    )  # fmt: skip
    request = GapRequest(**vars(parser.parse_args(arguments)))
    return run(lambda: domain_gap(request))


def domain_gap(request: GapRequest) -> None:
    """Make pseudo pairs, train on both kinds of pairs, measure on both, write table and figure.

    Raises
    ------
    UserError
        As training and benchmark do. If cases could not be measured, the table is written first.
    """
    cases = _prepared_cases(request.data)
    training_cases = [case for case in cases if case.split == "train"]
    check_crops(find_recipe(request.recipe).changed(request.assignments), training_cases)
    _make_pseudo_pairs(request, cases)
    for kind in KINDS:
        run_folder = request.run_of(kind)
        resume = (run_folder / RUN_FILE).is_file()
        train(
            TrainRequest(
                request.recipe, request.data_of(kind), run_folder, request.device, request.assignments, resume
            )
        )
    faults = [fault for kind in KINDS if (fault := _measure(request, kind))]
    if all(request.rows_of(kind).is_file() for kind in KINDS):
        _conclude(request)
    if faults:
        raise UserError("; ".join(faults))


def _prepared_cases(data: Path) -> list[Case]:
    layout, cases = find_cases(data)
    if layout != "prepared":
        raise UserError(f"{data}: prepare it first (python -m training.prepare folder {data} PREPARED)")
    cases_of(data, "test")
    return cases


def _make_pseudo_pairs(request: GapRequest, cases: list[Case]) -> None:
    """Pseudo pairs of all thin scans, by the first process; the others wait for it."""
    target, fault = request.data_of("pseudo"), None
    ranks = joined(request.device)
    if ranks.first and not (target / INDEX).is_file():
        try:
            target.mkdir(parents=True, exist_ok=True)
            _write_pseudo_pairs(cases, target)
        except UserError as error:
            fault = str(error)
    fault = ranks.gathered(fault)[0]
    if fault:
        raise UserError(fault)


def _write_pseudo_pairs(cases: list[Case], target: Path) -> None:
    entries = []
    for case in cases:
        pair = case.read()
        factor = (len(pair.thin.voxels) - 1) // (len(pair.thick.voxels) - 1)
        entries.append(write_pair(target, case.name, case.split, pseudo_pair(pair.thin, factor), factor))
    write_index(target, entries, factor, "pseudo pairs of the thin scans of real ones")


def _measure(request: GapRequest, kind: str) -> str | None:
    """Measure both trainings on one kind of test cases; returns which cases could not be measured, if any."""
    data = request.data_of(kind)
    index = json.loads((data / INDEX).read_text(encoding="utf-8"))
    try:
        benchmark(
            BenchmarkRequest(
                data,
                request.rows_of(kind).parent,
                methods=["interpolation"],
                checkpoints=[request.run_of(trained) / "best.safetensors" for trained in KINDS],
                device=request.device,
                factor=index["factor"],
                similarity=False,
            )
        )
    except UserError as error:
        return str(error)
    return None


def _conclude(request: GapRequest) -> None:
    """Table and figure of all four combinations, by the authors' protocol; on the first process only."""
    if not joined(request.device).first:
        return
    scores = {(kind, key): _scores(request.rows_of(kind), key) for kind in KINDS for key in ("psnr", "ssim")}
    title = find_recipe(request.recipe).title
    lines = [f"# Domain gap: {title}, by the authors' protocol", "", *_table(scores), "", *_tests(scores)]
    with replacing(request.output / "table.md", ".md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _draw({kind: scores[kind, "psnr"] for kind in KINDS}, request.output / "gap.png")
    print("\n".join(lines))


def _table(scores: dict[tuple[str, str], list[np.ndarray]]) -> list[str]:
    """Means, with standard deviations (n - 1), and the tests of each training against interpolation."""
    lines = [f"| | {' | '.join(f'{k} test cases: PSNR (dB) | SSIM | p, better than cubic' for k in KINDS)} |"]
    lines.append("|---|---|---|---|---|---|---|")
    for number, name in enumerate(_NAMES):
        cells = []
        for kind in KINDS:
            psnr, ssim = scores[kind, "psnr"], scores[kind, "ssim"]
            test = str(better(psnr[number], psnr[0])) if number else f"(n = {len(psnr[0])})"
            cells += [spread(psnr[number], 3), spread(ssim[number], 4), test]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _tests(scores: dict[tuple[str, str], list[np.ndarray]]) -> list[str]:
    """Whether each training is better than the other one on cases of its own kind."""
    lines = []
    for kind, other in (KINDS, KINDS[::-1]):
        own, foreign = (1 + KINDS.index(k) for k in (kind, other))
        tests = [
            f"{key.upper()} {better(scores[kind, key][own], scores[kind, key][foreign])}"
            for key in ("psnr", "ssim")
        ]
        lines.append(
            f"* On {kind} test cases, trained on {kind} pairs better than on {other} ones: {', '.join(tests)}"
        )
    return [*lines, "", "p: one-sided, exact Wilcoxon signed-rank tests over the n cases that differ."]


def _scores(path: Path, key: str) -> list[np.ndarray]:
    """One measure by the authors' protocol: an array for each system, in the order of the rows."""
    scores: dict[str, list[float]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["protocol"] == "authors":
                scores.setdefault(row["system"], []).append(float(row[key]))
    return [np.array(values) for values in scores.values()]


def _draw(psnr: dict[str, list[np.ndarray]], path: Path) -> None:
    """Bars of the means, with standard deviations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.add_subplot(ylabel="PSNR (dB), authors' protocol")
    for place, name in enumerate(_NAMES):
        both = [psnr[kind][place] for kind in KINDS]
        means = [v.mean() for v in both]
        spread = [v.std(ddof=1) if len(v) > 1 else 0 for v in both]
        positions = np.arange(2) + 0.27 * (place - 1)
        axes.bar(positions, means, 0.25, yerr=spread, capsize=3, label=name)
    axes.set_xticks(range(2), ["on real thick slices", "on pseudo thick slices"])
    axes.set_ylim(bottom=min(v.min() for values in psnr.values() for v in values) - 2)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3, fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
