"""Many inputs, one after the other: a folder of volume files and DICOM series in, a folder of results out.

Every input runs in a process of its own, so that one that runs out of memory takes no other with it.
An input whose result and provenance are there, made with the same settings of an input that has not changed
since, is not done again. Several machines share the work by rank (:mod:`~ThickToThinSRLib.batch.shard`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UserError
from ..io.results import provenance_path
from ..monitor import Monitor
from ..settings import Settings, flag
from ..worker.process import WorkerFailed, WorkerProcess, run
from ..worker.protocol import DONE, FAILED, RUNNING, THERE
from .inputs import BatchInput


@dataclass(frozen=True)
class Outcome:
    """How an input ended: its state, why if it failed, its seconds if it was done."""

    entry: BatchInput
    state: str
    reason: str = ""
    seconds: float | None = None


def enhance_many(
    entries: list[BatchInput],
    settings: Settings,
    tell: Callable[[Outcome], None],
    monitor: Monitor,
    overwrite: bool = False,
) -> list[Outcome]:
    """Enhance every input that has no result yet.

    Parameters
    ----------
    entries : list of BatchInput
        See :func:`~ThickToThinSRLib.batch.inputs.find_inputs`.
    tell : callable
        Called when an input begins and when it ends.
    overwrite : bool
        Whether to make results again that are there.

    Returns
    -------
    list of Outcome
        One an input; a failure is an outcome and stops nothing.

    Raises
    ------
    Cancelled
        If the monitor was asked to stop; the results made so far stay.
    """
    outcomes = []
    for entry in entries:
        monitor.check()
        if not overwrite and is_there(entry, settings):
            outcome = Outcome(entry, THERE)
        else:
            tell(Outcome(entry, RUNNING))
            outcome = _enhance(entry, settings, overwrite, monitor)
        outcomes.append(outcome)
        tell(outcome)
    return outcomes


def is_there(entry: BatchInput, settings: Settings) -> bool:
    """Whether the result of an input with these settings lies there, newer than the input."""
    beside = provenance_path(entry.target)
    try:
        report = json.loads(beside.read_text())
        made, whole = beside.stat().st_mtime, entry.target.exists()
        given = [*entry.files, *([settings.checkpoint] if settings.checkpoint else [])]
        unchanged = all(path.stat().st_mtime <= made for path in given)
    except (OSError, ValueError):
        return False
    same = isinstance(report, dict) and report.get("asked") == settings.for_provenance()
    return whole and unchanged and same


def _enhance(entry: BatchInput, settings: Settings, overwrite: bool, monitor: Monitor) -> Outcome:
    """Run one input; whatever goes wrong with it is its outcome."""
    source, target = str(entry.source.absolute()), str(entry.target.absolute())
    arguments = ["enhance", source, target, *settings.as_arguments()]
    # What this program did not write is replaced only if asked.
    if overwrite or provenance_path(entry.target).is_file():
        arguments.append("--overwrite")
    if entry.series is not None:
        arguments += ["--series", entry.series]

    def progress(event: dict) -> None:
        monitor.report(f"{entry.name}: {event['stage']}", event["done"], event["total"])

    try:
        entry.target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="thicktothin-") as folder:
            worker = WorkerProcess(sys.executable, arguments, folder, source=source, source_name=entry.name)
            report = run(worker, progress, monitor.is_cancelled)
    except UserError as error:
        return Outcome(entry, FAILED, error.worded(flag).removeprefix(f"{entry.name}: "))
    except WorkerFailed as error:
        return Outcome(entry, FAILED, " ".join([error.summary, *error.last_words[-1:]]))
    except OSError as error:
        return Outcome(entry, FAILED, f"{error.filename}: {error.strerror}")
    return Outcome(entry, DONE, seconds=report["seconds"])
