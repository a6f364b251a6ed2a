"""Arrays that the tests use as CT: (z, y, x), HU."""

from __future__ import annotations

import numpy as np


def some_hu(shape=(6, 8, 9), dtype=np.int16, seed=0) -> np.ndarray:
    """Random HU between air and bone, different in every voxel, so that mistakes show."""
    return np.random.default_rng(seed).integers(-1000, 1500, shape).astype(dtype)


def dicom_hu(shape=(6, 8, 10), seed=0) -> np.ndarray:
    """Random HU over the range of twelve bits."""
    return np.random.default_rng(seed).integers(-1024, 3000, shape).astype(np.int16)


def ct_voxels(shape=(7, 10, 11), dtype=np.int16, seed=0) -> np.ndarray:
    """Random HU for volume nodes; not rounded if `dtype` is floating-point."""
    return np.random.default_rng(seed).uniform(-1000, 1000, shape).astype(dtype)


def blocks(shape, side: int, deviation=300.0, seed=0) -> np.ndarray:
    """Blocks of `side` x `side` pixels, different in every slice: edges in every direction; float64."""
    coarse = (shape[0], *(size // side for size in shape[1:]))
    values = np.random.default_rng(seed).normal(0, deviation, coarse)
    return values.repeat(side, axis=1).repeat(side, axis=2)
