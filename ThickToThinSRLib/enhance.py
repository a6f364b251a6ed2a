"""The whole enhancement: from a file or DICOM folder with thick slices to a result with its provenance."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, consistency
from .acquisition import Acquisition
from .errors import AlreadyThin, UserError
from .inference.memory import check_result_fits
from .inspection.body_part import is_chest
from .inspection.warnings import find_warnings
from .intensity import resolve_intensity, to_hu, to_unit
from .io.dicom.derived_series import check_modality, wants_series
from .io.dicom.regularity import Repairs
from .io.integrity import check_finite
from .io.reading import read_input
from .io.replacing import check_free, replacing
from .io.results import check_target, write_result
from .io.temporary import sweep, sweep_temporary_place
from .io.volume_files import write_volume, written_suffix
from .methods.choices import (
    Thickness,
    check_options,
    choose_method,
    choose_spacing,
    choose_thickness,
    learned_from_chests,
)
from .methods.registry import METHODS
from .methods.request import Request
from .monitor import Monitor
from .settings import Settings
from .trust.noise import restore_noise
from .trust.support import largest_unsupported
from .trust.uncertainty import expected_error, mean_by_tissue
from .volume import Volume, cast, refined, through_plane_axis

# Metres or micrometres taken for millimetres; no scan of a person has voxels as large or as small.
_SMALLEST_SPACING, _LARGEST_SPACING = 0.01, 100.0
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
    thin = METHODS[plan.method].enhance(plan.hu, plan.request, monitor)
    expected = None if settings.uncertainty is None else _write_expected_error(thin, plan, monitor)
    noise = _restore_noise(thin, plan, monitor) if settings.noise == "restore" else None
    stacks, spacing = _stacks(thin, plan), plan.request.target_spacing
    where = _where(monitor.facts.get("device", "cpu"))
    difference = consistency.measure(*stacks, plan.request.acquisition, spacing, where)
    unsupported = largest_unsupported(*stacks, plan.request.acquisition, spacing, _pixel(thin, plan))
    if plan.scale == "unit":
        thin = _to_unit_in_place(thin, volume.voxels.dtype)
    if difference is not None:
        monitor.say(
            f"consistency with the input: mean {difference.mean:.2f} HU, 99.9 % under "
            f"{difference.percentile_99_9:.1f} HU, worst slice {difference.worst_slice:.2f} HU"
        )
    report = {
        **_plan_facts(plan, settings, description),
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


@dataclass(frozen=True)
class Understood:
    """What an input is taken for, whatever the method.

    Attributes
    ----------
    axis : int
        The index axis from slice to slice.
    hu : Volume
        The input in HU.
    scale : {"hu", "unit"}
        The scale of the input's own voxels.
    thickness : Thickness
        Of the input's slices, and where it comes from.
    """

    axis: int
    hu: Volume
    scale: str
    thickness: Thickness


@dataclass(frozen=True)
class Plan:
    """All choices, made before the work begins.

    Attributes
    ----------
    method : str
        Name of the method in the registry.
    request : Request
        The method's task.
    understood : Understood
        The input as the program understood it.
    """

    method: str
    request: Request
    understood: Understood

    @property
    def hu(self) -> Volume:
        return self.understood.hu

    @property
    def scale(self) -> str:
        return self.understood.scale

    @property
    def thickness(self) -> Thickness:
        return self.understood.thickness


def understand(volume: Volume, settings: Settings) -> Understood:
    """How the program understands a volume.

    Raises
    ------
    UserError
        If it is not a stack of slices of a person, or its thickness or scale cannot be determined.
    """
    check_finite(volume.voxels, volume.source.get("name", "input"))
    axis = through_plane_axis(volume, settings.axis)
    _check_slices(volume, axis)
    scale = resolve_intensity(settings.intensity, volume.voxels)
    hu = volume if scale == "hu" else replace(volume, voxels=to_hu(volume.voxels.astype(np.float32)))
    return Understood(axis, hu, scale, choose_thickness(hu, axis, settings.thickness))


def plan_for(
    volume: Volume, settings: Settings, understood: Understood | None = None, refuse_thin: bool = False
) -> Plan:
    """Choose what the settings leave open, and check before the work begins that it can be done.

    Parameters
    ----------
    understood : Understood, optional
        What :func:`understand` made of the volume, where that is known.
    refuse_thin : bool
        Whether slices that do not overlap are refused if the spacing asked for is their own. A user may want
        that for one scan, to change the slice thickness; in a batch there is nothing to do.

    Raises
    ------
    AlreadyThin
        If the result would not be finer than the input.
    UserError
        If the volume, the settings and the weights do not fit together.
    """
    if settings.device not in ("auto", "cpu"):
        # A missing device is an error even if the method does not use one.
        from .inference.devices import resolve_device

        resolve_device(settings.device)
    method, weights = choose_method(settings.method, settings.checkpoint, settings.network)
    check_options(method, settings)
    understood = understood or understand(volume, settings)
    axis, acquisition = understood.axis, understood.thickness.acquisition
    target_spacing = choose_spacing(settings, acquisition.spacing, weights.factor if weights else None)
    if refuse_thin:
        _check_not_thin(acquisition, target_spacing)
    check_result_fits(volume, axis, acquisition, target_spacing, weights)
    request = Request(
        axis=axis,
        target_spacing=target_spacing,
        acquisition=acquisition,
        weights=weights,
        settings=settings,
    )
    return Plan(method, request, understood)


def _check_slices(volume: Volume, axis: int) -> None:
    """Refuse what is no stack of slices of a person: a single one, or lengths in a wrong unit."""
    name, spacing = volume.source.get("name", "the input"), volume.spacing
    if not all(_SMALLEST_SPACING <= value <= _LARGEST_SPACING for value in spacing):
        what = f"slices every {spacing[axis]:g} mm"
        if _SMALLEST_SPACING <= spacing[axis] <= _LARGEST_SPACING:
            what = f"voxels of {' x '.join(f'{value:g}' for value in spacing)} mm"
        raise UserError(f"{name}: {what}: the unit or the spacing in its header is wrong; mend it there")
    count = volume.voxels.shape[2 - axis]
    if count < 2:
        raise UserError(
            f"{name}: has one slice along {'ijk'[axis]}, so there is nothing between slices to make: "
            "two are the least"
        )


def _check_not_thin(acquisition: Acquisition, target_spacing: float) -> None:
    """Refuse to make what is there: the same spacing, of slices that do not overlap."""
    spacing = acquisition.spacing
    if target_spacing >= spacing * (1 - 1e-6) and acquisition.thickness <= spacing * (1 + 1e-3):
        raise AlreadyThin(
            f"the input already has slices every {spacing:g} mm: choose a smaller {{spacing}}", "spacing"
        )


def _plan_facts(plan: Plan, settings: Settings, description: str) -> dict:
    """The part of the provenance that is known from the plan."""
    request, weights = plan.request, plan.request.weights
    checkpoint = None
    if weights:
        titles = {key: weights.card[key] for key in ("title", "version")}
        checkpoint = {"path": str(weights.path), "sha256": weights.sha256, **titles}
    consistent = settings.consistency and settings.tiling != "authors"
    return {
        "method": plan.method,
        "learned": METHODS[plan.method].learns,
        "program": f"thicktothin {__version__}",
        "checkpoint": checkpoint,
        "input_description": description,
        "through_plane_axis": request.axis,
        "spacing_mm": request.acquisition.spacing,
        "target_spacing_mm": request.target_spacing,
        "thickness_mm": request.acquisition.thickness,
        "thickness_from": plan.thickness.source,
        "intensity": plan.scale,
        "tiling": settings.tiling if weights else None,
        "made_consistent": consistent if weights else None,
    }


def describe_input(volume: Volume, understood: Understood) -> str:
    """The input as the program understood it, in one line."""
    z, y, x = volume.voxels.shape
    spacing = " x ".join(f"{value:.3f}" for value in volume.spacing)
    return (
        f"{x} x {y} x {z} voxels of {spacing} mm, slices along {'ijk'[understood.axis]}, slice thickness "
        f"{understood.thickness.acquisition.thickness:g} mm ({understood.thickness.source}), intensity "
        f"{'HU' if understood.scale == 'hu' else '[0, 1]'}"
    )


def _stacks(thin: Volume, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Slices of result and input, in HU."""
    return thin.slices_first(plan.request.axis), plan.hu.slices_first(plan.request.axis)


