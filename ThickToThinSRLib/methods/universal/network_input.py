"""The input of the universal network, in its units."""

from __future__ import annotations

from typing import Any

from ...arrays import zeros
from ...intensity import HU_WINDOW, to_unit

# Differences of slices and corrections are given in this unit, in HU: 1/20 of the networks' HU range, so that
# typical differences are about 1. Without this scaling the network hardly learns.
DIFFERENCE_UNIT = (HU_WINDOW[1] - HU_WINDOW[0]) / 20.0
_LARGEST_DIFFERENCE = 6.0


def share(distance: Any) -> Any:
    """Share of a thick slice's correction in thin slices this far from it.

    The corrections of two neighbouring thick slices fade into each other, so that each thin slice is the
    weighted mean of two predictions.

    Parameters
    ----------
    distance : ndarray or tensor
        In slice spacings.
    """
    return (1.0 - abs(distance)).clip(0.0, 1.0)


def universal_input(slices: Any, samples: Any) -> Any:
    """What the network reads around one thick slice, of HU: (10, H, W) float32.

    Parameters
    ----------
    slices : ndarray or tensor, shape (5, H, W), float32
        The thick slice and its two neighbours on either side.
    samples : ndarray or tensor, shape (5, H, W), float32
        The interpolation at ``networks.universal.SAMPLES`` around it.
    """
    centre = slices[2]
    channels = zeros((len(slices) + len(samples), *centre.shape), slices)
    channels[0] = to_unit(centre).clip(0.0, 1.0)
    for number, other in enumerate((*slices[:2], *slices[3:], *samples), 1):
        difference = (other - centre) / DIFFERENCE_UNIT
        channels[number] = difference.clip(-_LARGEST_DIFFERENCE, _LARGEST_DIFFERENCE)
    return channels
