"""How an estimated thin-slice volume differs from a reference: PSNR, SSIM, HU errors, lung, consistency.

Arrays are (slices, rows, columns) with the through-plane axis first. Everything is summed slice by slice in
double precision, so that volumes of any length need little memory beside themselves.
"""

from __future__ import annotations

import math
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
GEOMETRY_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SliceErrors:
    """Sums of estimate - reference over each slice: arrays of shape (slices,)."""

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
        """Peak signal-to-noise ratio in dB; infinite for equal volumes."""
        mean_square = float(self.squared.sum() / self.count.sum())
        return math.inf if mean_square == 0 else 10 * math.log10(data_range**2 / mean_square)


def slice_errors(reference, estimate, mask=None) -> SliceErrors:
    """Sum the errors of each slice.

    Parameters
    ----------
    reference, estimate : sequences of ndarray, shape (rows, columns)
        The slices of both, in the same unit.
    mask : sequence of bool ndarray, optional
        Voxels to count; all by default.
    """
    sums = np.zeros((4, len(reference)))
    for index in range(len(reference)):
        error = np.asarray(estimate[index], np.float64) - reference[index]
        if mask is not None:
            error = error[mask[index]]
        sums[:, index] = error.size, error.sum(), np.abs(error).sum(), np.square(error).sum()
    return SliceErrors(*sums)


def psnr(reference, estimate, data_range: float) -> float:
    """10 log10(data_range^2 / MSE) over a volume, in dB; infinite for equal volumes."""
    return slice_errors(reference, estimate).psnr(data_range)


def distance_groups(
    thin: int, target_spacing: float, thick: int, spacing: float
) -> list[tuple[float, np.ndarray]]:
    """Group thin slices by their distance from the nearest thick slice centre.

    Parameters
    ----------
    thin, thick : int
        Numbers of slices; the first centres coincide.
    target_spacing, spacing : float
        Distance of thin and of thick slice centres, mm.

    Returns
    -------
    list of (distance, slices)
        Mean distance in mm and slice numbers of each group, nearest first. Distances are rounded to
        whole thin slices: from 5 to 1 mm the groups are the paper's Match (0), Near (1) and Far (2 mm).
    """
    place = np.arange(thin) * target_spacing
    nearest = np.clip(np.rint(place / spacing), 0, thick - 1) * spacing
    distance = np.abs(place - nearest)
    steps = np.floor(distance / target_spacing + 0.5 + 1e-6).astype(int)
    groups = (np.flatnonzero(steps == step) for step in np.unique(steps))
    return [(round(float(distance[group].mean()), 6), group) for group in groups]


class _Slices:
    """Slices of a volume, converted as they are asked for: to HU, or to [0, 1] and clipped to it."""

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
        # What was a whole HU becomes one again: single precision would move it over a threshold such as -950.
        return np.round(to_hu(values.astype(np.float64)), 2).astype(np.float32)


def report(
    reference: Volume, estimate: Volume, thick: Volume | None = None, official: bool = False
) -> dict[str, object]:
    """Everything that can be said about an estimate, ready for JSON.

    Parameters
    ----------
    reference, estimate : Volume
        Thin-slice volumes on the same grid, each in HU or in [0, 1] (which is detected).
    thick : Volume, optional
        What the estimate was made from: adds consistency and errors by distance from the thick slices.
    official : bool
        Add PSNR and SSIM by the protocol of the RPLHR-CT benchmark.

    Returns
    -------
    dict
        HU errors, PSNR (over 3072 HU, nothing clipped; None for equal volumes) and SSIM over all slices;
        the same errors and both densitometries inside the lungs of the reference (None without lungs).

    Raises
    ------
    UserError
        If the volumes do not lie on the same grid, or `thick` is not the estimate's input.
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
        result["consistency"] = _consistency(b, thick, axis, reference.spacing[axis])
    if official:
        unit = [_Slices(v, axis, s, "unit") for v, s in zip((reference, estimate), scales, strict=True)]
        result["official"] = {"psnr": official_psnr(*unit), "ssim": official_ssim(*unit)}
    return result


def _errors(errors: SliceErrors) -> dict[str, float | None]:
    value = errors.psnr(HU_RANGE)
    return {"psnr": None if math.isinf(value) else value, "mae_hu": errors.mae, "bias_hu": errors.bias}


def _lung(reference: Volume, intensity: str, axis: int, a: _Slices, b: _Slices) -> dict[str, object] | None:
    """Errors and densitometry inside the lungs of the reference: both on the same voxels."""
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
    estimate: _Slices, thick: Volume, axis: int, target_spacing: float
) -> dict[str, object] | None:
    """Consistency of the estimate with its input; the thickness is the file's, else the spacing."""
    spacing = thick.spacing[axis]
    acquisition = Acquisition(thick.thickness or spacing, spacing)
    slices = _Slices(thick, axis, detect_intensity(thick.voxels), "hu")
    found = measure(estimate, slices, acquisition, target_spacing)
    return None if found is None else {"thickness_mm": acquisition.thickness, **found.as_dict()}


def check_same_grid(reference: Volume, estimate: Volume) -> None:
    """Raise UserError with the differing numbers unless both volumes have the same voxel positions."""
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
    """Raise UserError unless `thick` differs from `estimate` in the slices along `axis` alone."""
    across = [a for a in range(3) if a != axis]
    for name, kept in (
        ("size", across),
        ("spacing", across),
        ("origin", slice(None)),
        ("direction", slice(None)),
    ):
        values = [
            np.ravel(v.voxels.shape[::-1] if name == "size" else getattr(v, name))[kept]
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
    """The dict of :func:`report` as lines to read."""

    def errors(part):
        decibels = "equal" if part["psnr"] is None else f"{part['psnr']:.3f} dB"
        return f"PSNR {decibels}, MAE {part['mae_hu']:.2f} HU, bias {part['bias_hu']:+.2f} HU"

    scales = {"hu": "HU", "unit": "[0, 1]"}
    found = measured["intensity"]
    lines = [
        f"intensity    reference {scales[found['reference']]}, estimate {scales[found['estimate']]}",
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


def _consistency_line(found: dict | None) -> str:
    if found is None:
        return "no thick slice lies wholly inside"
    return (
        f"mean |C| {found['mean']:.2f} HU, 99.9th percentile {found['percentile_99_9']:.2f} HU, worst slice "
        f"{found['worst_slice']:.2f} HU (box of {found['thickness_mm']:g} mm)"
    )
