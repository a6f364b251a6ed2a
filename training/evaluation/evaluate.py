"""Systems on cases, shared by the processes that work together."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np

from ThickToThinSRLib import __version__
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing

from ..data.cases import Case
from ..data.checks import check_pair
from ..ranks import Ranks
from ..revision import commit
from .crops import crop_places, cut
from .measures import COLUMNS, Truth, measure, slice_similarity
from .prediction import predict_pair
from .store import Measurement, MeasurementStore
from .systems import System

PROTOCOLS = ("authors", "seamless")
# What can be wrong with one case only: damaged files, scans that do not match, memory (torch's errors too).
_CASE_ERRORS = (UserError, OSError, MemoryError, RuntimeError)
_MOST_NAMED = 10


@dataclass(frozen=True)
class Conditions:
    """How systems are measured.

    Attributes
    ----------
    precision : str
        Precision of the networks.
    factor : int
        Upsampling factor of the pairs.
    """

    precision: str = "auto"
    factor: int = 5


@dataclass
class Results:
    """What was measured on the cases.

    Attributes
    ----------
    rows : list of dict
        Rows of ``cases.csv``.
    similarity : dict
        PSNR of neighbouring slices, see :func:`~training.evaluation.measures.slice_similarity`.
    pictures : dict
        Planes of the first case by ``thin``, ``thick`` and the titles of the systems, see :mod:`.crops`.
    spacing : 3 floats
        Spacing (x, y, z) of that case's thin slices, mm.
    faults : dict
        Why a case could not be measured, by its name.
    """

    rows: list[dict] = field(default_factory=list)
    similarity: dict[str, list[float]] = field(default_factory=dict)
    pictures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, other: Results) -> None:
        """Add the results of other cases."""
        self.rows += other.rows
        self.faults |= other.faults
        for name, values in other.similarity.items():
            self.similarity.setdefault(name, []).extend(values)
        if not self.pictures:
            self.pictures, self.spacing = other.pictures, other.spacing

    def raise_faults(self) -> None:
        """Raise a UserError that names the cases that could not be measured, if there are any."""
        if not self.faults:
            return
        named = "; ".join(list(self.faults.values())[:_MOST_NAMED])
        more = len(self.faults) - _MOST_NAMED
        measured = len({row["case"] for row in self.rows})
        raise UserError(
            f"{len(self.faults)} case(s) could not be measured, {measured} could: {named}"
            + (f"; and {more} more" if more > 0 else "")
        )


def evaluate(
    systems: list[System],
    cases: list[Case],
    ranks: Ranks,
    conditions: Conditions,
    say: Callable[[str], None] = print,
    store: MeasurementStore | None = None,
) -> Results:
    """Measure every system on every case by both protocols; all processes return the same results.

    If a case cannot be read, its scans do not match, or a system fails on it, the case is left out for all
    systems, so that all are compared on the same cases.

    Parameters
    ----------
    say : callable
        Takes a line for each system and case.
    store : MeasurementStore, optional
        Where measurements are stored at once, and taken from if they exist.
    """
    store = store or MeasurementStore(None)
    mine = Results()
    for case in ranks.share(cases):
        try:
            mine.add(_OneCase(case, ranks, conditions, store).results(systems, say))
        except _CASE_ERRORS as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            mine.faults[case.name] = reason if case.name in reason else f"case {case.name}: {reason}"
            say(f"not measured: {mine.faults[case.name]}")
    results = Results()
    for share in ranks.gathered(mine):
        results.add(share)
    order = [system.name for system in systems]
    results.rows.sort(key=lambda row: (row["case"], order.index(row["system"]), row["protocol"]))
    return results


class _OneCase:
    """Measures systems on one case; the case is read only if something must be measured."""

    def __init__(self, case: Case, ranks: Ranks, conditions: Conditions, store: MeasurementStore):
        self.case, self.device, self.conditions, self.store = case, ranks.device, conditions, store
        self.truth = cache(partial(_truth, case, conditions.factor))
        self.depends_on = {
            "precision": conditions.precision,
            "device": ranks.device.type,
            "version": __version__,
            "commit": commit(),
            "case": [_file_states(case.thick), _file_states(case.thin)],
            "factor": conditions.factor,
        }

    def results(self, systems: list[System], say: Callable[[str], None]) -> Results:
        """Results of all systems."""
        name = self.case.name
        scan, _ = self.store.get_or_measure(name, "scan", self.depends_on, lambda: _of_scan(self.truth()))
        results = Results(similarity=scan.facts["similarity"], spacing=tuple(scan.facts["spacing"]))
        for kind in ("thin", "thick"):
            results.pictures[kind] = _planes_of(scan, kind)
        for system in systems:
            measurement, stored_before = self.store.get_or_measure(
                name, system.name, {**self.depends_on, **system.identity}, partial(self._measure, system)
            )
            results.rows += measurement.facts["rows"]
            results.pictures[system.title] = measurement.planes
            psnr = {row["protocol"]: row["psnr"] for row in measurement.facts["rows"]}
            scores = f"{psnr['authors']:.3f} dB (authors), {psnr['seamless']:.3f} dB (seamless)"
            say(f"{name}  {system.title}: {scores}{', measured before' if stored_before else ''}")
        return results

    def _measure(self, system: System) -> Measurement:
        """Rows of a system by both protocols, and its planes by the seamless one."""
        truth, precision = self.truth(), self.conditions.precision
        rows, prediction = [], None
        try:
            for protocol in PROTOCOLS:
                # Methods without tiles predict the same for both protocols; only the measures differ.
                if prediction is None or system.tiled:
                    prediction = predict_pair(system, truth.pair, protocol, str(self.device), precision)
                rows.append(
                    {
                        "case": self.case.name,
                        "system": system.name,
                        "protocol": protocol,
                        **measure(truth, prediction.hu, protocol),
                        "seconds": prediction.seconds,
                        "peak_mib": prediction.peak_mib,
                        "weights": system.weights,
                        "gflop": prediction.gflop,
                        "tile": prediction.tile,
                    }
                )
        except UserError as error:
            raise UserError(f"{system.title} on case {self.case.name}: {error}") from error
        return Measurement({"rows": rows}, cut(prediction.hu, crop_places(truth.hu, truth.factor)))


def _file_states(path: Path) -> list:
    """Names, sizes and times of a file or a folder's files, which show whether they changed."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _truth(case: Case, factor: int) -> Truth:
    pair = case.read()
    check_pair(case.name, pair, factor)
    return Truth(pair)


def _of_scan(truth: Truth) -> Measurement:
    """What a case shows without any system: planes of both scans, and the similarity of their slices."""
    places = crop_places(truth.hu, truth.factor)
    nearest = (np.arange(len(truth.hu)) + truth.factor // 2) // truth.factor
    volumes = {"thin": truth.hu, "thick": np.asarray(truth.pair.thick.voxels)[nearest]}
    planes = {f"{n} {plane}": image for n, hu in volumes.items() for plane, image in cut(hu, places).items()}
    facts = {"similarity": slice_similarity(truth), "spacing": truth.pair.thin.spacing}
    return Measurement(facts, planes)


def _planes_of(scan: Measurement, kind: str) -> dict[str, np.ndarray]:
    return {key.split()[1]: image for key, image in scan.planes.items() if key.startswith(f"{kind} ")}


def write_cases(rows: list[dict], path: Path) -> None:
    """Write ``cases.csv``; the cells of what was not measured are empty."""
    with replacing(path, ".csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _as_text(value) for key, value in row.items()})


def _as_text(value) -> str | int:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
