"""Where a NIfTI header says that its voxels lie.

It can say so twice, as a quaternion with the voxel size (qform) and as a matrix (sform). Where both agree, or
only one is set, that is the place; where they contradict each other, the user must choose.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..volume import straightened
from .nifti_header import NiftiHeader
from .straightening import shortest

# Farther apart at any corner of the volume (mm), and they are two places.
_APART = 0.01
# The quaternion's fourth number follows from the others, which single precision rounds: near half a turn, and
# with a small further rotation, it is known badly. Quaternions that near each other mean one rotation.
_SAME_QUATERNION = 5e-7
# Writers that round their quaternions to six digits make them longer than 1 by this much.
_LONGER_THAN_1 = 1e-5
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Placement:
    """Position, spacing and directions in LPS millimetres, and what to tell the user about them."""

    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: np.ndarray
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Form:
    """One of the two, in millimetres, RAS: unit columns, their lengths, position of the first voxel."""

    name: str
    direction: np.ndarray
    spacing: np.ndarray
    origin: np.ndarray

    def positions(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The corners of the volume, shape (8, 3), from the first voxel to the last."""
        corners = np.array(list(itertools.product(*((0, extent - 1) for extent in shape))))
        return corners * self.spacing @ self.direction.T + self.origin

    def described(self, shape: tuple[int, int, int]) -> str:
        corners = self.positions(shape)
        return (
            f"the {self.name} says {_sizes(self.spacing)} mm, first voxel at {_point(corners[0])}, "
            f"last at {_point(corners[-1])}"
        )


def placement(header: NiftiHeader, path: Path, chosen: str | None = None) -> Placement:
    """Where the voxels lie.

    Parameters
    ----------
    chosen : {"sform", "qform"}, optional
        The form to believe where they contradict each other.

    Raises
    ------
    UserError
        If they do and none is chosen, if the chosen one is not set, or if the one to use says nothing.
    """
    codes = {"sform": header.sform_code, "qform": header.qform_code}
    if chosen is not None and codes[chosen] == 0:
        raise UserError(
            f"{path}: has no {chosen} (its {chosen}_code is 0), which {{nifti}} asks for", "nifti"
        )
    notes: list[str] = []
    warnings: list[str] = []
    if header.sform_code and header.qform_code:
        form = _of_both(header, path, chosen, notes)
    elif header.sform_code:
        form = _sform(header, path)
        warnings += _lying_pixdim(header, form)
    elif header.qform_code:
        form = _qform(header, path)
    else:
        form = _base(header, path)
        warnings.append(
            "the NIfTI header does not say where the volume lies (both form codes are 0): its middle is put "
            "at (0, 0, 0) and its left and right as nibabel does; other programs may do otherwise"
        )
    if form.name != "sform" and min(header.pixdim[1:]) < 0:
        warnings.append(
            f"the header's voxel size is negative ({_sizes(header.pixdim[1:])}): its sign is ignored"
        )
    return Placement(
        tuple(form.spacing.tolist()),
        tuple((_RAS_TO_LPS * form.origin).tolist()),
        _RAS_TO_LPS[:, None] * form.direction,
        notes,
        warnings,
    )


def _of_both(header: NiftiHeader, path: Path, chosen: str | None, notes: list[str]) -> _Form:
    readers = {"sform": _sform, "qform": _qform}
    forms, faults = {}, {}
    for name, read in readers.items():
        try:
            forms[name] = read(header, path)
        except UserError as error:
            faults[name] = error
    for name, fault in faults.items():
        if chosen is None and len(faults) == 1:
            other = next(iter(forms))
            raise UserError(f"{fault.text}, or use its {other} by {{nifti}} {other}", "nifti") from fault
        if chosen in (None, name):
            raise fault
    if faults:
        return forms[chosen]
    sform, qform = forms["sform"], forms["qform"]
    apart = _apart(sform, qform, header.shape)
    if apart <= _APART:
        return forms[chosen or "sform"]
    if chosen is None:
        raise UserError(
            f"{path}: its header contradicts itself by {apart:.3g} mm: {sform.described(header.shape)}; "
            f"{qform.described(header.shape)} (LPS): choose by {{nifti}} sform or qform",
            "nifti",
        )
    notes.append(f"sform and qform are up to {apart:.3g} mm apart: the {chosen} was used, as asked")
    return forms[chosen]


def _apart(sform: _Form, qform: _Form, shape: tuple[int, int, int]) -> float:
    """The largest distance in mm of a corner by one form from the same corner by the other."""
    rotation, _ = straightened(sform.direction, sform.spacing * np.maximum(np.array(shape) - 1, 1))
    sforms = [sform.direction, rotation]
    if rotation is not None and _same_quaternion(rotation, qform.direction):
        qforms = [rotation]
    else:
        qforms = [qform.direction]
    return min(
        float(
            np.linalg.norm(
                _Form("", one, sform.spacing, sform.origin).positions(shape)
                - _Form("", other, qform.spacing, qform.origin).positions(shape),
                axis=1,
            ).max()
        )
        for one in sforms
        if one is not None
        for other in qforms
    )


