"""One checkpoint on one split: the work of ``training.val`` and ``training.test``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ThickToThinSRLib.settings import PRECISIONS

from .command import run
from .data.cases import cases_of
from .evaluation.evaluate import PROTOCOLS, Conditions, evaluate, write_cases
from .evaluation.progress import Progress
from .evaluation.store import MeasurementStore
from .evaluation.systems import find_systems
from .evaluation.table import values_of
from .ranks import joined


def main(split: str, arguments: list[str] | None = None) -> int:
    """Print mean and standard deviation of PSNR and SSIM by both protocols; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"training.{split}", description=f"PSNR and SSIM of one checkpoint on the {split} cases."
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--factor", type=int, default=5, help="upsampling factor (default 5)")
    parser.add_argument("--output", type=Path, metavar="CSV", help="write one row for each case and protocol")
    options = parser.parse_args(arguments)
    return run(lambda: _evaluate(split, options))


def _evaluate(split: str, options: argparse.Namespace) -> None:
    systems = find_systems([], [options.checkpoint])
    cases = cases_of(options.data, split)
    ranks = joined(options.device)
    conditions = Conditions(options.precision, options.factor)
    progress = Progress({systems[0].name: len(ranks.share(cases))}, lambda line: print(line, flush=True))
    results = evaluate(systems, cases, ranks, conditions, progress, MeasurementStore(None))
    if not ranks.first:
        return
    if results.rows:
        for protocol in PROTOCOLS:
            print(_scores(results.rows, systems[0].name, protocol))
        if options.output:
            write_cases(results.rows, options.output)
    results.raise_faults()


def _scores(rows: list[dict], system: str, protocol: str) -> str:
    scores = []
    for key, digits in (("psnr", 3), ("ssim", 4)):
        values = values_of(rows, system, protocol, key)
        spread = f" +- {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
        scores.append(f"{key.upper()} {values.mean():.{digits}f}{spread}")
    return f"{protocol}: {', '.join(scores)} over {len(values)} case(s)"
