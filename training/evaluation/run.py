"""Systems over cases, shared by the processes of a job."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.files import replacing

from ..data.cases import Case
from ..data.checks import check_pair
from ..ranks import Ranks
from .measures import COLUMNS, Truth, measure, slice_similarity
from .systems import System, predict_pair

PROTOCOLS = ("authors", "seamless")


@dataclass
class Findings:
    """Rows of ``cases.csv``, similarities of slice pairs, and the volumes of the first case for pictures.

    `spacing` is that of its thin slices (x, y, z) in mm.
    """

    rows: list[dict] = field(default_factory=list)
    similarity: dict[str, list[float]] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)


def evaluate(
    systems: list[System],
    cases: list[Case],
    ranks: Ranks,
    precision: str = "auto",
    factor: int = 5,
    say: Callable[[str], None] = print,
) -> Findings:
    """Measure every system on every case by both protocols; complete on the first process.

    Raises
    ------
    UserError
        If a case cannot be read, its scans do not fit, or a system cannot run on it.
    """
    mine = Findings()
    for number, case in enumerate(ranks.share(cases)):
        pair = case.read()
        check_pair(case.name, pair, factor)
        truth = Truth(pair)
        pictures = mine.pictures if ranks.first and number == 0 else None
        if pictures is not None:
            pictures["thick"], pictures["truth"] = np.asarray(pair.thick.voxels), truth.hu
            mine.spacing = pair.thin.spacing
        for name, values in slice_similarity(truth).items():
            mine.similarity.setdefault(name, []).extend(values)
        for system in systems:
            try:
                mine.rows += _rows(system, case.name, truth, str(ranks.device), precision, pictures)
            except UserError as error:
                raise UserError(f"{system.title} on case {case.name}: {error}") from error
            scores = [row["psnr"] for row in mine.rows[-2:]]
            say(f"{case.name}  {system.title}: {scores[0]:.3f} dB (authors), {scores[1]:.3f} dB (seamless)")
    return _together(mine, ranks, [system.name for system in systems])


def _rows(system: System, case: str, truth: Truth, device: str, precision: str, pictures) -> list[dict]:
    rows, prediction = [], None
    for protocol in PROTOCOLS:
        # Methods without windows give the same for both; only the measure differs.
        if prediction is None or system.tiled:
            prediction = predict_pair(system, truth.pair, protocol, device, precision)
        measured = measure(truth, prediction.hu, protocol)
        rows.append(
            {
                "case": case,
                "system": system.name,
                "protocol": protocol,
                **measured,
                "seconds": prediction.seconds,
                "peak_mib": prediction.peak_mib,
                "weights": system.weights,
                "gflop": system.gflop(truth.pair.thick),
            }
        )
    if pictures is not None:
        pictures[system.title] = prediction.hu
    return rows


def _together(mine: Findings, ranks: Ranks, order: list[str]) -> Findings:
    parts = ranks.gathered((mine.rows, mine.similarity))
    found = Findings(pictures=mine.pictures, spacing=mine.spacing)
    for rows, similarity in parts:
        found.rows += rows
        for name, values in similarity.items():
            found.similarity.setdefault(name, []).extend(values)
    found.rows.sort(key=lambda row: (row["case"], order.index(row["system"]), row["protocol"]))
    return found


def write_cases(rows: list[dict], path: Path) -> None:
    """Write ``cases.csv``; what was not measured stays empty."""
    with replacing(path, ".csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _short(value) for key, value in row.items()})


def _short(value):
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
