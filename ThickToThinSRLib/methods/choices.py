"""The choice of method, weights, slice thickness and target spacing where the user leaves them open.

The command line, the Slicer module and the benchmark use the same functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..acquisition import Acquisition
from ..errors import AlreadyThin, UserError
from ..inspection.thickness_estimate import estimate_thickness
from ..settings import DEFAULT_METHOD, DEFAULT_SPACING, OPTIONS, Settings
from ..volume import Volume, check_target_spacing
from ..weights.added import added_for
from ..weights.bundled import bundled_for, is_bundled
from ..weights.checkpoint import Weights
from .registry import METHODS, methods_of

# Allowed ratios of slice thickness to slice spacing. Clinical extremes are about 1 mm every 20 mm, and slabs
# of 10 mm every 1 mm.
_THICKNESS_RATIOS = (0.01, 20.0)


def choose_method(
    method: str | None, checkpoint: Path | None, network: str | None = None
) -> tuple[str, Weights | None]:
    """Choose the method and its weights; a checkpoint alone implies its method.

    Without a checkpoint, a method uses the weights that the user added, else those that come with the
    program.

    Returns
    -------
    method : str
        Name of the method.
    weights : Weights or None
        None if the method needs no weights, or trains `network` from the start.

    Raises
    ------
    UserError
        For an unknown method, missing weights, or weights of another method.
    """
    if method is not None and method not in METHODS:
        raise UserError(f"method {method!r} is not one of {', '.join(METHODS)}")
    if checkpoint is None:
        method = method or DEFAULT_METHOD
        return method, _default_weights(method, network)
    weights = Weights.open(checkpoint)
    implied = methods_of(weights.network)
    if not implied:
        raise UserError(f"{checkpoint}: holds weights of {weights.network!r}, which no method uses")
    if method not in (None, *implied):
        raise UserError(f"{checkpoint}: holds weights of {implied[0]}, not of {method}")
    if network not in (None, weights.network):
        raise UserError(
            f"{checkpoint}: holds weights of {weights.network}, not of {{network}} {network}", "network"
        )
    return implied[0], weights


def _default_weights(method: str, network: str | None) -> Weights | None:
    """The weights of a method if the user chooses none: added ones, else bundled ones."""
    entry = METHODS[method]
    if entry.network is None:
        return None
    architecture = network if network in entry.untrained else entry.network
    # Weights that the user added, such as published ones, come before the bundled ones.
    weights = added_for(architecture) or bundled_for(architecture)
    if weights is None and architecture in entry.untrained:
        return None
    if weights is None:
        raise UserError(
            f"method {method} needs weights: give {{checkpoint}} FILE.safetensors, or add them once by "
            "{add_weights}",
            "checkpoint",
            "add_weights",
        )
    return weights


def learned_from_chests(weights: Weights | None) -> bool:
    """Whether weights are known to have learned from chests: those that come with the program."""
    return weights is not None and is_bundled(weights)


def check_options(method: str, settings: Settings) -> None:
    """Raise UserError if an option was given that the method does not have."""
    for name in settings.given():
        methods = OPTIONS[name].methods
        if methods is not None and method not in methods:
            has = "have" if len(methods) > 1 else "has"
            raise UserError(f"method {method} has no {{{name}}}; only {' and '.join(methods)} {has} it", name)


def choose_spacing(settings: Settings, spacing: float, network_factor: int | None) -> float:
    """The target spacing in mm: from the options, else that of the network, else 1 mm.

    Parameters
    ----------
    settings : Settings
        ``spacing`` or ``factor`` is used if given.
    spacing : float
        Slice spacing of the input, mm.
    network_factor : int or None
        Upsampling factor of the network, if it is fixed.

    Raises
    ------
    UserError
        If the result would not be finer than the input.
    """
    if settings.spacing is not None:
        try:
            return check_target_spacing(settings.spacing, spacing)
        except UserError as error:
            if math.isfinite(settings.spacing) and settings.spacing > spacing:
                raise AlreadyThin(error.text) from error
            raise
    if settings.factor is not None:
        if not (math.isfinite(settings.factor) and settings.factor >= 1):
            raise UserError(f"the upsampling factor must be 1 or larger, not {settings.factor:g}")
        return spacing / settings.factor
    if network_factor is not None:
        return spacing / network_factor
    if spacing <= DEFAULT_SPACING:
        raise AlreadyThin(
            f"the input already has slices every {spacing:g} mm: choose a smaller {{spacing}}", "spacing"
        )
    return DEFAULT_SPACING


@dataclass(frozen=True)
class Thickness:
    """The slice thickness that is used, and where it comes from.

    Attributes
    ----------
    acquisition : Acquisition
        Holds the thickness and the slice spacing.
    source : str
        Where the thickness comes from: ``option``, ``DICOM``, an estimate or an assumption.
    advice : str, optional
        A line for the user if the thickness is assumed and the scan suggests a value.
    """

    acquisition: Acquisition
    source: str
    advice: str | None = None


def choose_thickness(volume: Volume, axis: int, thickness: float | str | None) -> Thickness:
    """The slice thickness of a volume in HU.

    Parameters
    ----------
    thickness : float or "estimate", optional
        In mm, or estimated from the scan; by default from DICOM, else the slice spacing.

    Raises
    ------
    UserError
        If the scan allows no estimate, or if the thickness is impossible for the spacing (wrong unit).
    """
    if thickness not in (None, "estimate"):
        return _checked(Thickness(*acquisition_of(volume, axis, thickness)))
    acquisition, source = acquisition_of(volume, axis, None)
    if thickness is None and source == "DICOM":
        return _checked(Thickness(acquisition, source))
    estimate = estimate_thickness(volume, axis)
    if thickness is None:
        advice = None
        if estimate is not None:
            advice = f"estimated from the scan, the slice thickness is {estimate}; set it if you know it"
        return _checked(Thickness(acquisition, source, advice))
    if estimate is None:
        raise UserError(
            "the slice thickness cannot be estimated from this scan: give {thickness} in mm", "thickness"
        )
    width = round(estimate.thickness, 1)
    return _checked(Thickness(Acquisition(width, acquisition.spacing), f"estimated, {estimate}"))


def acquisition_of(volume: Volume, axis: int, thickness: float | None) -> tuple[Acquisition, str]:
    """The acquisition of a volume, and where its thickness comes from: option, DICOM or assumption."""
    spacing = volume.spacing[axis]
    if thickness is not None:
        return Acquisition(thickness, spacing), "option"
    if volume.thickness is not None and axis == (2 if volume.slice_axis is None else volume.slice_axis):
        return Acquisition(volume.thickness, spacing), "DICOM"
    return Acquisition(spacing, spacing), "assumed equal to the spacing"


def _checked(thickness: Thickness) -> Thickness:
    """Raise UserError for a thickness that no scanner makes, probably given in cm or micrometres."""
    acquisition = thickness.acquisition
    smallest, largest = (ratio * acquisition.spacing for ratio in _THICKNESS_RATIOS)
    if not smallest <= acquisition.thickness <= largest:
        raise UserError(
            f"a slice thickness of {acquisition.thickness:g} mm ({thickness.source}) does not fit slices "
            f"every {acquisition.spacing:g} mm: give {{thickness}} in mm",
            "thickness",
        )
    return thickness
