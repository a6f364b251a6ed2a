"""The networks by name. Nothing is loaded, PyTorch neither, until a network's class is needed.

Networks of one upsampling factor map (B, 1, D, H, W) in [0, 1] to (B, 1, D_out, H, W); see the classes of the
others.

>>> from ThickToThinSRLib.networks.registry import NETWORKS, build
>>> network = build("tvsrn", factor=4)
>>> NETWORKS["tvsrn"].window(factor=4).outputs
9
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..intensity import HU_WINDOW
from .window_spec import WindowSpec

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from torch import nn

__all__ = ["NETWORKS", "NetworkEntry", "WindowSpec", "build"]


# What networks that predict corrections call one.
_CORRECTION_HU = (HU_WINDOW[1] - HU_WINDOW[0]) / 20.0


@dataclass(frozen=True)
class NetworkEntry:
    """One architecture, in a module of its own in this folder.

    Attributes
    ----------
    name : str
        Of the module. It has ``window_for``, from the constructor's arguments to a `WindowSpec`, and, where
        authors released weights, ``from_authors_state``.
    class_name : str
        Of the network's class; its constructor's arguments have the released values as defaults.
    description : str
        One line for the user.
    bytes_per_pixel : float
        Working memory of a float32 prediction for each pixel of a tile, with the released arguments.
    output_hu : float
        HU of one unit of what it predicts: of the whole window, or of a correction's unit.
    halve_on_cpu : bool
        Whether automatic precision may halve it on a CPU too: for networks that predict small corrections.
    """

    name: str
    class_name: str
    description: str
    bytes_per_pixel: float
    output_hu: float = HU_WINDOW[1] - HU_WINDOW[0]
    halve_on_cpu: bool = False

    def _code(self) -> ModuleType:
        return importlib.import_module(f".{self.name}", __package__)

    @property
    def module(self) -> type[nn.Module]:
        """The network's class."""
        return getattr(self._code(), self.class_name)

    def window(self, **arguments: Any) -> WindowSpec:
        """Windows of a network built with these arguments."""
        return self._code().window_for(**arguments)

    @property
    def has_authors_weights(self) -> bool:
        """Whether its authors' checkpoints can be imported."""
        return hasattr(self._code(), "from_authors_state")

    def from_authors_state(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The authors' state dict under this project's names.

        Raises
        ------
        UserError
            For a weight that the network does not have.
        """
        return self._code().from_authors_state(state)


NETWORKS: dict[str, NetworkEntry] = {
    entry.name: entry
    for entry in (
        NetworkEntry(
            "tvsrn",
            "TVSRN",
            "TVSRN, transformer of the RPLHR-CT paper (MICCAI 2022), as its authors released it",
            bytes_per_pixel=4000,
        ),
        NetworkEntry(
            "cthnet",
            "CTHNet",
            "CTH-Net, convolutions and transformer for chest CT, as its authors released it",
            bytes_per_pixel=9000,
        ),
        NetworkEntry(
            "universal",
            "Universal",
            "corrects the consistent interpolation at any position between slices of any spacing and overlap",
            bytes_per_pixel=1000,
            output_hu=_CORRECTION_HU,
            halve_on_cpu=True,
        ),
        NetworkEntry(
            "unet",
            "UNet",
            "a small U-Net that corrects interpolated coronal and sagittal planes, for SR4ZCT",
            bytes_per_pixel=600,
            output_hu=_CORRECTION_HU,
            halve_on_cpu=True,
        ),
        NetworkEntry(
            "msd",
            "MSD",
            "the mixed-scale dense network of the SR4ZCT paper, on the same planes",
            bytes_per_pixel=1000,
            # Full precision on a CPU, see its module.
            output_hu=_CORRECTION_HU,
        ),
        NetworkEntry(
            "saint",
            "SAINT",
            "SAINT (CVPR 2020), sagittal and coronal views and their fusion, exact to the released code",
            bytes_per_pixel=6000,
        ),
        NetworkEntry(
            "resvox",
            "ResVox",
            "ResVox (MICCAI 2019), residual voxel network, after its description",
            bytes_per_pixel=4000,
        ),
        NetworkEntry(
            "mpunet",
            "MPUNet",
            "MPU-Net (MICCAI 2020), progressive upsampling, after its description",
            bytes_per_pixel=6000,
        ),
        NetworkEntry(
            "davsr",
            "DAVSR",
            "DA-VSR (MICCAI 2021), which adapts to the scan, after its description",
            bytes_per_pixel=4000,
        ),
    )
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
