"""What the universal network reads, in its units."""

from __future__ import annotations

import numpy as np

from ...intensity import HU_WINDOW

# HU of one unit of the networks' scale, over how much finer differences are than values: the network sees
# differences of slices and gives corrections in this unit. Unscaled it learns next to nothing.
DIFFERENCE_UNIT = (HU_WINDOW[1] - HU_WINDOW[0]) / 20.0
_LARGEST_DIFFERENCE = 6.0
# A slice's correction reaches this far towards its neighbours, in slice spacings; beyond half way it fades.
REACH = 0.62


def universal_input(slices: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """What the network reads around one thick slice, of HU: (10, H, W) float32.

    Parameters
    ----------
    slices : ndarray, shape (5, H, W)
        The thick slice and its two neighbours on either side.
    samples : ndarray, shape (5, H, W)
        The interpolation at ``networks.universal.SAMPLES`` around it.
    """
    centre = slices[2]
    low, high = HU_WINDOW
    channels = np.empty((len(slices) + len(samples), *centre.shape), np.float32)
    channels[0] = np.clip((centre - low) / (high - low), 0.0, 1.0)
    others = (*slices[:2], *slices[3:], *samples)
    for channel, other in zip(channels[1:], others, strict=True):
        np.clip((other - centre) / DIFFERENCE_UNIT, -_LARGEST_DIFFERENCE, _LARGEST_DIFFERENCE, out=channel)
    return channels
