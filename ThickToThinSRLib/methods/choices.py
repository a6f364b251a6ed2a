"""What a request leaves open: method, weights, slice thickness and target spacing, chosen in one place.

The command line, the Slicer module and the benchmark all choose by these functions.
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
from ..weights.bundled import bundled_for
from ..weights.checkpoint import Weights
from .registry import METHODS, methods_of

# Slice thickness over slice spacing: 1 mm every 20 mm, and slabs of 10 mm every 1 mm, are about the extremes.
_THICKNESS_SHARES = (0.01, 20.0)


def choose_method(
    method: str | None, checkpoint: Path | None, network: str | None = None
) -> tuple[str, Weights | None]:
    """The method to use and its weights; a checkpoint alone implies its method.

    Without a checkpoint a method takes the weights that the user added, or else those that come with the
    program; they are None if none come for the asked `network` and the method can train it from the start.

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
        raise UserError(f"{checkpoint}: holds weights of {weights.network!r}, which no method here uses")
    if method not in (None, *implied):
        raise UserError(f"{checkpoint}: holds weights of {implied[0]}, not of {method}")
    if network not in (None, weights.network):
        raise UserError(
            f"{checkpoint}: holds weights of {weights.network}, not of {{network}} {network}", "network"
        )
    return implied[0], weights


def _default_weights(method: str, network: str | None) -> Weights | None:
    """The weights that a method takes where the user chose none: added ones, else bundled ones."""
    entry = METHODS[method]
    if entry.network is None:
        return None
    wanted = network if network in entry.untrained else entry.network
    # What the user added, such as an author's published weights, comes before what ships.
    weights = added_for(wanted) or bundled_for(wanted)
    if weights is None and wanted in entry.untrained:
        return None
    if weights is None:
        raise UserError(
            f"method {method} needs weights: give {{checkpoint}} FILE.safetensors, or add them once by "
            "{add_weights}",
            "checkpoint",
            "add_weights",
        )
    return weights


def check_options(method: str, settings: Settings) -> None:
    """Raise UserError if an option was given to a method that does not take it."""
    for name in settings.given():
        takers = OPTIONS[name].methods
        if takers is not None and method not in takers:
            ends = f"only {' and '.join(takers)} {'do' if len(takers) > 1 else 'does'}"
            raise UserError(f"method {method} does not take {{{name}}}; {ends}", name)


def choose_spacing(settings: Settings, spacing: float, network_factor: int | None) -> float:
    """Target spacing in mm: the option's, by the factor, the network's own, or 1 mm."""
    if settings.spacing is not None:
        try:
            return check_target_spacing(settings.spacing, spacing)
        except UserError as error:
            if math.isfinite(settings.spacing) and settings.spacing > spacing:
                raise AlreadyThin(error.text) from error
            raise
    if settings.factor is not None:
        if not (math.isfinite(settings.factor) and settings.factor >= 1):
            raise UserError(f"the factor must be a number of at least 1, not {settings.factor:g}")
        return spacing / settings.factor
    if network_factor is not None:
        return spacing / network_factor
    if spacing <= DEFAULT_SPACING:
        raise AlreadyThin(
            f"the input has slices every {spacing:g} mm already: choose a finer {{spacing}}", "spacing"
        )
    return DEFAULT_SPACING


@dataclass(frozen=True)
class Thickness:
    """How thick the slices are taken to be.

    Attributes
    ----------
    acquisition : Acquisition
        With the thickness and the slice spacing.
    source : str
        Where the thickness comes from: ``option``, ``DICOM``, an estimate or an assumption.
    advice : str, optional
        A line for the user where the scan itself suggests something.
    """

    acquisition: Acquisition
    source: str
    advice: str | None = None


def choose_thickness(volume: Volume, axis: int, thickness: float | str | None) -> Thickness:
    """The slice thickness of a volume in HU.

    Parameters
    ----------
    thickness : float or "estimate", optional
        In mm, or that which the scan itself shows; by default DICOM's, else the slice spacing.

    Raises
    ------
    UserError
        If the scan does not show it, or if it is beyond any scanner: centimetres taken for millimetres.
    """
    if thickness not in (None, "estimate"):
        return _checked(Thickness(*acquisition_of(volume, axis, thickness)))
    known, source = acquisition_of(volume, axis, None)
    if thickness is None and source == "DICOM":
        return _checked(Thickness(known, source))
    estimate = estimate_thickness(volume, axis)
    if thickness is None:
        advice = None
        if estimate is not None:
            advice = f"the scan itself suggests slices of {estimate}; set the slice thickness if it is known"
        return _checked(Thickness(known, source, advice))
    if estimate is None:
        raise UserError(
            "the scan does not show how thick its slices are: give {thickness} in mm", "thickness"
        )
    width = round(estimate.thickness, 1)
    return _checked(Thickness(Acquisition(width, known.spacing), f"estimated, {estimate}"))


def acquisition_of(volume: Volume, axis: int, thickness: float | None) -> tuple[Acquisition, str]:
    """How the volume was acquired, and where its thickness comes from: option, DICOM or assumption."""
    spacing = volume.spacing[axis]
    if thickness is not None:
        return Acquisition(thickness, spacing), "option"
    if volume.thickness is not None and axis == (2 if volume.slice_axis is None else volume.slice_axis):
        return Acquisition(volume.thickness, spacing), "DICOM"
    return Acquisition(spacing, spacing), "assumed equal to the spacing"


def _checked(chosen: Thickness) -> Thickness:
    """Refuse thicknesses that no scanner gives: centimetres or micrometres taken for millimetres."""
    acquisition = chosen.acquisition
    least, most = (share * acquisition.spacing for share in _THICKNESS_SHARES)
    if not least <= acquisition.thickness <= most:
        raise UserError(
            f"a slice thickness of {acquisition.thickness:g} mm ({chosen.source}) does not go with slices "
            f"every {acquisition.spacing:g} mm: give it in mm by {{thickness}}",
            "thickness",
        )
    return chosen
