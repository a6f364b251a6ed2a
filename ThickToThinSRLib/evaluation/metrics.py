"""Differences between estimated thin slices and a reference: PSNR, SSIM, HU errors, lung, consistency.

Arrays are (slices, rows, columns) with the through-plane axis first. Errors are summed slice by slice in
double precision, so that a volume of any length needs little additional memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..acquisition import Acquisition
from ..consistency import measure
from ..errors import UserError
from ..intensity import HU_WINDOW, detect_intensity, to_hu, to_unit
from ..volume import Volume, through_plane_axis
from .lung import densitometry, lung_mask
from .similarity import official_psnr, official_ssim, ssim

HU_RANGE = HU_WINDOW[1] - HU_WINDOW[0]
GEOMETRY_TOLERANCE = 1e-3  # mm, or difference of direction cosines


@dataclass(frozen=True)
class SliceErrors:
    """Sums over the voxels of each slice: number, error, absolute and squared error; shape (slices,) each.

    The error is estimate - reference.
    """

    count: np.ndarray
    signed: np.ndarray
    absolute: np.ndarray
    squared: np.ndarray

    def __getitem__(self, which) -> SliceErrors:
        return SliceErrors(self.count[which], self.signed[which], self.absolute[which], self.squared[which])

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(self.absolute.sum() / self.count.sum())

    @property
    def bias(self) -> float:
        """Mean of estimate - reference."""
        return float(self.signed.sum() / self.count.sum())

    def psnr(self, data_range: float) -> float:
        """Peak signal-to-noise ratio, 10 log10(data_range^2 / MSE), in dB; infinite for equal volumes."""
        mean_square = float(self.squared.sum() / self.count.sum())
        return math.inf if mean_square == 0 else 10 * math.log10(data_range**2 / mean_square)


def slice_errors(reference, estimate, mask=None) -> SliceErrors:
    """Sum the errors of each slice.

    Parameters
    ----------
    reference, estimate : sequences of ndarray, shape (rows, columns)
        The slices of both, in the same unit.
    mask : sequence of bool ndarray, optional
        Voxels to include; all by default.
    """
    sums = np.zeros((4, len(reference)))
    for index in range(len(reference)):
        error = np.asarray(estimate[index], np.float64) - reference[index]
        if mask is not None:
            error = error[mask[index]]
        sums[:, index] = error.size, error.sum(), np.abs(error).sum(), np.square(error).sum()
    return SliceErrors(*sums)


def distance_groups(
    thin: int, target_spacing: float, thick: int, spacing: float
) -> list[tuple[float, np.ndarray]]:
    """Group thin slices by their distance from the nearest thick slice centre.

    Parameters
    ----------
    thin, thick : int
        Numbers of slices; the first centres coincide.
    target_spacing, spacing : float
        Spacing of the thin and of the thick slices, mm.

    Returns
    -------
    list of (distance, slices)
        Mean distance in mm and slice indices of each group, nearest first. Distances are rounded to multiples
        of the target spacing: from 5 to 1 mm the groups are Match (0 mm), Near (1 mm) and Far (2 mm) of the
        RPLHR-CT paper (Yu et al., MICCAI 2022).
    """
    place = np.arange(thin) * target_spacing
    nearest = np.clip(np.rint(place / spacing), 0, thick - 1) * spacing
    distance = np.abs(place - nearest)
    steps = np.floor(distance / target_spacing + 0.5 + 1e-6).astype(int)
    groups = (np.flatnonzero(steps == step) for step in np.unique(steps))
    return [(round(float(distance[group].mean()), 6), group) for group in groups]


class _Slices:
    """Slices of a volume, converted on access to HU (`scale` "hu"), or to [0, 1] and clipped ("unit")."""

    def __init__(self, volume: Volume, axis: int, intensity: str, scale: str):
        self.slices, self.intensity, self.scale = volume.slices_first(axis), intensity, scale

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index) -> np.ndarray:
        values = self.slices[index]
        if self.scale == "unit":
            return np.clip(values if self.intensity == "unit" else to_unit(values.astype(np.float64)), 0, 1)
        if self.intensity == "hu":
            return values
        # Restores whole HU values: without rounding, single precision could move them across a threshold such
        # as -950 HU.
        return np.round(to_hu(values.astype(np.float64)), 2).astype(np.float32)


def report(
    reference: Volume,
    estimate: Volume,
    thick: Volume | None = None,
    official: bool = False,
    profiled: Callable[[Acquisition, np.ndarray], Acquisition] = lambda acquisition, _: acquisition,
) -> dict[str, object]:
    """Compare an estimate with its reference; the result can be written as JSON.

    Parameters
    ----------
    reference, estimate : Volume
        Thin-slice volumes on the same grid, each in HU or on [0, 1] (detected).
    thick : Volume, optional
        The thick-slice volume the estimate was made from. It adds consistency, and errors grouped by distance
        from the thick slices.
    official : bool
        Add PSNR and SSIM by the protocol of the RPLHR-CT benchmark (Yu et al., MICCAI 2022).
    profiled : callable
        (acquisition, thick slices in HU) to the acquisition with the profile of these slices; by default a
        box. :func:`~ThickToThinSRLib.inspection.slice_profile.with_rounding` reads it from their noise, as an
        enhancement does.

    Returns
    -------
    dict
        HU errors, PSNR (data range 3072 HU, not clipped; None for equal volumes) and SSIM over all slices;
        under ``lung``, the same errors and the densitometry of both volumes inside the lungs of the reference
        (None without lungs).

    Raises
    ------
    UserError
        If the volumes are not on the same grid, or `thick` does not match the estimate's grid.
    """
    check_same_grid(reference, estimate)
    axis = through_plane_axis(reference if thick is None else thick)
    scales = [detect_intensity(volume.voxels) for volume in (reference, estimate)]
    a, b = (_Slices(v, axis, scale, "hu") for v, scale in zip((reference, estimate), scales, strict=True))
    errors = slice_errors(a, b)
    result: dict[str, object] = {
        "intensity": {"reference": scales[0], "estimate": scales[1]},
        "slices": len(a),
        "slice_spacing_mm": reference.spacing[axis],
        **_errors(errors),
        "ssim": ssim(a, b, HU_RANGE),
        "data_range_hu": HU_RANGE,
        "lung": _lung(reference, scales[0], axis, a, b),
    }
    if thick is not None:
        check_input(thick, estimate, axis)
        counts = len(a), reference.spacing[axis], thick.voxels.shape[2 - axis], thick.spacing[axis]
        result["by_distance"] = [
            {"distance_mm": distance, "slices": len(group), **_errors(errors[group])}
            for distance, group in distance_groups(*counts)
        ]
        slices = _Slices(thick, axis, detect_intensity(thick.voxels), "hu")
        spacing = thick.spacing[axis]
        acquisition = profiled(Acquisition(thick.thickness or spacing, spacing), slices)
        result["consistency"] = _consistency(b, slices, acquisition, reference.spacing[axis])
    if official:
        unit = [_Slices(v, axis, s, "unit") for v, s in zip((reference, estimate), scales, strict=True)]
        result["official"] = {"psnr": official_psnr(*unit), "ssim": official_ssim(*unit)}
    return result


def _errors(errors: SliceErrors) -> dict[str, float | None]:
    value = errors.psnr(HU_RANGE)
    return {"psnr": None if math.isinf(value) else value, "mae_hu": errors.mae, "bias_hu": errors.bias}


def _lung(reference: Volume, intensity: str, axis: int, a: _Slices, b: _Slices) -> dict[str, object] | None:
    """Errors, and densitometry of both volumes, inside the lungs of the reference."""
    if intensity == "unit":
        reference = replace(
            reference, voxels=np.stack([np.rint(to_hu(p)).astype(np.int16) for p in reference.voxels])
        )
    mask = lung_mask(reference)
    if not mask.any():
        return None
    litres = np.count_nonzero(mask) * math.prod(reference.spacing) / 1e6
    mask = np.moveaxis(mask, 2 - axis, 0)
    return {
        "litres": float(litres),
        **_errors(slice_errors(a, b, mask)),
        "reference": densitometry(a, mask),
        "estimate": densitometry(b, mask),
    }


def _consistency(
    estimate: _Slices, thick: _Slices, acquisition: Acquisition, target_spacing: float
) -> dict[str, object] | None:
    """Consistency of the estimate with its input."""
    measured = measure(estimate, thick, acquisition, target_spacing)
    if measured is None:
        return None
    stated = {"thickness_mm": acquisition.thickness, "profile_rounding": acquisition.rounding}
    return {**stated, **measured.as_dict()}


def check_same_grid(reference: Volume, estimate: Volume) -> None:
    """Raise a UserError that states the difference unless both volumes have the same voxel positions."""
    shapes = [volume.voxels.shape[::-1] for volume in (reference, estimate)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"reference and estimate differ in size: {_listed(shapes[0])} against {_listed(shapes[1])} voxels"
        )
    for name, unit in (("spacing", " mm"), ("origin", " mm"), ("direction", "")):
        values = [np.ravel(getattr(volume, name)) for volume in (reference, estimate)]
        if np.abs(values[0] - values[1]).max() > GEOMETRY_TOLERANCE:
            raise UserError(
                f"reference and estimate differ in {name}: {_listed(values[0])} against "
                f"{_listed(values[1])}{unit}"
            )


def check_input(thick: Volume, estimate: Volume, axis: int) -> None:
    """Raise a UserError unless the grids of `thick` and `estimate` differ only along index axis `axis`."""
    in_plane = [a for a in range(3) if a != axis]
    slices = [volume.voxels.shape[2 - axis] for volume in (thick, estimate)]
    if slices[0] > slices[1] or thick.spacing[axis] < estimate.spacing[axis] * (1 - 1e-6):
        raise UserError(
            f"the thick volume is not the estimate's input: it has {slices[0]} slices every "
            f"{thick.spacing[axis]:g} mm, finer than the estimate's {slices[1]} every "
            f"{estimate.spacing[axis]:g} mm"
        )
    for name, compared in (
        ("size", in_plane),
        ("spacing", in_plane),
        ("origin", slice(None)),
        ("direction", slice(None)),
    ):
        values = [
            np.ravel(v.voxels.shape[::-1] if name == "size" else getattr(v, name))[compared]
            for v in (thick, estimate)
        ]
        if np.abs(values[0] - values[1]).max() > GEOMETRY_TOLERANCE:
            raise UserError(
                f"the thick volume is not the estimate's input: {name} {_listed(values[0])} against "
                f"{_listed(values[1])}"
            )


def _listed(values) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def format_report(measured: dict) -> str:
    """The dict of :func:`report` as readable lines."""

    def errors(part):
        decibels = "equal" if part["psnr"] is None else f"{part['psnr']:.3f} dB"
        return f"PSNR {decibels}, MAE {part['mae_hu']:.2f} HU, bias {part['bias_hu']:+.2f} HU"

    scales = {"hu": "HU", "unit": "[0, 1]"}
    intensity = measured["intensity"]
    lines = [
        f"intensity    reference {scales[intensity['reference']]}, estimate {scales[intensity['estimate']]}",
        f"whole volume {errors(measured)}, SSIM {measured['ssim']:.5f} ({measured['slices']} slices every "
        f"{measured['slice_spacing_mm']:g} mm; data range {measured['data_range_hu']:g} HU)",
    ]
    for group in measured.get("by_distance", ()):
        distance = f"{group['distance_mm']:.2f} mm from a thick slice"
        lines.append(f"  {distance} ({group['slices']} slices): {errors(group)}")
    lung = measured["lung"]
    if lung is None:
        lines.append("lung         none found")
    else:
        lines.append(f"lung         {errors(lung)} ({lung['litres']:.2f} L)")
        for name, label, unit in (("laa950_percent", "LAA-950", "%"), ("perc15_hu", "Perc15", "HU")):
            a, b = lung["reference"][name], lung["estimate"][name]
            lines.append(f"  {label}: reference {a:.2f} {unit}, estimate {b:.2f} {unit} ({b - a:+.2f})")
    if "consistency" in measured:
        lines.append("consistency  " + _consistency_line(measured["consistency"]))
    if "official" in measured:
        official = measured["official"]
        lines.append(f"official     PSNR {official['psnr']:.4f} dB, SSIM {official['ssim']:.5f}")
    return "\n".join(lines)


def _consistency_line(consistency: dict | None) -> str:
    if consistency is None:
        return "not measurable: no thick slice has its whole profile inside the volume"
    rounding = consistency["profile_rounding"]
    profile = f"box of {consistency['thickness_mm']:g} mm"
    if rounding:
        profile += f", rounded off by {rounding:.2f} of it"
    return (
        f"mean |C| {consistency['mean']:.2f} HU, 99.9th percentile {consistency['percentile_99_9']:.2f} HU, "
        f"worst slice {consistency['worst_slice']:.2f} HU ({profile})"
    )