def _pixel(thin: Volume, plan: Plan) -> float:
    return float(np.mean([spacing for axis, spacing in enumerate(thin.spacing) if axis != plan.request.axis]))


def _write_expected_error(thin: Volume, plan: Plan, monitor: Monitor) -> dict:
    """Write the expected error of each voxel; its mean by tissue, for the provenance."""
    request = plan.request
    slices, thick = _stacks(thin, plan)
    error = expected_error(slices, thick, request.acquisition, request.target_spacing, plan.method, monitor)
    means = mean_by_tissue(error, slices)
    write_volume(refined(plan.hu, request.axis, request.target_spacing, error), request.settings.uncertainty)
    told = ", ".join(f"{tissue} {mean:g} HU" for tissue, mean in means.items())
    monitor.say(f"expected error: {told}")
    return means


def _restore_noise(thin: Volume, plan: Plan, monitor: Monitor) -> dict | None:
    """Add the noise of thin slices to `thin`, in place; what was added, for the provenance."""
    request = plan.request
    restored = restore_noise(
        *_stacks(thin, plan),
        request.acquisition,
        request.target_spacing,
        request.settings.noise_seed,
        monitor,
    )
    if restored is None:
        monitor.warn("no noise was added: there is no smooth tissue in which to measure the input's noise")
        return None
    monitor.note(
        f"noise synthesised (seed {restored.seed}): the input's is {restored.thick_hu:g} HU, that of thin "
        f"slices {restored.thin_hu:g} HU; {restored.added_hu:g} HU were added"
    )
    return asdict(restored)


def _to_unit_in_place(thin: Volume, dtype: np.dtype) -> Volume:
    for plane in thin.voxels:
        plane[...] = to_unit(plane)
    return replace(thin, voxels=cast(thin.voxels, dtype))
