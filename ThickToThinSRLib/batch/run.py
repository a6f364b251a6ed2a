"""Enhances many inputs, one after the other.

Every input runs in a process of its own, so that a lack of memory in one does not stop the others. An input
is skipped if its result and provenance exist, were made with the same settings, and are newer than the input.
Several machines share the work by rank (:mod:`~ThickToThinSRLib.batch.shard`).
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
    """The state of one input.

    Attributes
    ----------
    entry : BatchInput
    state : str
        One of the states in :mod:`~ThickToThinSRLib.worker.protocol`.
    reason : str
        Why it failed, if it failed.
    seconds : float, optional
        Duration, if it was enhanced.
    """

    entry: BatchInput
    state: str
    reason: str = ""
    seconds: float | None = None


def enhance_many(
    entries: list[BatchInput],
    settings: Settings,
    on_change: Callable[[Outcome], None],
    monitor: Monitor,
    overwrite: bool = False,
) -> list[Outcome]:
    """Enhance every input that has no result yet.

    Parameters
    ----------
    entries : list of BatchInput
        See :func:`~ThickToThinSRLib.batch.inputs.find_inputs`.
    on_change : callable
        Called when an input begins and when it ends.
    overwrite : bool
        Whether to replace existing results.

    Returns
    -------
    list of Outcome
        One per input; a failure does not stop the rest.

    Raises
    ------
    Cancelled
        If the monitor was asked to stop; finished results remain.
    """
    outcomes = []
    for entry in entries:
        monitor.check()
        if not overwrite and is_there(entry, settings):
            outcome = Outcome(entry, THERE)
        else:
            on_change(Outcome(entry, RUNNING))
            outcome = _enhance(entry, settings, overwrite, monitor)
        outcomes.append(outcome)
        on_change(outcome)
    return outcomes


def is_there(entry: BatchInput, settings: Settings) -> bool:
    """Whether a result exists that was made with these settings and is newer than input and checkpoint."""
    provenance = provenance_path(entry.target)
    try:
        report = json.loads(provenance.read_text())
        written, exists = provenance.stat().st_mtime, entry.target.exists()
        used_files = [*entry.files, *([settings.checkpoint] if settings.checkpoint else [])]
        unchanged = all(path.stat().st_mtime <= written for path in used_files)
    except (OSError, ValueError):
        return False
    same_settings = isinstance(report, dict) and report.get("asked") == settings.for_provenance()
    return exists and unchanged and same_settings


def _enhance(entry: BatchInput, settings: Settings, overwrite: bool, monitor: Monitor) -> Outcome:
    """Enhance one input in a process of its own; an error becomes its outcome."""
    source, target = str(entry.source.absolute()), str(entry.target.absolute())
    arguments = ["enhance", source, target, *settings.as_arguments()]
    # Only results of this program are replaced without --overwrite.
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
