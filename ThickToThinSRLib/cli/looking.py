"""What is known of an input before any work: what it is, what each method would make of it and need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..batch.inputs import BatchInput, find_inputs
from ..enhance import Understood, describe_input, plan_for, repairs_of, understand
from ..errors import AlreadyThin, UserError
from ..inference.memory import memory_of
from ..inspection.warnings import find_warnings
from ..io.reading import read_input
from ..methods.registry import METHODS
from ..monitor import Monitor
from ..settings import Settings
from ..volume import Volume, slice_count
from .option_names import worded

_PLANES = ("sagittal", "coronal", "axial")  # by the patient's axis along which the slices follow each other
_STRAIGHT_DEGREES = 0.5
# A name that is never there: hidden ones are no inputs.
_NO_RESULTS = ".no-results"


def inputs_of(path: Path, monitor: Monitor) -> list[BatchInput]:
    """What `path` holds: a file is one input, a folder what `enhance-many` would find in it."""
    if path.is_dir():
        return find_inputs(path, path / _NO_RESULTS, monitor)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    return [BatchInput(str(path), path, path)]


def facts_of(entry: BatchInput, settings: Settings, refuse_thin: bool = False) -> dict:
    """What is known of one input, for JSON; ``error`` is why it cannot be enhanced, or None.

    `refuse_thin` as in :func:`~ThickToThinSRLib.enhance.plan_for`.
    """
    monitor = Monitor()
    facts = {"name": entry.name, "path": str(entry.source), "series": entry.series, "error": None}
    try:
        volume = read_input(entry.source, entry.series, settings.nifti, monitor, repairs_of(settings))
        understood = understand(volume, settings)
    except UserError as error:
        text = worded(error).replace(str(entry.source), entry.name).removeprefix(f"{entry.name}: ")
        return {**facts, "error": text, "notes": monitor.notes}
    for note in volume.source.get("notes", ()):
        monitor.note(note)
    if understood.thickness.advice is not None:
        monitor.note(understood.thickness.advice)
    facts.update(_scan_facts(volume, understood))
    try:
        plan = plan_for(volume, settings, understood, refuse_thin)
        weights = plan.request.weights
        facts["method"] = plan.method
        trained = weights.card.get("trained", {}) if weights else None
    except UserError as error:
        facts.update(error=worded(error), already_thin=isinstance(error, AlreadyThin))
        trained = None
    found = find_warnings(understood.hu, understood.scale, understood.thickness.acquisition, trained)
    facts["warnings"] = [*volume.source.get("warnings", ()), *found]
    facts["notes"] = monitor.notes
    facts["methods"] = list(_methods(volume, understood, settings, refuse_thin))
    return facts


def _scan_facts(volume: Volume, understood: Understood) -> dict:
    acquisition = understood.thickness.acquisition
    return {
        "series": volume.source.get("series_uid"),
        "series_description": volume.source.get("series_description"),
        "modality": volume.source.get("modality"),
        "description": describe_input(volume, understood),
        "size": list(volume.voxels.shape[::-1]),
        "voxel_mm": list(volume.spacing),
        "slice_axis": "ijk"[understood.axis],
        "spacing_mm": acquisition.spacing,
        "thickness_mm": acquisition.thickness,
        "thickness_from": understood.thickness.source,
        "orientation": orientation(volume, understood.axis),
        "intensity": understood.scale,
    }


def orientation(volume: Volume, axis: int) -> str:
    """How the slices lie in the patient: axial, coronal or sagittal, and how far off that."""
    normal = np.abs(volume.direction[:, axis])
    nearest = int(np.argmax(normal))
    degrees = float(np.degrees(np.arccos(min(1.0, normal[nearest]))))
    return _PLANES[nearest] + (f", {degrees:.1f} degrees oblique" if degrees > _STRAIGHT_DEGREES else "")


def _methods(volume: Volume, understood: Understood, settings: Settings, refuse_thin: bool) -> Iterator[dict]:
    """What every method would make, and need; or why it cannot."""
    acquisition = understood.thickness.acquisition
    for name, method in METHODS.items():
        try:
            plan = plan_for(volume, replace(settings, method=name), understood, refuse_thin)
        except UserError as error:
            yield {"method": name, "error": worded(error)}
            continue
        target, weights = plan.request.target_spacing, plan.request.weights
        count = slice_count(volume.voxels.shape[2 - understood.axis], acquisition.spacing, target)
        yield {
            "method": name,
            "error": None,
            "slices": count,
            "spacing_mm": target,
            "memory_gib": round(
                memory_of(volume, understood.axis, acquisition, target, weights)[1] / 2**30, 2
            ),
            "weights": f"{weights.card['title']} {weights.card['version']}" if weights else None,
            "learns": method.learns,
        }


def lines_of(facts: dict) -> Iterator[str]:
    """The same for a person to read: a line, its notes and warnings, a table of methods."""
    yield f"{facts['name']}: {facts.get('description', facts['error'])}"
    if "description" in facts:
        kind = [facts["modality"], facts["orientation"], facts["series_description"]]
        yield "  " + ", ".join(word for word in kind if word)
        if facts["series"]:
            yield f"  series {facts['series']}"
        if facts["error"]:
            yield f"  cannot be enhanced: {facts['error']}"
    yield from (f"  note: {note}" for note in facts.get("notes", ()))
    yield from (f"  warning: {warning}" for warning in facts.get("warnings", ()))
    for one in facts.get("methods", ()):
        if one["error"]:
            yield f"  {one['method']:14} no: {one['error']}"
            continue
        chosen = "*" if one["method"] == facts.get("method") else " "
        memory = f"{one['memory_gib']:.2f}" if one["memory_gib"] >= 0.01 else "< 0.01"
        needs = f"{memory} GiB" + (f", weights {one['weights']}" if one["weights"] else "")
        made = f"{one['slices']} slices every {one['spacing_mm']:g} mm"
        yield f" {chosen}{one['method']:14} {made:28} {needs}"
