"""Systems on cases, shared by the processes that work together."""

from __future__ import annotations

import csv
import time
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
from .measures import COLUMNS, Truth, measure
from .prediction import Computing, made_consistent, predict_pair
from .progress import Progress
from .store import Measurement, MeasurementStore
from .systems import System

PROTOCOLS = ("authors", "seamless")
# What can be wrong with one case only: damaged files, scans that do not match, memory (torch's errors too).
CASE_ERRORS = (UserError, OSError, MemoryError, RuntimeError)
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
    pictures : dict
        Planes of the first case by ``thin``, ``thick`` and the titles of the systems, see :mod:`.crops`.
    spacing : 3 floats
        Spacing (x, y, z) of that case's thin slices, mm.
    faults : dict
        Why a case could not be measured, by its name.
    """

    rows: list[dict] = field(default_factory=list)
    pictures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, other: Results) -> None:
        """Add the results of other cases."""
        self.rows += other.rows
        self.faults |= other.faults
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
    progress: Progress,
    store: MeasurementStore,
) -> Results:
    """Measure every system on every case by both protocols; all processes return the same results.

    If a case cannot be read, its scans do not match, or a system fails on it, the case is left out for all
    systems, so that all are compared on the same cases.

    Parameters
    ----------
    progress : Progress
        Its pieces are the names of the systems. It says a line for each system and case.
    store : MeasurementStore
        Where measurements are stored at once, and taken from if they exist.
    """
    mine = Results()
    share = ranks.share(cases)
    for number, case in enumerate(share, start=1):
        try:
            mine.add(_OneCase(case, ranks, conditions, store).results(systems, progress))
        except CASE_ERRORS as error:
            mine.faults[case.name] = fault_of(case, error)
            progress.left |= {system.name: len(share) - number for system in systems}
            progress.say(f"not measured: {mine.faults[case.name]}")
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
        self.truth = cache(partial(truth_of, case, conditions.factor))
        self.depends_on = {
            **conditions_of(case, conditions),
            "precision": conditions.precision,
            "device": ranks.device.type,
        }

    def results(self, systems: list[System], progress: Progress) -> Results:
        """Results of all systems."""
        name = self.case.name
        scan, _ = self.store.get_or_measure(name, "scan", self.depends_on, lambda: _of_scan(self.truth()))
        results = Results(spacing=tuple(scan.facts["spacing"]))
        for kind in ("thin", "thick"):
            results.pictures[kind] = _planes_of(scan, kind)
        for system in systems:
            started, what = time.monotonic(), f"{name}  {system.title}"
            measurement, stored_before = self.store.get_or_measure(
                name,
                system.name,
                {**self.depends_on, **system.identity},
                partial(self._measure, system, progress, what),
            )
            progress.done(system.name, None if stored_before else time.monotonic() - started)
            results.rows += measurement.facts["rows"]
            results.pictures[system.title] = measurement.planes
            psnr = {row["protocol"]: row["psnr"] for row in measurement.facts["rows"]}
            scores = f"{psnr['authors']:.3f} dB (authors), {psnr['seamless']:.3f} dB (seamless)"
            before = ", measured before" if stored_before else ""
            progress.say(f"{what}: {scores}{before}{progress.time_left()}")
        return results

    def _measure(self, system: System, progress: Progress, what: str) -> Measurement:
        """Rows of a system by both protocols, and its planes by the seamless one."""
        truth = self.truth()
        computing = Computing(str(self.device), self.conditions.precision, progress.monitor(what))
        rows, prediction = [], None
        try:
            for protocol in PROTOCOLS:
                if prediction is None or system.tiled:
                    prediction = predict_pair(system, truth.pair, protocol, computing)
                else:
                    prediction = made_consistent(prediction, truth.pair)
                progress.tell(f"{what}: measuring by the {protocol} protocol")
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


def conditions_of(case: Case, conditions: Conditions) -> dict:
    """What decides the numbers of a case, whatever is measured on it."""
    return {
        "version": __version__,
        "commit": commit(),
        "case": [_file_states(case.thick), _file_states(case.thin)],
        "factor": conditions.factor,
    }


def fault_of(case: Case, error: Exception) -> str:
    """Why a case could not be measured, with its name."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if case.name in reason else f"case {case.name}: {reason}"


def _file_states(path: Path) -> list:
    """Names, sizes and times of a file or a folder's files, which show whether they changed."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def truth_of(case: Case, factor: int) -> Truth:
    """The thin slices of a case; raises UserError if its scans do not match."""
    pair = case.read()
    check_pair(case.name, pair, factor)
    return Truth(pair)


def _of_scan(truth: Truth) -> Measurement:
    """What a case shows without any system: planes of both scans."""
    places = crop_places(truth.hu, truth.factor)
    nearest = (np.arange(len(truth.hu)) + truth.factor // 2) // truth.factor
    volumes = {"thin": truth.hu, "thick": np.asarray(truth.pair.thick.voxels)[nearest]}
    planes = {f"{n} {plane}": image for n, hu in volumes.items() for plane, image in cut(hu, places).items()}
    return Measurement({"spacing": truth.pair.thin.spacing}, planes)


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
