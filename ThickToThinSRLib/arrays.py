"""NumPy arrays and PyTorch tensors alike: the few operations that both do not call by one name.

The rest (products, ``clip``, ``abs``, slices, ``reshape``) is the same for both, so that functions of columns
and of slices run where these are: arrays on the CPU, tensors on a GPU. This file does not import PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Constant:
    """An array that is at hand wherever it is used: as NumPy array, or as tensor on any device."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self._tensors: dict = {}

    def like(self, values: Any) -> Any:
        """The array itself if `values` is one, else as tensor on the device of the tensor `values`."""
        if isinstance(values, np.ndarray):
            return self.array
        if values.device not in self._tensors:
            import torch

            # Usable in training too, wherever it is needed first.
            with torch.inference_mode(False):
                self._tensors[values.device] = torch.from_numpy(self.array).to(values.device)
        return self._tensors[values.device]


def to_array(values: Any) -> np.ndarray:
    """The same numbers as NumPy array."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def beside(values: Any, other: Any) -> Any:
    """The same numbers as what `other` is, and where it is."""
    if isinstance(other, np.ndarray):
        return to_array(values)
    return other.new_tensor(values) if isinstance(values, np.ndarray) else values.to(other.device)


def as_float(values: Any) -> Any:
    """In single precision."""
    return values.astype(np.float32, copy=False) if isinstance(values, np.ndarray) else values.float()


def zeros(shape: tuple[int, ...], values: Any) -> Any:
    """Float32 zeros where `values` is."""
    if isinstance(values, np.ndarray):
        return np.zeros(shape, np.float32)
    return values.new_zeros(shape)


def smaller(one: Any, other: Any) -> Any:
    """The smaller of two, number by number."""
    return np.minimum(one, other) if isinstance(one, np.ndarray) else one.minimum(other)


def larger(one: Any, other: Any) -> Any:
    """The larger of two, number by number."""
    return np.maximum(one, other) if isinstance(one, np.ndarray) else one.maximum(other)


def stacked(parts: list) -> Any:
    """Arrays or tensors of one shape along a new first axis, float32."""
    out = zeros((len(parts), *parts[0].shape), parts[0])
    for index, part in enumerate(parts):
        out[index] = part
    return out
