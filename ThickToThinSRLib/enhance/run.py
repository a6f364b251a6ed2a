"""The whole enhancement: from a file or DICOM folder with thick slices to a result with its provenance."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import consistency
from ..errors import UserError
from ..inspection.body_part import is_chest
from ..inspection.warnings import find_warnings
from ..intensity import to_unit
from ..io.dicom.derived_series import check_modality, wants_series
from ..io.dicom.regularity import Repairs
from ..io.reading import read_input
from ..io.replacing import check_free, replacing
from ..io.results import check_target, write_result
from ..io.temporary import sweep, sweep_temporary_place
from ..io.volume_files import written_suffix
from ..methods.choices import learned_from_chests
from ..methods.registry import METHODS
from ..monitor import Monitor
from ..settings import Settings
from ..trust.support import largest_unsupported
from ..volume import Volume, cast
from .measures import add_noise, pixel, stacks, write_expected_error
from .plan import describe_input, plan_facts, plan_for
from .profile import with_profile

NOT_A_CHEST = (
    "this scan does not look like a chest; the weights that come with the program learned from chests"
)


def enhance_file(
    source: Path,
    target: Path,
    settings: Settings,
    monitor: Monitor | None = None,
    *,
    series: str | None = None,
    overwrite: bool = False,
    refuse_thin: bool = False,
) -> dict:
    """Enhance `source`, write the result to `target` and ``<target>.provenance.json`` beside it.

    Parameters
    ----------
    source : Path
        A volume file, or a folder with a DICOM series.
    target : Path
        A volume file or, where `source` is a DICOM folder, a new folder for a derived series.
    settings : Settings
        The options of the enhancement.
    monitor : Monitor, optional
        Receives progress and messages, and can stop the work.
    series : str, optional
        UID of the series to read if the folder holds several.
    overwrite : bool
        Whether an existing target is replaced.
    refuse_thin : bool
        See :func:`plan_for`.

    Returns
    -------
    dict
        The provenance: method, weights, spacing, thickness, device, seconds, consistency, warnings.

    Raises
    ------
    UserError
        For a problem that the user can solve; nothing is written.
    Cancelled
        If the monitor was asked to stop; nothing is written.
    """
    target, monitor = Path(target), monitor or Monitor()
    check_target(source, target, overwrite)
    sweep(target.parent)
    sweep_temporary_place()
    weights_target, requested = settings.save_weights, settings.for_provenance()
    if weights_target is not None:
        check_free(weights_target, overwrite, source)
    if settings.uncertainty is not None:
        written_suffix(settings.uncertainty)
        check_free(settings.uncertainty, overwrite, source)
        if settings.uncertainty.resolve() == target.resolve():
            raise UserError(f"{target}: {{uncertainty}} needs another name than the result", "uncertainty")
    try:
        volume = read_input(source, series, settings.nifti, monitor, repairs_of(settings))
        if wants_series(source, target):
            check_modality(volume.source.get("modality"), str(source))
        # Adapted weights and expected errors appear with the result or not at all.
        with (
            _beside(weights_target, ".safetensors") as weights_file,
            _beside(settings.uncertainty) as uncertainty,
        ):
            given = replace(settings, save_weights=weights_file, uncertainty=uncertainty)
            thin, report = enhance_volume(volume, given, monitor, refuse_thin)
            monitor.check()
            report = {"input": str(source), "output": str(target), "asked": requested, **report}
            if weights_target is not None:
                report["adapted_weights"] = str(weights_target)
            if settings.uncertainty is not None:
                report["uncertainty"] = str(settings.uncertainty)
            write_result(thin, source, target, report, monitor)
    except MemoryError as error:
        raise UserError(
            f"{source}: not enough memory for the result; choose a larger {{spacing}}", "spacing"
        ) from error
    return report


def _beside(path: Path | None, suffix: str | None = None):
    """A temporary file that takes the place of `path`, if there is one; by default a volume file."""
    return nullcontext() if path is None else replacing(path, suffix or written_suffix(path))


def repairs_of(settings: Settings) -> Repairs:
    """What settings allow to be done to irregular slices."""
    return Repairs(settings.untilt, settings.resample_uneven)


def enhance_volume(
    volume: Volume, settings: Settings, monitor: Monitor | None = None, refuse_thin: bool = False
) -> tuple[Volume, dict]:
    """Enhance a volume in memory.

    Parameters
    ----------
    volume : Volume
        Thick slices, in HU or on [0, 1].
    settings, monitor
        See :func:`enhance_file`.
    refuse_thin : bool
        See :func:`plan_for`.

    Returns
    -------
    thin : Volume
        On the scale and of the type of `volume`.
    report : dict
        The provenance.

    Raises
    ------
    UserError, Cancelled
        See :func:`enhance_file`.
    """
    started, monitor = time.monotonic(), monitor or Monitor()
    plan = plan_for(volume, settings, refuse_thin=refuse_thin)
    description = describe_input(volume, plan.understood)
    monitor.say(f"input: {description}")
    for note in volume.source.get("notes", ()):
        monitor.note(note)
    for warning in volume.source.get("warnings", ()):
        monitor.warn(warning)
    if plan.thickness.advice is not None:
        monitor.note(plan.thickness.advice)
    monitor.say(f"method: {plan.method}, to slices every {plan.request.target_spacing:g} mm")
    weights = plan.request.weights
    training_range = weights.card.get("trained", {}) if weights else None
    for warning in find_warnings(plan.hu, plan.scale, plan.request.acquisition, training_range):
        monitor.warn(warning)
    if learned_from_chests(weights) and not is_chest(plan.hu, plan.request.axis):
        monitor.note(NOT_A_CHEST)
    plan = with_profile(plan, monitor)
    thin = METHODS[plan.method].enhance(plan.hu, plan.request, monitor)
    expected = None if settings.uncertainty is None else write_expected_error(thin, plan, monitor)
    noise = add_noise(thin, plan, monitor) if settings.noise == "restore" else None
    slices, spacing = stacks(thin, plan), plan.request.target_spacing
    where = _where(monitor.facts.get("device", "cpu"))
    difference = consistency.measure(*slices, plan.request.profiled, spacing, where)
    unsupported = largest_unsupported(*slices, plan.request.profiled, spacing, pixel(thin, plan))
    if plan.scale == "unit":
        thin = _to_unit_in_place(thin, volume.voxels.dtype)
    if difference is not None:
        monitor.say(
            f"consistency with the input: mean {difference.mean:.2f} HU, 99.9 % under "
            f"{difference.percentile_99_9:.1f} HU, worst slice {difference.worst_slice:.2f} HU"
        )
    report = {
        **plan_facts(plan, settings, description),
        "device": monitor.facts.get("device", "cpu"),
        "precision": monitor.facts.get("precision"),
        "straightening": volume.source.get("straightening"),
        "adaptation": monitor.facts.get("adaptation"),
        "expected_error_hu": expected,
        "synthetic_noise": noise,
        "largest_unsupported": unsupported and unsupported.as_dict(),
        "consistency_hu": difference and difference.as_dict(),
        "warnings": monitor.warnings,
        "notes": monitor.notes,
        "seconds": round(time.monotonic() - started, 2),
    }
    return thin, report


def _where(device: str) -> Callable[[np.ndarray], Any]:
    """From an array to where consistency is measured: as tensor on the GPU that ran the network."""
    if not device.startswith("cuda"):
        return np.asarray
    import torch

    return lambda array: torch.from_numpy(array).to(device)


def _to_unit_in_place(thin: Volume, dtype: np.dtype) -> Volume:
    for plane in thin.voxels:
        plane[...] = to_unit(plane)
    return replace(thin, voxels=cast(thin.voxels, dtype))
