"""What is chosen and checked before the work begins: how the input is understood, and the method's task."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .. import __version__
from ..acquisition import Acquisition
from ..errors import AlreadyThin, UserError
from ..inference.memory import check_result_fits
from ..intensity import resolve_intensity, to_hu
from ..io.integrity import check_finite
from ..methods.choices import Thickness, check_options, choose_method, choose_spacing, choose_thickness
from ..methods.registry import METHODS
from ..methods.request import Request
from ..settings import Settings
from ..volume import Volume, through_plane_axis

# Metres or micrometres taken for millimetres; no scan of a person has voxels as large or as small.
_SMALLEST_SPACING, _LARGEST_SPACING = 0.01, 100.0


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
        from ..inference.devices import resolve_device

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


def plan_facts(plan: Plan, settings: Settings, description: str) -> dict:
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
        "profile": request.profiled.profile,
        "profile_rounding": request.profiled.rounding,
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
