"""Scans and teachers' estimates as few bytes: HU rounded to steps, which is the only loss."""

from __future__ import annotations

import lzma

import numpy as np

from .bundled.distilled import thick_slices


def pack_scan(voxels: np.ndarray, step: int) -> bytes:
    """Pack HU (slices, rows, columns), int16, in steps of some HU, as differences along the rows."""
    return _compressed(np.diff(_in_steps(voxels, step), axis=2, prepend=np.int16(0)))


def unpack_scan(packed: bytes, shape: tuple[int, ...], step: int) -> np.ndarray:
    """What :func:`pack_scan` packed, int16, multiples of `step` HU."""
    return _expanded(packed, shape).cumsum(axis=2, dtype=np.int16) * np.int16(step)


def pack_estimate(estimate: np.ndarray, truth: np.ndarray, phase: int, factor: int, step: int) -> bytes:
    """Pack a teacher's estimate as its difference to the linear interpolation of the thick slices.

    That is the smallest of what was tried: the difference to the truth has its noise, and is a sixth larger.

    Parameters
    ----------
    estimate : ndarray, shape (slices, rows, columns), int16
        HU; starts at slice `phase` of the truth and ends at the last thick slice.
    truth : ndarray, int16
        The thin slices as they are unpacked.
    phase, factor : int
        See :class:`training.bundled.distilled.DistilledScan`.
    step : int
        Of rounding, HU.
    """
    return _compressed(_in_steps(estimate, step) - _in_steps(_linear(truth, phase, factor), step))


def unpack_estimate(packed: bytes, truth: np.ndarray, phase: int, factor: int, step: int) -> np.ndarray:
    """What :func:`pack_estimate` packed, int16, multiples of `step` HU."""
    linear = _in_steps(_linear(truth, phase, factor), step)
    return (linear + _expanded(packed, linear.shape)) * np.int16(step)


def estimate_slices(slices: int, phase: int, factor: int) -> int:
    """How many slices the estimate of so many thin slices has: from the first thick slice to the last."""
    return (slices - phase - factor // 2 - 1) // factor * factor + 1


def _linear(truth: np.ndarray, phase: int, factor: int) -> np.ndarray:
    """Linear interpolation of the thick slices, in whole numbers: every machine must find the same."""
    thick = thick_slices(truth, factor, phase).astype(np.int32)
    place = np.arange(estimate_slices(len(truth), phase, factor))
    before = place // factor
    after = np.minimum(before + 1, len(thick) - 1)
    weight = (place % factor)[:, None, None]
    return ((factor - weight) * thick[before] + weight * thick[after]) // factor


def _in_steps(voxels: np.ndarray, step: int) -> np.ndarray:
    return np.rint(voxels / np.float32(step)).astype(np.int16)


def _compressed(steps: np.ndarray) -> bytes:
    """Low bytes before high ones, which packs best."""
    return lzma.compress(steps.astype("<i2").view(np.uint8).reshape(-1, 2).T.tobytes(), preset=1)


def _expanded(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    stored = np.frombuffer(lzma.decompress(packed), np.uint8).reshape(2, -1).T.copy()
    return stored.view("<i2").reshape(shape).astype(np.int16)
