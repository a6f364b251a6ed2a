"""The acquisition model: the slice profile as a matrix that turns thin slices into thick ones.

A slice of thickness ``t`` averages the patient along the through-plane axis, weighted by a slice profile
whose full width at half maximum is ``t``. Slice centres are ``s`` mm apart, so neighbouring slices overlap by
``o = t - s``. On a grid of thin slices this is a matrix A with one row for each thick slice:
``thick = A @ thin``. Simulation, consistency, self-supervision and training all use this matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf

from .errors import UserError
from .volume import Volume, cast, slice_count, through_plane_axis

PROFILES = ("box", "gaussian", "trapezoid")
# A Gaussian is cut off at this many standard deviations. Of its own width at half maximum it has the share
# below as its standard deviation.
_CUTOFF = 3.0
LARGEST_ROUNDING = 1 / (2.0 * math.sqrt(2.0 * math.log(2.0)))
# Half the support of each profile, in slice thicknesses. The trapezoid is a box of width t convolved with a
# box of width t / 2.
_HALF_WIDTHS = {"box": 0.5, "gaussian": _CUTOFF * LARGEST_ROUNDING, "trapezoid": 0.75}


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
        If unknown, assume a box: assuming a Gaussian where the true profile is a box costs far more accuracy
        than the opposite error.
    rounding : float
        Standard deviation, in slice thicknesses, of the Gaussian that a box is rounded off with: from 0, a
        box, to about 0.42, a Gaussian. The full width at half maximum stays as it is.

    Raises
    ------
    UserError
        If a length is not a positive number or the profile is unknown.
    """

    thickness: float
    spacing: float
    profile: str = "box"
    rounding: float = 0.0

    def __post_init__(self):
        for name in ("thickness", "spacing"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"the slice {name} must be a positive number of mm, not {value}")
        if self.profile not in PROFILES:
            raise UserError(f"the slice profile must be one of {', '.join(PROFILES)}, not {self.profile!r}")
        if not 0 <= self.rounding <= (LARGEST_ROUNDING if self.profile == "box" else 0):
            raise UserError(f"a {self.profile} cannot be rounded off by {self.rounding} of its width")

    @property
    def overlap(self) -> float:
        """Overlap of neighbouring slices in mm; negative where there is a gap."""
        return self.thickness - self.spacing

    @property
    def half_support(self) -> float:
        """Half the length along which the profile is not zero, in slice thicknesses."""
        if self.rounding:
            return 0.5 * box_share(self.rounding) + _CUTOFF * self.rounding
        return _HALF_WIDTHS[self.profile]

    def matrix(self, thick_slices: int, thin_slices: int, target_spacing: float) -> np.ndarray:
        """:func:`sampling_matrix` of this acquisition for contiguous thin slices."""
        return sampling_matrix(self, thick_slices, thin_slices, target_spacing)

    def inside(self, thick_slices: int, thin_slices: int, target_spacing: float) -> np.ndarray:
        """Mask of the thick slices whose whole profile lies inside the thin volume: bool (thick_slices,)."""
        half_width = self.half_support * self.thickness
        centres = np.arange(thick_slices) * self.spacing
        tolerance = 1e-6 * self.spacing
        first, last = -target_spacing / 2 - tolerance, (thin_slices - 0.5) * target_spacing + tolerance
        return (centres - half_width >= first) & (centres + half_width <= last)


def sampling_matrix(
    acquisition: Acquisition,
    thick_slices: int,
    thin_slices: int,
    target_spacing: float,
    thin_thickness: float | None = None,
    first_thin: float = 0.0,
) -> np.ndarray:
    """Weights of the thin slices in each thick slice.

    Parameters
    ----------
    acquisition : Acquisition
        Thickness, spacing and profile of the thick slices.
    thick_slices, thin_slices : int
        Number M of thick and N of thin slices.
    target_spacing : float
        Spacing of the thin slices, mm.
    thin_thickness : float, optional
        Thickness of the thin slices, mm; equal to `target_spacing` by default (contiguous slices). The
        profile is narrowed by the blur that the thin slices already have, so that the resulting thick slices
        have the thickness of `acquisition`; see :func:`effective_thickness`.
    first_thin : float
        Position of the first thin slice centre relative to the first thick slice centre, mm.

    Returns
    -------
    ndarray, shape (M, N), float64
        Rows sum to 1: a profile that extends beyond the thin slices is cut off and renormalised.

    Raises
    ------
    UserError
        If a length is not positive, the thick slices are thinner than the thin ones, or a thick slice lies
        completely outside the thin slices.
    """
    # Validates the thin slices' lengths.
    Acquisition(target_spacing if thin_thickness is None else thin_thickness, target_spacing)
    width = effective_thickness(acquisition.thickness, target_spacing, thin_thickness)
    centres = np.arange(thick_slices) * acquisition.spacing
    edges = first_thin + (np.arange(thin_slices + 1) - 0.5) * target_spacing
    weights = np.diff(cumulative(edges[None, :] - centres[:, None], width, acquisition), axis=1)
    totals = weights.sum(axis=1, keepdims=True)
    if thick_slices and not (totals > 1e-9).all():
        outside = int(np.argmin(totals))
        raise UserError(
            f"thick slice {outside} lies outside the thin slices: both must cover the same body region"
        )
    return weights / totals


