"""Whether the slices of a DICOM series form a regular stack, and which repair a user can ask for if not.

Slices that do not form a regular grid are refused with the measured values. They are never resampled unless
the user asks for it, and never where that cannot be right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UserError
from .stack import DIRECTION_TOLERANCE, Slice, Stack

_IN_PLANE_TOLERANCE = 0.1  # mm over the whole stack
_POSITION_TOLERANCE = (0.02, 0.01)  # mm, or as a fraction of the spacing; the larger one applies
_SAME_PLACE = 0.01  # mm
# What is interpolated over if the user asks for it: gaps in usual spacings, share of slices that are there.
_WIDEST_GAP, _LEAST_SHARE = 2.6, 0.7
_MOST_TILT = 40.0  # degrees; gantries reach 30


@dataclass(frozen=True)
class Repairs:
    """What is done to slices that form no regular stack: asked for by the user, or needed."""

    untilt: bool = False
    resample_uneven: bool = False


def needed_repairs(stack: Stack, name: str, asked: Repairs) -> Repairs:
    """What must be done to make a regular stack; nothing if it is one.

    Parameters
    ----------
    name : str
        Name of the series in error messages.

    Raises
    ------
    UserError
        If slices are duplicated, missing, unevenly spaced or sheared, unless that was asked to be repaired
        and can be.
    """
    return Repairs(
        untilt=_is_sheared(stack, name, asked.untilt),
        resample_uneven=_is_uneven(stack, name, asked.resample_uneven),
    )


def check_alike(slices: list[Slice], name: str) -> None:
    """Reject a single slice, and slices of different size, pixels, orientation or frame of reference."""
    if len(slices) < 2:
        raise UserError(
            f"{name}: the series holds one slice only ({slices[0].label}), and two slices are the least: "
            "get the complete series"
        )
    shapes = sorted({piece.shape for piece in slices})
    if len(shapes) > 1:
        sizes = " and ".join(f"{columns} x {rows}" for rows, columns in shapes[:3])
        odd = _odd_ones(slices, [piece.shape for piece in slices])
        raise UserError(f"{name}: slices of different sizes ({sizes} pixels: {odd}) do not form one volume")
    pixels = np.array([piece.pixel_spacing for piece in slices])
    if pixels.min() <= 0:
        raise UserError(f"{name}: damaged, its PixelSpacing is {pixels.min():g} mm")
    if np.ptp(pixels, axis=0).max() > 1e-4:
        raise UserError(
            f"{name}: slices of different pixel spacing ({pixels.min():.6g} to {pixels.max():.6g} mm) "
            "do not form one volume"
        )
    directions = np.array([[*piece.row, *piece.column] for piece in slices])
    largest = np.abs(directions - directions[0]).max()
    if largest > DIRECTION_TOLERANCE:
        cosines = [
            np.dot(np.cross(d[:3], d[3:]), np.cross(directions[0, :3], directions[0, 3:])) for d in directions
        ]
        angle = math.degrees(math.acos(max(-1.0, min(1.0, min(cosines)))))
        raise UserError(
            f"{name}: slices of different orientation (normals up to {angle:.1f} degrees apart, direction "
            f"cosines up to {largest:.4f}: {_odd_ones(slices, directions.round(3))}) do not form one volume"
        )
    if len({piece.frame_of_reference for piece in slices}) > 1:
        raise UserError(f"{name}: slices of different frames of reference do not form one volume")


def _odd_ones(slices: list[Slice], values: Sequence) -> str:
    """Names of the slices whose value is not the most frequent one."""
    keys = [str(value) for value in values]
    usual = max(dict.fromkeys(keys), key=keys.count)
    odd = [piece.label for piece, key in zip(slices, keys, strict=True) if key != usual]
    return ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")


def _is_uneven(stack: Stack, name: str, repair: bool) -> bool:
    """Whether the slices are uneven; duplicates, and what may not be repaired, are refused."""
    heights, labels = stack.heights, [piece.label for piece in stack.slices]
    gaps = np.diff(heights)
    spacing = float(np.median(gaps))
    tolerance = max(_POSITION_TOLERANCE[0], _POSITION_TOLERANCE[1] * spacing)
    double = int(np.sum(gaps < _SAME_PLACE))
    if double:
        first = int(np.argmax(gaps < _SAME_PLACE))
        raise UserError(
            f"{name}: {double} slice{'s' if double > 1 else ''} at the same position as another, first "
            f"{labels[first]} and {labels[first + 1]} at {heights[first]:.2f} mm along the normal: if the "
            "series contains several acquisitions or phases, separate them first"
        )
    smallest = float(gaps.min())
    whole = np.rint(gaps / smallest)
    missing = int(np.sum(whole - 1)) if np.abs(gaps / smallest - whole).max() < 0.05 else 0
    deviation = float(np.abs(heights - np.linspace(heights[0], heights[-1], len(heights))).max())
    if max(deviation, float(np.abs(gaps - spacing).max())) <= tolerance:
        return False
    reason = _beyond_repair(stack, gaps, smallest if missing else spacing)
    if repair and reason is None:
        return True
    widest = int(np.argmax(gaps))
    where = (
        f"{gaps[widest]:.3f} mm between {heights[widest]:.2f} and {heights[widest + 1]:.2f} mm, "
        f"{labels[widest]} and {labels[widest + 1]}"
    )
    # Where it cannot be right, the option is not offered; where it was given, the reason is said.
    offer = ", or give {resample_uneven}" if reason is None else f" ({reason})" if repair else ""
    if missing:
        raise UserError(
            f"{name}: {missing} missing slice{'s' if missing > 1 else ''}: the spacing is {smallest:.3f} mm, "
            f"but there are {where}; get the complete series{offer}",
            "resample_uneven",
        )
    raise UserError(
        f"{name}: uneven slice spacing, {smallest:.3f} to {gaps.max():.3f} mm ({where}; up to "
        f"{deviation:.3f} mm from a regular grid): resample the series to even spacing first{offer}",
        "resample_uneven",
    )


def _beyond_repair(stack: Stack, gaps: np.ndarray, spacing: float) -> str | None:
    """Why uneven slices cannot be resampled, if they cannot: between them, too little was measured."""
    if len({piece.thickness for piece in stack.slices}) > 1:
        return "slices of different thickness cannot be resampled to one"
    if gaps.max() > _WIDEST_GAP * spacing:
        return f"a gap of {gaps.max():.1f} mm among slices every {spacing:.1f} mm cannot be filled"
    if len(gaps) < _LEAST_SHARE * gaps.sum() / spacing:
        return "too many slices are missing to be filled in"
    return None


def _is_sheared(stack: Stack, name: str, repair: bool) -> bool:
    """Whether the stack is sheared (gantry tilt); slices shifted in any other way are refused."""
    drift, rises = stack.drift, stack.heights - stack.heights[0]
    largest = float(np.linalg.norm(drift, axis=1).max())
    if largest <= _IN_PLANE_TOLERANCE:
        return False
    slope = rises @ drift / max(float(rises @ rises), 1e-12)
    rest = float(np.linalg.norm(drift - rises[:, None] * slope, axis=1).max())
    angle = math.degrees(math.atan(float(np.linalg.norm(slope))))
    if rest > max(_IN_PLANE_TOLERANCE, 0.1 * largest):
        raise UserError(
            f"{name}: slices are shifted in-plane by up to {largest:.2f} mm: they do not form one volume"
        )
    if repair and angle <= _MOST_TILT:
        return True
    offer = ", or give {untilt}" if angle <= _MOST_TILT else " (no gantry tilts as far)"
    raise UserError(
        f"{name}: gantry tilt of {angle:.2f} degrees, shearing the stack by {largest:.2f} mm in total: "
        f"correct the tilt first, for instance with Slicer's DICOM module{offer}",
        "untilt",
    )