def _same_quaternion(one: np.ndarray, other: np.ndarray) -> bool:
    if np.linalg.det(one) * np.linalg.det(other) <= 0:
        return False
    handed = np.array([1.0, 1.0, np.sign(np.linalg.det(one))])
    a, b = (_quaternion(rotation * handed) for rotation in (one, other))
    return min(np.abs(a - b).max(), np.abs(a + b).max()) <= _SAME_QUATERNION


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """(b, c, d) of a right-handed rotation, exact also near half a turn."""
    m = rotation
    # The eigenvector of the largest eigenvalue (Bar-Itzhack 2000).
    k = np.array([
        [m[0, 0] - m[1, 1] - m[2, 2], m[1, 0] + m[0, 1], m[2, 0] + m[0, 2], m[2, 1] - m[1, 2]],
        [m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], m[2, 1] + m[1, 2], m[0, 2] - m[2, 0]],
        [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
    ])  # fmt: skip
    return np.linalg.eigh(k)[1][:3, -1]


def _sform(header: NiftiHeader, path: Path) -> _Form:
    matrix = header.sform.astype(np.float64)
    lengths = np.linalg.norm(matrix[:, :3], axis=0)
    if not (np.isfinite(matrix).all() and lengths.all()):
        raise UserError(f"{path}: its sform gives no position and directions: export the volume again")
    # In single precision a turned axis does not keep its length to the last digit; pixdim has it.
    exact = np.array([shortest(value) for value in lengths])
    for axis, value in enumerate(np.abs(header.pixdim[1:])):
        if abs(value - lengths[axis]) <= 1e-6 * lengths[axis]:
            exact[axis] = shortest(value)
    return _Form("sform", matrix[:, :3] / lengths, exact * header.unit, matrix[:, 3] * header.unit)


def _qform(header: NiftiHeader, path: Path) -> _Form:
    spacing = _voxel_size(header, path)
    handed = {-1.0: -1.0, 0.0: 1.0, 1.0: 1.0}.get(header.pixdim[0])
    if handed is None:
        raise UserError(
            f"{path}: damaged NIfTI header, its handedness (pixdim[0]) is {header.pixdim[0]:g}, not 1 or -1: "
            "export the volume again"
        )
    numbers, origin = np.array(header.quaternion), np.array(header.qoffset)
    if not (np.isfinite(numbers).all() and np.isfinite(origin).all()):
        raise UserError(f"{path}: its qform gives no position and directions: export the volume again")
    squared = float(numbers @ numbers)
    if squared > 1 + _LONGER_THAN_1:
        raise UserError(
            f"{path}: damaged NIfTI header, the quaternion of its qform is {math.sqrt(squared):.4g} long, "
            "not 1: export the volume again"
        )
    if squared > 1:
        numbers, squared = numbers / math.sqrt(squared), 1.0
    direction = _rotation(math.sqrt(1 - squared), *numbers) * (1, 1, handed)
    return _Form("qform", direction, spacing, origin * header.unit)


def _rotation(a: float, b: float, c: float, d: float) -> np.ndarray:
    return np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip


def _base(header: NiftiHeader, path: Path) -> _Form:
    """What nibabel takes where no form is set: the voxel size, the middle at 0, i from right to left."""
    spacing = _voxel_size(header, path)
    direction = np.diag([-1.0, 1.0, 1.0])
    return _Form("voxel size", direction, spacing, -direction @ (spacing * (np.array(header.shape) - 1) / 2))


def _voxel_size(header: NiftiHeader, path: Path) -> np.ndarray:
    sizes = header.pixdim[1:]
    if not all(math.isfinite(value) and value != 0 for value in sizes):
        raise UserError(
            f"{path}: its header gives a voxel spacing of {_sizes(sizes)}: export the volume again"
        )
    return np.array([shortest(abs(value)) for value in sizes]) * header.unit


def _lying_pixdim(header: NiftiHeader, sform: _Form) -> list[str]:
    sizes = np.abs(header.pixdim[1:]) * header.unit
    steps = np.maximum(np.array(header.shape) - 1, 1)
    if np.all(np.abs(sizes - sform.spacing) <= _APART / steps):  # false for NaN
        return []
    return [
        f"the NIfTI header contradicts itself: its pixdim says voxels of {_sizes(sizes)} mm, its "
        f"sform, the only form that is set, {_sizes(sform.spacing)} mm: the sform was used"
    ]


def _sizes(values) -> str:
    return " x ".join(f"{value:.5g}" for value in values)


def _point(ras: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.5g}" for value in np.round(_RAS_TO_LPS * ras, 4) + 0.0) + ")"