def effective_thickness(thickness: float, target_spacing: float, thin_thickness: float | None) -> float:
    """Width in mm of the profile that averages thin slices to thick slices of the given thickness.

    For contiguous thin slices it is the thickness t itself. Otherwise the thin slices' own blur is taken into
    account: variances of profiles add up, hence sqrt(t^2 - a^2 + u^2) for thin slices of thickness a with
    spacing u.

    Raises
    ------
    UserError
        If the thick slices are thinner than the thin ones.
    """
    if thin_thickness is None or math.isclose(thin_thickness, target_spacing, rel_tol=1e-6):
        return thickness
    if thickness < thin_thickness * (1 - 1e-6):
        raise UserError(
            f"a slice thickness of {thickness:g} mm cannot be made from slices {thin_thickness:g} mm thick: "
            "choose a larger thickness"
        )
    return math.sqrt(max(thickness**2 - thin_thickness**2, 0.0) + target_spacing**2)


def box_share(rounding: float) -> float:
    """Width of the box that, rounded off by `rounding`, has a full width at half maximum of 1."""
    if rounding < 0.12:  # the edges do not reach the middle
        return 1.0
    scale = math.sqrt(2.0) * rounding

    def excess(width: float) -> float:
        edge = erf((0.5 + width / 2) / scale) - erf((0.5 - width / 2) / scale)
        return float(edge - erf(width / 2 / scale))

    return brentq(excess, 1e-3, 1.0) if excess(1e-3) < 0 else 0.0


def cumulative(z: np.ndarray, width: float, acquisition: Acquisition) -> np.ndarray:
    """Integral of the profile with full width at half maximum `width` from minus infinity to `z`, mm."""
    if acquisition.rounding:
        return _rounded(z, width * box_share(acquisition.rounding), width * acquisition.rounding)
    if acquisition.profile == "box":
        return np.clip(z / width + 0.5, 0.0, 1.0)
    if acquisition.profile == "gaussian":
        return _gaussian(z, LARGEST_ROUNDING * width)
    ramp = width / 4

    def box_integral(x):
        inside = np.clip(x, -width / 2, width / 2)
        return (inside + width / 2) ** 2 / (2 * width) + np.maximum(x - width / 2, 0.0)

    return (box_integral(z + ramp) - box_integral(z - ramp)) / (2 * ramp)


def _gaussian(z: np.ndarray, deviation: float) -> np.ndarray:
    limit = _CUTOFF * deviation
    return 0.5 * (1.0 + erf(np.clip(z, -limit, limit) / (math.sqrt(2.0) * deviation)))


def _rounded(z: np.ndarray, width: float, deviation: float) -> np.ndarray:
    """Integral of a box of `width`, convolved with a Gaussian."""
    if width < 1e-2 * deviation:
        return _gaussian(z, deviation)
    limit = width / 2 + _CUTOFF * deviation
    z = np.clip(z, -limit, limit)

    def ramp(x: np.ndarray) -> np.ndarray:
        bell = np.exp(-np.square(x / deviation) / 2) / math.sqrt(2 * math.pi)
        return x * 0.5 * (1.0 + erf(x / (math.sqrt(2.0) * deviation))) + deviation * bell

    return (ramp(z + width / 2) - ramp(z - width / 2)) / width


def simulate(
    thin: Volume, acquisition: Acquisition, axis: int | None = None, dtype: np.dtype | None = None
) -> Volume:
    """Simulate the thick slices that a scanner with `acquisition` would have produced.

    The first slice centres of both volumes coincide; the last thick slice centre is not beyond the last thin
    one. The thickness of the thin slices is taken into account if the volume states it.

    Parameters
    ----------
    axis : int, optional
        Through-plane index axis, see :func:`~ThickToThinSRLib.volume.through_plane_axis`.
    dtype : optional
        Type of the voxels; that of the input by default (integer types are rounded).

    Raises
    ------
    UserError
        If the spacing of `acquisition` is finer than that of `thin`, or its thickness smaller.
    """
    axis = through_plane_axis(thin, axis)
    slices = thin.slices_first(axis)
    target = thin.spacing[axis]
    if acquisition.spacing < target * (1 - 1e-6):
        raise UserError(
            f"a slice spacing of {acquisition.spacing:g} mm cannot be simulated from thin slices every "
            f"{target:g} mm: choose a larger spacing"
        )
    count = slice_count(len(slices), target, acquisition.spacing)
    weights = sampling_matrix(acquisition, count, len(slices), target, thin.thickness)
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
