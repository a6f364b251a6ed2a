"""Enhances many inputs, one after the other.

Every input runs in a process of its own, so that a lack of memory in one does not stop the others. An input
is skipped if its result and provenance exist, were made with the same settings, and are newer than the input.
Several machines share the work by rank (:mod:`~ThickToThinSRLib.batch.shard`).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import AlreadyThin, Cancelled, UserError
from ..io.results import provenance_path
from ..io.temporary import sweep, sweep_temporary_place, temporary_folder
from ..monitor import Monitor
from ..settings import Settings, flag
from ..worker.process import WorkerFailed, WorkerProcess, run
from ..worker.protocol import DONE, FAILED, RUNNING, SKIPPED, THERE
from .inputs import BatchInput
from .thin_already import FAIL, SKIP, copy_as_result

_SIGNAL_SECONDS = 0.5


@dataclass(frozen=True)
class Outcome:
    """The state of one input.

    Attributes
    ----------
    entry : BatchInput
    state : str
        One of the states in :mod:`~ThickToThinSRLib.worker.protocol`.
    reason : str
        Why it failed or was skipped; how it was done, if not by enhancing.
    seconds : float, optional
        Duration, if it was enhanced.
    """

    entry: BatchInput
    state: str
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Manner:
    """How a batch treats its inputs.

    Attributes
    ----------
    settings : Settings
        For every one of them.
    overwrite : bool
        Whether to make results again that are there.
    already_thin : {"skip", "copy", "fail"}
        What becomes of inputs whose slices are as thin as the result's.
    """

    settings: Settings
    overwrite: bool = False
    already_thin: str = SKIP


def enhance_many(
    entries: list[BatchInput], manner: Manner, on_change: Callable[[Outcome], None], monitor: Monitor
) -> list[Outcome]:
    """Enhance every input that has no result yet.

    Parameters
    ----------
    entries : list of BatchInput
        See :func:`~ThickToThinSRLib.batch.inputs.find_inputs`.
    on_change : callable
        Called when an input begins and when it ends.

    Returns
    -------
    list of Outcome
        One per input; a failure does not stop the rest.

    Raises
    ------
    Cancelled
        If the monitor was asked to stop; finished results remain.
    """
    sweep_temporary_place()
    for folder in sorted({entry.target.parent for entry in entries}):
        sweep(folder)
    outcomes = []
    for entry in entries:
        monitor.check()
        if not manner.overwrite and is_there(entry, manner.settings):
            outcome = Outcome(entry, THERE)
        else:
            on_change(Outcome(entry, RUNNING))
            outcome = _enhance(entry, manner, monitor)
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


def _enhance(entry: BatchInput, manner: Manner, monitor: Monitor) -> Outcome:
    """Enhance one input in a process of its own; an error becomes its outcome."""
    before = _made_at(entry)
    try:
        entry.target.parent.mkdir(parents=True, exist_ok=True)
        return Outcome(entry, DONE, seconds=_run(entry, manner, monitor)["seconds"])
    except AlreadyThin as error:
        return _already_thin(entry, manner, _reason(entry, error))
    except UserError as error:
        return Outcome(entry, FAILED, _reason(entry, error))
    except WorkerFailed as error:
        return Outcome(entry, FAILED, " ".join([error.summary, *error.last_words[-1:]]))
    except OSError as error:
        return Outcome(entry, FAILED, f"{error.filename}: {error.strerror}")
    except Cancelled:
        # The worker may have been done before it noticed.
        if _made_at(entry) != before and is_there(entry, manner.settings):
            return Outcome(entry, DONE)
        if not _is_cancelled(monitor):
            return Outcome(entry, FAILED, "the worker was told to stop from outside")
        raise


def _run(entry: BatchInput, manner: Manner, monitor: Monitor) -> dict:
    """Run the worker for one input; returns its report."""
    source, target = str(entry.source.absolute()), str(entry.target.absolute())
    arguments = ["enhance", source, target, "--refuse-thin", *manner.settings.as_arguments()]
    # Only results of this program are replaced without --overwrite.
    if manner.overwrite or provenance_path(entry.target).is_file():
        arguments.append("--overwrite")
    if entry.series is not None:
        arguments += ["--series", entry.series]

    def progress(event: dict) -> None:
        monitor.report(f"{entry.name}: {event['stage']}", event["done"], event["total"])

    with temporary_folder() as folder:
        worker = WorkerProcess(sys.executable, arguments, folder, source=source, source_name=entry.name)
        try:
            return run(worker, progress, monitor.is_cancelled)
        except UserError:
            raise
        except BaseException:
            # One that was killed could not remove what it was writing.
            sweep(entry.target.parent)
            sweep_temporary_place()
            raise


def _already_thin(entry: BatchInput, manner: Manner, reason: str) -> Outcome:
    if manner.already_thin == FAIL:
        return Outcome(entry, FAILED, reason)
    if manner.already_thin == SKIP:
        return Outcome(entry, SKIPPED, reason)
    overwrite = manner.overwrite or provenance_path(entry.target).is_file()
    try:
        copy_as_result(entry, manner.settings, reason, overwrite)
    except UserError as error:
        return Outcome(entry, FAILED, _reason(entry, error))
    return Outcome(entry, DONE, f"copied, {reason}")


def _reason(entry: BatchInput, error: UserError) -> str:
    return error.worded(flag).removeprefix(f"{entry.name}: ")


def _made_at(entry: BatchInput) -> int | None:
    """When the provenance of a result was written, if it is there."""
    try:
        return provenance_path(entry.target).stat().st_mtime_ns
    except OSError:
        return None


def _is_cancelled(monitor: Monitor) -> bool:
    """Whether the batch is to stop; a signal to the whole group may reach the worker first."""
    end = time.monotonic() + _SIGNAL_SECONDS
    while not monitor.is_cancelled():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
