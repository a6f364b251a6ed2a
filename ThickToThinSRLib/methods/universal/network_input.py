"""The input of the universal network, in its units."""

from __future__ import annotations

import numpy as np

from ...intensity import HU_WINDOW

# Differences of slices and corrections are given in this unit, in HU: 1/20 of the networks' HU range, so that
# typical differences are about 1. Without this scaling the network hardly learns.
DIFFERENCE_UNIT = (HU_WINDOW[1] - HU_WINDOW[0]) / 20.0
_LARGEST_DIFFERENCE = 6.0
# The correction of a thick slice extends this far on either side, in slice spacings; it fades out between
# 1 - REACH and REACH.
REACH = 0.62


def universal_input(slices: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """The network's input for one thick slice.

    Parameters
    ----------
    slices : ndarray, shape (5, H, W)
        The thick slice and its two neighbours on either side, in HU.
    samples : ndarray, shape (5, H, W)
        The interpolation at the positions ``networks.universal.SAMPLES`` around it, in HU.

    Returns
    -------
    ndarray, shape (10, H, W), float32
        The thick slice on [0, 1]; all others minus the thick slice, in ``DIFFERENCE_UNIT``.
    """
    centre = slices[2]
    low, high = HU_WINDOW
    channels = np.empty((len(slices) + len(samples), *centre.shape), np.float32)
    channels[0] = np.clip((centre - low) / (high - low), 0.0, 1.0)
    neighbours = (*slices[:2], *slices[3:], *samples)
    for channel, neighbour in zip(channels[1:], neighbours, strict=True):
        difference = (neighbour - centre) / DIFFERENCE_UNIT
        np.clip(difference, -_LARGEST_DIFFERENCE, _LARGEST_DIFFERENCE, out=channel)
    return channels
