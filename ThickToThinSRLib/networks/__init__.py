"""The networks by name, each a plain torch module.

Those of one factor map (B, 1, D, H, W) in [0, 1] to (B, 1, D_out, H, W); for the others see their classes.

>>> from ThickToThinSRLib.networks import NETWORKS, build
>>> network = build("tvsrn", factor=4)
>>> NETWORKS["tvsrn"].window(factor=4).outputs
9
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from . import cthnet, davsr, mpunet, msd, resvox, saint, tvsrn, unet, universal
from .window_spec import WindowSpec

__all__ = ["NETWORKS", "NetworkEntry", "WindowSpec", "build"]


@dataclass(frozen=True)
class NetworkEntry:
    """One architecture.

    Attributes
    ----------
    module : type
        Its class; the constructor's arguments have the released values as defaults.
    description : str
        One line for the user.
    window : callable
        The constructor's arguments to the :class:`WindowSpec` of the network.
    from_authors_state : callable, optional
        The authors' state dict to one with this project's names, where authors released one.
    bytes_per_pixel : float
        Working memory of a float32 prediction for each pixel of a tile, with the released arguments.
    """

    module: type[nn.Module]
    description: str
    window: Callable[..., WindowSpec]
    bytes_per_pixel: float
    from_authors_state: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None


NETWORKS: dict[str, NetworkEntry] = {
    "tvsrn": NetworkEntry(
        tvsrn.TVSRN,
        "TVSRN, transformer of the RPLHR-CT paper (MICCAI 2022), as its authors released it",
        tvsrn.window_for,
        bytes_per_pixel=4000,
        from_authors_state=tvsrn.from_authors_state,
    ),
    "cthnet": NetworkEntry(
        cthnet.CTHNet,
        "CTH-Net, convolutions and transformer for chest CT, as its authors released it",
        cthnet.window_for,
        bytes_per_pixel=9000,
        from_authors_state=cthnet.from_authors_state,
    ),
    "universal": NetworkEntry(
        universal.Universal,
        "corrects the consistent interpolation at any position between slices of any spacing and overlap",
        universal.window_for,
        bytes_per_pixel=1000,
    ),
    "unet": NetworkEntry(
        unet.UNet,
        "a small U-Net that corrects interpolated coronal and sagittal planes; the fast network of SR4ZCT",
        unet.window_for,
        bytes_per_pixel=600,
    ),
    "msd": NetworkEntry(
        msd.MSD,
        "the mixed-scale dense network of the SR4ZCT paper, on the same planes",
        msd.window_for,
        bytes_per_pixel=1000,
    ),
    "saint": NetworkEntry(
        saint.SAINT,
        "SAINT (CVPR 2020), sagittal and coronal interpolation and their fusion, as its code was released",
        saint.window_for,
        bytes_per_pixel=6000,
    ),
    "resvox": NetworkEntry(
        resvox.ResVox,
        "ResVox (MICCAI 2019), residual voxel network, after its description",
        resvox.window_for,
        bytes_per_pixel=4000,
    ),
    "mpunet": NetworkEntry(
        mpunet.MPUNet,
        "MPU-Net (MICCAI 2020), progressive upsampling, after its description",
        mpunet.window_for,
        bytes_per_pixel=6000,
    ),
    "davsr": NetworkEntry(
        davsr.DAVSR,
        "DA-VSR (MICCAI 2021), which adapts to the scan, after its description",
        davsr.window_for,
        bytes_per_pixel=4000,
    ),
}


def build(name: str, **arguments: Any) -> nn.Module:
    """A network with fresh weights.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    **arguments
        Of the network's constructor; those left out have the released values.

    Raises
    ------
    UserError
        For an unknown network or argument, or a value of the wrong type or out of range.
    """
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}; there are: {', '.join(NETWORKS)}")
    entry = NETWORKS[name]
    known = inspect.signature(entry.module).parameters
    for argument, value in arguments.items():
        if argument not in known:
            raise UserError(f"{name} has no argument {argument!r}; it has: {', '.join(known)}")
        _check(f"{name}: {argument}", value, known[argument].default)
    return entry.module(**arguments)


def _check(label: str, value: Any, default: Any) -> None:
    """Refuse a value that is not of the default's type, or a count under 1."""
    kind = type(default)
    accepted = (int, float) if kind is float else (kind,)
    if type(value) not in accepted:
        raise UserError(f"{label} must be {kind.__name__}, not {value!r}")
    if kind is int and value < 1:
        raise UserError(f"{label} must be 1 or more, not {value}")
