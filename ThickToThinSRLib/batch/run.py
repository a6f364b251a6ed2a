"""Many inputs, one after the other: a folder of volume files and DICOM series in, a folder of results out.

Every case runs in a process of its own, so that one which is ended for lack of memory takes no other with it.
A case whose result and provenance are there, made with the same settings of an input that has not changed
since, is not done again. Several machines share the work by rank (:mod:`~ThickToThinSRLib.batch.shard`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..enhance import Settings
from ..errors import Cancelled, UserError
from ..io.results import asked_for, provenance_path
from ..worker.process import WorkerFailed, WorkerProcess, run
from ..worker.reporters import DONE, FAILED, RUNNING, THERE
from .inputs import Case


@dataclass(frozen=True)
class Outcome:
    """How a case ended: its state, why if it failed, its seconds if it was done."""

    case: Case
    state: str
    reason: str = ""
    seconds: float | None = None


def enhance_many(
    cases: list[Case],
    settings: Settings,
    overwrite: bool = False,
    tell: Callable[[Outcome], None] = lambda outcome: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Enhance every case that has no result yet.

    Parameters
    ----------
    cases
        See :func:`~ThickToThinSRLib.batch.inputs.find_cases`.
    overwrite
        Whether to make results again that are there.
    tell
        Called when a case begins and when it ends.

    Returns
    -------
    list of Outcome
        One a case; a failure is an outcome and stops nothing.

    Raises
    ------
    Cancelled
        If `cancelled` said so; the results made so far stay.
    """
    outcomes = []
    for case in cases:
        if cancelled():
            raise Cancelled
        if not overwrite and is_there(case, settings):
            outcome = Outcome(case, THERE)
        else:
            tell(Outcome(case, RUNNING))
            outcome = _enhance(case, settings, overwrite, progress, cancelled)
        outcomes.append(outcome)
        tell(outcome)
    return outcomes


def is_there(case: Case, settings: Settings) -> bool:
    """Whether the result of `case` with these settings lies there, newer than its input."""
    beside = provenance_path(case.target)
    try:
        report = json.loads(beside.read_text())
        made, whole = beside.stat().st_mtime, case.target.exists()
        given = [*case.files, *([settings.checkpoint] if settings.checkpoint else [])]
        unchanged = all(path.stat().st_mtime <= made for path in given)
    except (OSError, ValueError):
        return False
    asked = asked_for(settings, Settings())
    return whole and unchanged and isinstance(report, dict) and report.get("asked") == asked


def _enhance(case: Case, settings: Settings, overwrite: bool, progress, cancelled) -> Outcome:
    """Run one case; whatever goes wrong with it is its outcome."""
    try:
        case.target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="thicktothin-") as folder:
            worker = WorkerProcess(
                sys.executable,
                case.source.absolute(),
                case.target.absolute(),
                Path(folder),
                source_name=case.name,
                # What this program did not write is replaced only if asked.
                overwrite=overwrite or provenance_path(case.target).is_file(),
                series=case.series,
                **_as_options(settings),
            )
            report = run(
                worker,
                lambda event: progress(f"{case.name}: {event['stage']}", event["done"], event["total"]),
                cancelled,
            )
    except UserError as error:
        return Outcome(case, FAILED, str(error).removeprefix(f"{case.name}: "))
    except WorkerFailed as error:
        return Outcome(case, FAILED, " ".join([error.summary, *error.last_words[-1:]]))
    except OSError as error:
        return Outcome(case, FAILED, f"{error.filename}: {error.strerror}")
    return Outcome(case, DONE, seconds=report["seconds"])


def _as_options(settings: Settings) -> dict:
    """Settings as the options of a worker."""
    options = {**asked_for(settings, Settings()), "device": settings.device}
    if "consistency" in options:
        options["consistency"] = "off"
    return options
