"""The methods by name. A method's code, and with it PyTorch, is loaded when the method is used.

Every method turns a thick Volume in HU into a thin one of the same type, axis order and directions::

    METHODS[name].enhance(volume, request, monitor) -> Volume
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings import ADAPTED_NETWORKS, OPTIONS

if TYPE_CHECKING:
    from ..monitor import Monitor
    from ..volume import Volume
    from .request import Request


@dataclass(frozen=True)
class Method:
    """One way to make thin slices.

    Attributes
    ----------
    name, description : str
        For the user.
    code : str
        Module of this folder whose function ``enhance(volume, request, monitor)`` does the work.
    network : str, optional
        The architecture whose weights it uses.
    untrained : tuple of str
        Architectures that it can also train from the start, without weights.
    """

    name: str
    description: str
    code: str
    network: str | None = None
    untrained: tuple[str, ...] = ()

    def enhance(self, volume: Volume, request: Request, monitor: Monitor) -> Volume:
        """Do the work; see the module's docstring."""
        return importlib.import_module(f".{self.code}", __package__).enhance(volume, request, monitor)

    @property
    def options(self) -> frozenset[str]:
        """Those options that only some methods take, and this one does."""
        return frozenset(name for name, option in OPTIONS.items() if self.name in (option.methods or ()))

    @property
    def learns(self) -> bool:
        """Whether anything in it was trained, or is trained on the scan."""
        return self.network is not None or any(OPTIONS[name].group == "adaptation" for name in self.options)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "interpolation",
            "cubic B-spline interpolation between the slices: the yardstick; needs no weights",
            "interpolation",
        ),
        Method(
            "consistent",
            "the smoothest volume whose thick slices are the input's: sharper than interpolation, above all "
            "where slices overlap; needs no weights",
            "consistent",
        ),
        Method(
            "universal",
            "a network that corrects the consistent interpolation, for any spacing and overlap; its weights "
            "come with the program",
            "universal.enhance",
            network="universal",
        ),
        Method(
            "sr4zct",
            "SR4ZCT: a network corrects coronal and sagittal planes, for any spacing and overlap; its "
            "weights come with the program, and it can learn from the scan's own slices",
            "sr4zct.enhance",
            network="unet",
            untrained=ADAPTED_NETWORKS,
        ),
        Method(
            "tvsrn",
            "TVSRN, transformer of the RPLHR-CT paper, for 5 mm slices; its weights come with the program: "
            "a training of this project, not the published one",
            "fixed_factor",
            network="tvsrn",
        ),
        Method(
            "cthnet",
            "CTH-Net, three-dimensional transformer and convolutions; needs weights",
            "fixed_factor",
            network="cthnet",
        ),
        Method(
            "saint",
            "SAINT, sagittal and coronal interpolation and their fusion, at any whole factor; needs weights",
            "saint",
            network="saint",
        ),
        Method(
            "resvox",
            "ResVox, a residual voxel network; needs weights",
            "fixed_factor",
            network="resvox",
        ),
        Method(
            "mpunet",
            "MPU-Net, progressive upsampling; needs weights",
            "fixed_factor",
            network="mpunet",
        ),
        Method(
            "davsr",
            "DA-VSR, which adapts to the scan's own axial slices before it predicts; needs weights",
            "davsr",
            network="davsr",
        ),
    )
}


def methods_of(network: str) -> list[str]:
    """Names of the methods that use weights of this architecture."""
    return [name for name, entry in METHODS.items() if network in {entry.network, *entry.untrained}]
