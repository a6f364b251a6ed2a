"""The methods by name. A method's code, and with it PyTorch, is imported when the method is used.

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
    """One method to make thin slices.

    Attributes
    ----------
    name, description : str
        Shown to the user.
    code : str
        Module of this folder whose function ``enhance(volume, request, monitor)`` does the work.
    network : str, optional
        The architecture whose weights the method uses.
    untrained : tuple of str
        Architectures that the method can train from the start, without weights.
    uses_profile : bool
        Whether the result depends on the slice profile.
    """

    name: str
    description: str
    code: str
    network: str | None = None
    untrained: tuple[str, ...] = ()
    uses_profile: bool = True

    def enhance(self, volume: Volume, request: Request, monitor: Monitor) -> Volume:
        """Make the thin volume; see the module's docstring."""
        return importlib.import_module(f".{self.code}", __package__).enhance(volume, request, monitor)

    @property
    def options(self) -> frozenset[str]:
        """The options of this method that not all methods have."""
        return frozenset(name for name, option in OPTIONS.items() if self.name in (option.methods or ()))

    @property
    def learns(self) -> bool:
        """Whether the method uses a network, trained before or on the scan."""
        return self.network is not None or any(OPTIONS[name].group == "adaptation" for name in self.options)


# Of methods after a paper, whose published weights may differ in quality.
_OURS = "its weights come with the program: a training of this project, not the published one"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "interpolation",
            "cubic B-spline interpolation between the slices, for comparison; needs no weights",
            "interpolation",
            uses_profile=False,
        ),
        Method(
            "consistent",
            "the smoothest volume whose averages over the slice thickness are the input: sharper than "
            "interpolation, above all if slices overlap; needs no weights",
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
            "weights come with the program, and it can adapt to the scan",
            "sr4zct.enhance",
            network="unet",
            untrained=ADAPTED_NETWORKS,
        ),
        Method(
            "tvsrn",
            f"TVSRN, transformer of the RPLHR-CT paper, for 5 mm slices; {_OURS}",
            "fixed_factor",
            network="tvsrn",
        ),
        Method(
            "cthnet",
            f"CTH-Net, a network of transformer and three-dimensional convolutions, for 5 mm slices; {_OURS}",
            "fixed_factor",
            network="cthnet",
        ),
        Method(
            "saint",
            f"SAINT, interpolation of sagittal and coronal planes and fusion, any whole factor; {_OURS}",
            "saint",
            network="saint",
        ),
        Method(
            "resvox",
            f"ResVox, a residual voxel network, for 5 mm slices; {_OURS}",
            "fixed_factor",
            network="resvox",
        ),
        Method(
            "mpunet",
            f"MPU-Net, progressive upsampling, for 5 mm slices; {_OURS}",
            "fixed_factor",
            network="mpunet",
        ),
        Method(
            "davsr",
            f"DA-VSR, which adapts to the scan before it predicts, for 5 mm slices; {_OURS}",
            "davsr",
            network="davsr",
        ),
    )
}


def methods_of(network: str) -> list[str]:
    """Names of the methods that use weights of the architecture `network`."""
    return [name for name, entry in METHODS.items() if network in {entry.network, *entry.untrained}]
