"""How well a thick and a thin scan match: their measured offsets along and within the slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_REACH = 7  # largest offset that is tried, thin slices
_PIXEL_STEP = 4  # every fourth pixel in each direction is enough, and fast
# If neighbouring slices differ by less than this (HU, root mean square), the offset cannot be measured.
_LEAST_CHANGE_HU = 2.0
# Two scans of one patient have a far higher correlation; scans of two patients do not.
_LEAST_CORRELATION = 0.85
_LARGEST_SHIFT = 1  # pixels, within the slices


@dataclass(frozen=True)
class Alignment:
    """Offset and correlation of a thick scan with a thin one.

    Attributes
    ----------
    offset : int or None
        Thin slices by which the thick scan is displaced: its slice i shows thin slice ``factor i + offset``.
        None if the scans do not change along the slices, so that it cannot be measured.
    correlation : float
        Correlation of the thick slices with the mean of the thin ones around them, at that offset; -1 to 1.
    reversed : bool
        Whether the thick scan fits better in reversed order.
    shift : tuple of int
        Rows and columns by which the thick slices are displaced in-plane.
    reach : int
        The largest offset that was tried.
    """

    offset: int | None
    correlation: float
    reversed: bool
    shift: tuple[int, int] = (0, 0)
    reach: int = 0

    def fault(self) -> str | None:
        """What is wrong, as text; None if nothing is."""
        if self.offset is None:
            return None
        if self.reversed:
            return "the thick slices are in reversed order"
        if max(map(abs, self.shift)) > _LARGEST_SHIFT:
            rows, columns = self.shift
            return f"the thick slices are displaced by {rows:+d} rows and {columns:+d} columns"
        if self.correlation < _LEAST_CORRELATION:
            return f"thick and thin slices do not show the same anatomy (correlation {self.correlation:.2f})"
        if self.offset:
            more = " or more" if abs(self.offset) == self.reach else ""
            return f"the thick slices are displaced by {self.offset:+d}{more} thin slices"
        return None


def measure_alignment(thick: np.ndarray, thin: np.ndarray, factor: int) -> Alignment:
    """Find the offset at which thin slices, averaged over the thick spacing, fit the thick slices best.

    Parameters
    ----------
    thick, thin : ndarray, shapes (L, H, W) and (factor (L - 1) + 1, H, W)
        HU.
    factor : int
        Upsampling factor.
    """
    step = (slice(None), slice(None, None, _PIXEL_STEP), slice(None, None, _PIXEL_STEP))
    y, x = (np.clip(volume[step], -1024, 2048).astype(np.float32) for volume in (thick, thin))
    # The padding outside the field of view may differ between the scans.
    changing = (np.ptp(y, axis=0) > 0) & (np.ptp(x, axis=0) > 0)
    y, x = y[:, changing], x[:, changing]
    if not y.size or _root_mean_square(np.diff(y, axis=0)) < _LEAST_CHANGE_HU:
        return Alignment(None, 1.0, False)
    errors = _errors(y, x, factor)
    if not errors:
        return Alignment(None, 1.0, False)
    offset = min(errors, key=errors.get)
    backwards = _errors(y[::-1], x, factor)
    turned = min(backwards.values()) < 0.5 * errors[offset]
    means = _means(x, factor, offset, range(len(y)))
    used = y[list(means)]
    correlation = np.corrcoef(used.ravel(), np.stack(list(means.values())).ravel())[0, 1]
    return Alignment(offset, float(correlation), turned, _shift(thick, thin, factor, offset), max(errors))


def _shift(thick: np.ndarray, thin: np.ndarray, factor: int, offset: int) -> tuple[int, int]:
    """Rows and columns by which the middle thick slice is displaced from the thin ones around it.

    (0, 0) if it does not match them after correction either.
    """
    from skimage.registration import phase_cross_correlation

    middle = len(thick) // 2
    means = _means(thin, factor, offset, [middle])
    if not means:
        return 0, 0
    planes = [np.clip(plane, -1024, 2048).astype(np.float64) for plane in (means[middle], thick[middle])]
    flat = [plane - plane.mean() for plane in planes]
    rows, columns = (-int(back) for back in phase_cross_correlation(*flat, normalization=None)[0])
    edge = max(abs(rows), abs(columns))
    if 2 * edge >= min(flat[0].shape) or not all(plane.any() for plane in flat):
        return 0, 0
    inner = tuple(slice(edge, size - edge) for size in flat[0].shape)
    corrected = np.roll(flat[1], (-rows, -columns), (0, 1))
    correlation = np.corrcoef(flat[0][inner].ravel(), corrected[inner].ravel())[0, 1]
    return (rows, columns) if correlation >= _LEAST_CORRELATION else (0, 0)


def _means(thin: np.ndarray, factor: int, offset: int, indices) -> dict[int, np.ndarray]:
    """Means of the `factor` thin slices around each thick one whose profile lies inside the thin scan."""
    half = factor // 2
    weights = np.ones(2 * half + 1, np.float32)
    if factor % 2 == 0:
        weights[[0, -1]] = 0.5
    starts = {i: factor * i + offset - half for i in indices}
    return {
        i: np.tensordot(weights / factor, thin[start : start + len(weights)].astype(np.float32), axes=1)
        for i, start in starts.items()
        if start >= 0 and start + len(weights) <= len(thin)
    }


def _errors(thick: np.ndarray, thin: np.ndarray, factor: int) -> dict[int, float]:
    """Root mean square difference at each offset, over the thick slices that can be used at all offsets."""
    # Fewer offsets are tried on very short scans, so that more than the middle slice can be used.
    reach = min(_REACH, max(0, (len(thin) - factor) // 5))
    margin = (reach + factor // 2) / factor
    indices = [i for i in range(len(thick)) if margin <= i <= len(thick) - 1 - margin]
    errors = {}
    for offset in range(-reach, reach + 1):
        means = _means(thin, factor, offset, indices)
        if means:
            errors[offset] = _root_mean_square(thick[list(means)] - np.stack(list(means.values())))
    return errors


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
