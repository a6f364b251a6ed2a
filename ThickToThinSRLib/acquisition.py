"""How a scanner's thick slices come from thin ones: the slice profile as one sampling matrix.

A slice of thickness ``t`` averages the patient along the through-plane axis with a profile whose full
width at half maximum is ``t``; slices lie every ``s`` millimetres, so neighbours overlap by ``o = t - s``.
On a grid of thin slices this is a matrix A with a row a thick slice: ``thick = A @ thin``. Simulation,
consistency, self-supervision and training all apply this one matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import erf

from .errors import UserError
from .volume import Volume, cast, slice_count, through_plane_axis

PROFILES = ("box", "gaussian", "trapezoid")
# A Gaussian is cut at three standard deviations; a trapezoid is a box of t smoothed by a box of t / 2.
_HALF_WIDTHS = {"box": 0.5, "gaussian": 3.0 / (2.0 * math.sqrt(2.0 * math.log(2.0))), "trapezoid": 0.75}


@dataclass(frozen=True)
class Acquisition:
    """Slice thickness and spacing in mm, and the shape of the slice profile.

    Parameters
    ----------
    thickness : float
        Full width at half maximum of the slice profile, mm.
    spacing : float
        Distance of slice centres, mm.
    profile : {"box", "gaussian", "trapezoid"}
        A box is the safe assumption: a Gaussian assumed where the truth is a box loses far more.
    """

    thickness: float
    spacing: float
    profile: str = "box"

    def __post_init__(self):
        for name in ("thickness", "spacing"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"the slice {name} must be a positive number of mm, not {value}")
        if self.profile not in PROFILES:
            raise UserError(f"the slice profile must be one of {', '.join(PROFILES)}, not {self.profile!r}")

    @property
    def overlap(self) -> float:
        """Overlap of neighbouring slices in mm; negative where there is a gap."""
        return self.thickness - self.spacing

    def matrix(self, thick_slices: int, thin_slices: int, target_spacing: float) -> np.ndarray:
        """:func:`sampling_matrix` of this acquisition."""
        return sampling_matrix(
            thick_slices, self.spacing, thin_slices, target_spacing, self.thickness, self.profile
        )

    def inside(self, thick_slices: int, thin_slices: int, target_spacing: float) -> np.ndarray:
        """Which thick slices have their whole profile inside the thin volume: bool (thick_slices,)."""
        reach = _HALF_WIDTHS[self.profile] * self.thickness
        centres = np.arange(thick_slices) * self.spacing
        tolerance = 1e-6 * self.spacing
        first, last = -target_spacing / 2 - tolerance, (thin_slices - 0.5) * target_spacing + tolerance
        return (centres - reach >= first) & (centres + reach <= last)


def sampling_matrix(
    thick_slices: int,
    spacing: float,
    thin_slices: int,
    target_spacing: float,
    thickness: float,
    profile: str = "box",
    thin_thickness: float | None = None,
    first_thin: float = 0.0,
) -> np.ndarray:
    """Weights with which thin slices make up thick ones.

    Parameters
    ----------
    thick_slices, thin_slices : int
        Number M of thick and N of thin slices.
    spacing, target_spacing : float
        Distance of the centres of thick and of thin slices, mm.
    thickness : float
        Full width at half maximum of the thick slices' profile, mm.
    profile : {"box", "gaussian", "trapezoid"}
        Shape of the profile.
    thin_thickness : float, optional
        The thin slices' own thickness, mm; by default they are contiguous (`target_spacing`). Thick slices
        are then `thickness` thick in truth: what the thin slices already blur is taken off, such that the
        variances (second moments) of the profiles add up.
    first_thin : float
        Position of the first thin slice centre relative to the first thick one, mm.

    Returns
    -------
    ndarray, shape (M, N), float64
        Rows sum to 1: a profile that reaches over the end of the thin slices is renormalised.

    Raises
    ------
    UserError
        If a value is not positive, the profile is unknown, the thick slices are thinner than the thin ones
        are themselves, or a thick slice lies wholly outside.
    """
    Acquisition(thickness, spacing, profile)
    Acquisition(target_spacing if thin_thickness is None else thin_thickness, target_spacing)
    width = effective_thickness(thickness, target_spacing, thin_thickness)
    centres = np.arange(thick_slices) * spacing
    edges = first_thin + (np.arange(thin_slices + 1) - 0.5) * target_spacing
    weights = np.diff(_cumulative(edges[None, :] - centres[:, None], width, profile), axis=1)
    totals = weights.sum(axis=1, keepdims=True)
    if thick_slices and not (totals > 1e-9).all():
        outside = int(np.argmin(totals))
        raise UserError(f"thick slice {outside} lies outside the thin slices: they cover another region")
    return weights / totals


def effective_thickness(thickness: float, target_spacing: float, thin_thickness: float | None) -> float:
    """Width in mm of the profile to apply to slices `thin_thickness` thick, for slices `thickness` thick.

    Contiguous thin slices need the thickness itself. Otherwise variances add up: sqrt(t^2 - a^2 + u^2) for
    thin slices of thickness a every u mm.
    """
    if thin_thickness is None or math.isclose(thin_thickness, target_spacing, rel_tol=1e-6):
        return thickness
    if thickness < thin_thickness * (1 - 1e-6):
        raise UserError(
            f"slices of {thickness:g} mm cannot be made from slices that are {thin_thickness:g} mm thick: "
            "choose a larger thickness"
        )
    return math.sqrt(max(thickness**2 - thin_thickness**2, 0.0) + target_spacing**2)


def _cumulative(z: np.ndarray, width: float, profile: str) -> np.ndarray:
    """Integral from minus infinity to `z` of the profile of full width at half maximum `width`."""
    if profile == "box":
        return np.clip(z / width + 0.5, 0.0, 1.0)
    if profile == "gaussian":
        reach = _HALF_WIDTHS["gaussian"] * width
        return 0.5 * (1.0 + erf(np.clip(z, -reach, reach) * (2.0 * math.sqrt(math.log(2.0)) / width)))
    ramp = width / 4

    def box_integral(x):
        inside = np.clip(x, -width / 2, width / 2)
        return (inside + width / 2) ** 2 / (2 * width) + np.maximum(x - width / 2, 0.0)

    return (box_integral(z + ramp) - box_integral(z - ramp)) / (2 * ramp)


def simulate(
    thin: Volume, acquisition: Acquisition, axis: int | None = None, dtype: np.dtype | None = None
) -> Volume:
    """The thick slices that a scanner with `acquisition` would have made of `thin`.

    First slice centres coincide; slices are made up to the last thin one. The thin slices' own thickness is
    taken from the volume where it tells it.

    Parameters
    ----------
    axis : int, optional
        Through-plane index axis, see :func:`~ThickToThinSRLib.volume.through_plane_axis`.
    dtype : optional
        Type of the result; that of the input by default (whole numbers are rounded).
    """
    axis = through_plane_axis(thin, axis)
    slices = thin.slices_first(axis)
    target = thin.spacing[axis]
    if acquisition.spacing < target * (1 - 1e-6):
        raise UserError(
            f"slices every {acquisition.spacing:g} mm cannot be made from slices every {target:g} mm: "
            "choose a larger spacing"
        )
    count = slice_count(len(slices), target, acquisition.spacing)
    weights = sampling_matrix(
        count, acquisition.spacing, len(slices), target, acquisition.thickness, acquisition.profile,
        thin.thickness,
    )  # fmt: skip
    dtype = np.dtype(dtype or slices.dtype)
    out = np.empty((count, *slices.shape[1:]), dtype)
    for index, row in enumerate(weights):
        used = np.flatnonzero(row)
        plane = np.tensordot(
            row[used[0] : used[-1] + 1], slices[used[0] : used[-1] + 1].astype(np.float64), axes=1
        )
        out[index] = cast(plane, dtype)
    spacing = list(thin.spacing)
    spacing[axis] = acquisition.spacing
    return replace(
        thin,
        voxels=np.moveaxis(out, 0, 2 - axis),
        spacing=tuple(spacing),
        slice_axis=axis,
        thickness=acquisition.thickness,
    )
