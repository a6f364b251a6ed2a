"""Voxels and geometry of a stack that was repaired where it needed it, and what to say about that."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .regularity import Repairs
from .stack import Stack, slice_spacing
from .straighten import even_heights, evened, unsheared


@dataclass
class Repaired:
    """A regular stack.

    Attributes
    ----------
    voxels : ndarray, shape (slices, rows, columns)
    spacing : float
        From slice to slice, mm.
    origin : ndarray, shape (3,)
        Centre of the first voxel, LPS, mm.
    notes : list of str
        For the user: what was done.
    facts : dict
        For the provenance: how far each slice moved, mm.
    """

    voxels: np.ndarray
    spacing: float
    origin: np.ndarray
    notes: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)


def repaired(voxels: np.ndarray, stack: Stack, needed: Repairs, fill: float) -> Repaired:
    """Make a regular stack.

    Parameters
    ----------
    voxels : ndarray, shape (slices, rows, columns)
    needed : Repairs
        See :func:`~ThickToThinSRLib.io.dicom.regularity.needed_repairs`.
    fill : float
        Value where a slice that is shifted holds nothing.
    """
    positions = stack.positions
    result = Repaired(voxels, 0.0, positions[0])
    if needed.untilt:
        _untilt(result, stack, fill)
        positions = positions[0] + (stack.heights - stack.heights[0])[:, None] * stack.direction[:, 2]
    if needed.resample_uneven:
        _even_out(result, stack)
    else:
        result.spacing = slice_spacing(positions, stack.heights)
    return result


def _untilt(result: Repaired, stack: Stack, fill: float) -> None:
    pixels = np.array(stack.slices[0].pixel_spacing)  # along i and j, mm
    shifts = stack.drift @ stack.direction[:, :2]  # the same
    result.voxels, (j, i) = unsheared(result.voxels, (shifts / pixels)[:, ::-1], fill)
    result.origin = result.origin + stack.direction[:, :2] @ (pixels * (i, j))
    moved, rises = np.linalg.norm(shifts, axis=1), stack.heights - stack.heights[0]
    angle = math.degrees(math.atan2(moved[-1], rises[-1]))
    each = moved[-1] / (len(moved) - 1)
    result.notes.append(
        f"gantry tilt of {angle:.2f} degrees undone: each slice was shifted in its plane by {each:.2f} mm "
        f"more than the one before, the last by {moved[-1]:.2f} mm; the images grew to hold all of them"
    )
    result.facts["untilt"] = {"degrees": round(angle, 3), "shifted_mm": moved.round(3).tolist()}


def _even_out(result: Repaired, stack: Stack) -> None:
    heights = stack.heights
    gaps, targets = np.diff(heights), even_heights(heights)
    result.voxels = evened(result.voxels, heights, stack.thickness or float(np.median(gaps)))
    result.spacing = float(targets[1] - targets[0])
    moved = np.abs(targets[:, None] - heights).min(axis=1)
    result.notes.append(
        f"uneven slices, {gaps.min():.3f} to {gaps.max():.3f} mm apart, resampled to {len(targets)} every "
        f"{result.spacing:.3f} mm: they lie {moved.mean():.2f} mm, at most {moved.max():.2f} mm, from the "
        "nearest measured slice"
    )
    result.facts["resample_uneven"] = {
        "measured_at_mm": (heights - heights[0]).round(3).tolist(),
        "from_nearest_mm": moved.round(3).tolist(),
    }
