"""Systems over cases, shared by the processes of a job."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np

from ThickToThinSRLib import __version__
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import replacing

from ..data.cases import Case
from ..data.checks import check_pair
from ..ranks import Ranks
from ..revision import commit
from .crops import crop_places, cut
from .measures import COLUMNS, Truth, measure, slice_similarity
from .parts import Part, Parts
from .prediction import predict_pair
from .systems import System

PROTOCOLS = ("authors", "seamless")
# What can be wrong with one case alone: damaged files, scans that do not fit, memory (torch's errors too).
_FAULTS = (UserError, OSError, MemoryError, RuntimeError)
_MOST_NAMED = 10


@dataclass
class Findings:
    """What came of the cases.

    Attributes
    ----------
    rows : list of dict
        Of ``cases.csv``.
    similarity : dict
        PSNR of slice pairs, see :func:`slice_similarity`.
    pictures : dict
        Of the first case, by ``thin``, ``thick`` and the systems' titles: its planes, see :mod:`.crops`.
    spacing : 3 floats
        Of its thin slices (x, y, z) in mm.
    faults : dict
        Why a case was not measured, by its name.
    """

    rows: list[dict] = field(default_factory=list)
    similarity: dict[str, list[float]] = field(default_factory=dict)
    pictures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        """Take in what came of other cases."""
        self.rows += other.rows
        self.faults |= other.faults
        for name, values in other.similarity.items():
            self.similarity.setdefault(name, []).extend(values)
        if not self.pictures:
            self.pictures, self.spacing = other.pictures, other.spacing

    def raise_faults(self) -> None:
        """Raise a UserError that names the cases that were not measured, if there are any."""
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
    precision: str = "auto",
    factor: int = 5,
    say: Callable[[str], None] = print,
    parts: Parts | None = None,
) -> Findings:
    """Measure every system on every case by both protocols; the same on all processes.

    A case that cannot be read, whose scans do not fit, or on which a system cannot run, is left out for all
    systems, so that they are compared on the same cases.

    Parameters
    ----------
    parts : Parts, optional
        Where rows are kept as soon as they are measured; what is there already is not measured again.
    """
    setting = {
        "precision": precision,
        "device": ranks.device.type,
        "version": __version__,
        "commit": commit(),
    }
    mine = Findings()
    for case in ranks.share(cases):
        try:
            mine.add(_measured(case, systems, ranks, setting, factor, say, parts or Parts(None)))
        except _FAULTS as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            mine.faults[case.name] = reason if case.name in reason else f"case {case.name}: {reason}"
            say(f"not measured: {mine.faults[case.name]}")
    found = Findings()
    for other in ranks.gathered(mine):
        found.add(other)
    order = [system.name for system in systems]
    found.rows.sort(key=lambda row: (row["case"], order.index(row["system"]), row["protocol"]))
    return found


def _measured(case: Case, systems, ranks: Ranks, setting: dict, factor: int, say, parts: Parts) -> Findings:
    """All that is found of one case."""
    setting = {**setting, "case": [_state(case.thick), _state(case.thin)], "factor": factor}
    truth = cache(partial(_truth, case, factor))  # read only if something is to be measured
    scan, _ = parts.kept(case.name, "scan", setting, lambda: _scan(truth()))
    found = Findings(similarity=scan.facts["similarity"], spacing=tuple(scan.facts["spacing"]))
    for name in ("thin", "thick"):
        found.pictures[name] = _planes_of(scan, name)
    for system in systems:
        work = partial(_run, system, case.name, truth, str(ranks.device), setting["precision"])
        part, old = parts.kept(case.name, system.name, {**setting, **system.decides}, work)
        found.rows += part.facts["rows"]
        found.pictures[system.title] = part.planes
        psnr = {row["protocol"]: row["psnr"] for row in part.facts["rows"]}
        scores = f"{psnr['authors']:.3f} dB (authors), {psnr['seamless']:.3f} dB (seamless)"
        say(f"{case.name}  {system.title}: {scores}{', measured before' if old else ''}")
    return found


def _state(path: Path) -> list:
    """Names, sizes and times of a case's files: whether they are still the same."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _truth(case: Case, factor: int) -> Truth:
    pair = case.read()
    check_pair(case.name, pair, factor)
    return Truth(pair)


def _scan(truth: Truth) -> Part:
    """What a case shows without any system: pictures of both scans and the similarity of their slices."""
    places = crop_places(truth.hu, truth.factor)
    nearest = (np.arange(len(truth.hu)) + truth.factor // 2) // truth.factor
    volumes = {"thin": truth.hu, "thick": np.asarray(truth.pair.thick.voxels)[nearest]}
    planes = {f"{n} {plane}": image for n, hu in volumes.items() for plane, image in cut(hu, places).items()}
    return Part({"similarity": slice_similarity(truth), "spacing": truth.pair.thin.spacing}, planes)


def _planes_of(scan: Part, name: str) -> dict[str, np.ndarray]:
    return {key.split()[1]: image for key, image in scan.planes.items() if key.startswith(f"{name} ")}


def _run(system: System, case: str, truth: Callable[[], Truth], device: str, precision: str) -> Part:
    """Rows of a system on a case by both protocols, and its planes by the seamless one."""
    try:
        rows, prediction = [], None
        for protocol in PROTOCOLS:
            # Methods without windows give the same for both; only the measure differs.
            if prediction is None or system.tiled:
                prediction = predict_pair(system, truth().pair, protocol, device, precision)
            rows.append(
                {
                    "case": case,
                    "system": system.name,
                    "protocol": protocol,
                    **measure(truth(), prediction.hu, protocol),
                    "seconds": prediction.seconds,
                    "peak_mib": prediction.peak_mib,
                    "weights": system.weights,
                    "gflop": prediction.gflop,
                    "tile": prediction.tile,
                }
            )
    except UserError as error:
        raise UserError(f"{system.title} on case {case}: {error}") from error
    return Part({"rows": rows}, cut(prediction.hu, crop_places(truth().hu, truth().factor)))


def write_cases(rows: list[dict], path: Path) -> None:
    """Write ``cases.csv``; what was not measured stays empty."""
    with replacing(path, ".csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _short(value) for key, value in row.items()})


def _short(value):
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
