"""The domain-gap experiment: what a system loses on real thick slices when it has learnt from pseudo ones.

``python -m training.domain_gap RECIPE --data DIR --output OUT [--device D] [--set key=value ...]`` makes
pseudo pairs from the thin scans of real pairs, trains the recipe once on the real and once on the pseudo
pairs, and measures both on the real and on the pseudo test cases: ``OUT/table.md``, ``OUT/gap.png`` and the
two benchmarks beside. Given again, it goes on where it was interrupted. Works under torchrun.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import replacing

from .benchmark import main as benchmark
from .command import run
from .data.arrays import write_index, write_pair
from .data.cases import INDEX, cases_of, find_cases
from .data.pseudo import pseudo_pair
from .ranks import joined
from .recipes import NAMES, find_recipe
from .resuming import RUN_FILE
from .train import main as train

KINDS = ("real", "pseudo")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="training.domain_gap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=[n for n in NAMES if find_recipe(n).network], metavar="RECIPE")
    parser.add_argument("--data", type=Path, required=True, help="real pairs, prepared by training.prepare")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="assignments"
    )
    options = parser.parse_args(arguments)
    code = run(lambda: _make_pseudo_pairs(options))
    for kind in KINDS:
        code = code or _train(options, kind)
    if code:
        return code
    # A case that cannot be measured is left out, and told by the exit code.
    codes = [_measure(options, kind) for kind in KINDS]
    if all((options.output / f"on_{kind}" / "cases.csv").is_file() for kind in KINDS):
        codes.append(run(lambda: _conclude(options)))
    return max(codes)


def _data(options: argparse.Namespace, kind: str) -> Path:
    return options.data if kind == "real" else options.output / "pseudo"


def _make_pseudo_pairs(options: argparse.Namespace) -> None:
    """Pseudo pairs of all thin scans, by the first process; the others wait for it."""
    layout, cases = find_cases(options.data)
    if layout != "prepared":
        raise UserError(f"{options.data}: prepare it first (python -m training.prepare)")
    cases_of(options.data, "test")
    target, fault = _data(options, "pseudo"), None
    ranks = joined(options.device)
    if ranks.first and not (target / INDEX).is_file():
        try:
            target.mkdir(parents=True, exist_ok=True)
            _write_pseudo_pairs(cases, target)
        except UserError as error:
            fault = str(error)
    fault = ranks.gathered(fault)[0]
    if fault:
        raise UserError(fault)


def _write_pseudo_pairs(cases, target: Path) -> None:
    entries = []
    for case in cases:
        pair = case.read()
        factor = (len(pair.thin.voxels) - 1) // (len(pair.thick.voxels) - 1)
        entries.append(write_pair(target, case.name, case.split, pseudo_pair(pair.thin, factor), factor))
    write_index(target, entries, factor, "pseudo pairs of the thin scans of real ones")


def _train(options: argparse.Namespace, kind: str) -> int:
    folder = options.output / "runs" / kind
    command = [options.recipe, "--data", str(_data(options, kind)), "--output", str(folder)]
    command += ["--device", options.device]
    if (folder / RUN_FILE).is_file():
        command.append("--resume")
    return train([*command, *(["--set", *options.assignments] if options.assignments else [])])


def _measure(options: argparse.Namespace, kind: str) -> int:
    checkpoints = [str(options.output / "runs" / trained / "best.safetensors") for trained in KINDS]
    command = ["--data", str(_data(options, kind)), "--output", str(options.output / f"on_{kind}")]
    factor = json.loads((_data(options, kind) / INDEX).read_text(encoding="utf-8"))["factor"]
    command += ["--method", "interpolation", "--device", options.device, "--factor", str(factor)]
    return benchmark([*command, "--checkpoint", *checkpoints])


def _conclude(options: argparse.Namespace) -> None:
    """Table and figure of all four combinations, by the authors' protocol; on the first process only."""
    if not joined(options.device).first:
        return
    found = {kind: _scores(options.output / f"on_{kind}" / "cases.csv") for kind in KINDS}
    systems = list(found["real"])
    names = ["Cubic interpolation", "trained on real pairs", "trained on pseudo pairs"]
    lines = [f"# Domain gap: {find_recipe(options.recipe).title}, PSNR (dB) by the authors' protocol", ""]
    lines += ["| | real test cases | pseudo test cases |", "|---|---|---|"]
    for name, system in zip(names, systems, strict=True):
        cells = [f"{found[kind][system].mean():.3f} (n = {len(found[kind][system])})" for kind in KINDS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    with replacing(options.output / "table.md", ".md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _draw(names, [[found[kind][system] for kind in KINDS] for system in systems], options.output / "gap.png")
    print("\n".join(lines))


def _scores(path: Path) -> dict[str, np.ndarray]:
    """PSNR by the authors' protocol of each system, in the table's order."""
    scores: dict[str, list[float]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["protocol"] == "authors":
                scores.setdefault(row["system"], []).append(float(row["psnr"]))
    return {system: np.array(values) for system, values in scores.items()}


def _draw(names: list[str], values: list[list[np.ndarray]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.add_subplot(ylabel="PSNR (dB), authors' protocol")
    for place, (name, pair) in enumerate(zip(names, values, strict=True)):
        spread = [v.std(ddof=1) if len(v) > 1 else 0 for v in pair]
        axes.bar(
            np.arange(2) + 0.27 * (place - 1),
            [v.mean() for v in pair],
            0.25,
            yerr=spread,
            capsize=3,
            label=name,
        )
    axes.set_xticks(range(2), ["on real thick slices", "on pseudo thick slices"])
    axes.set_ylim(bottom=min(v.min() for pair in values for v in pair) - 2)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3, fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
