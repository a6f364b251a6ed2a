"""The user's choices; saved with the scene."""

import pathlib
from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.settings import (
    ADAPTED_NETWORKS,
    DEFAULT_METHOD,
    DEFAULT_SPACING,
    NOISES,
    PLANES,
    PRECISIONS,
    SLICE_PROFILES,
    TILINGS,
)

METHOD_DEFAULT = "default"


@parameterNodeWrapper
class ThickToThinSRParameterNode:
    """One field for each choice in the panel.

    outputVolume None: a new volume. thickness 0: from DICOM, else the slice spacing. minutes and epochs below
    0, planes and network "default": the method's default.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    method: Annotated[str, Choice(list(METHODS))] = DEFAULT_METHOD
    checkpoint: pathlib.Path
    spacing: Annotated[float, WithinRange(0.1, 10.0)] = DEFAULT_SPACING
    thickness: Annotated[float, WithinRange(0.0, 50.0)] = 0.0
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    precision: Annotated[str, Choice(list(PRECISIONS))] = "auto"
    tiling: Annotated[str, Choice(list(TILINGS))] = "seamless"
    consistency: bool = True
    minutes: Annotated[float, WithinRange(-1.0, 600.0)] = -1.0
    epochs: Annotated[int, WithinRange(-1, 10000)] = -1
    planes: Annotated[str, Choice([METHOD_DEFAULT, *PLANES])] = METHOD_DEFAULT
    network: Annotated[str, Choice([METHOD_DEFAULT, *ADAPTED_NETWORKS])] = METHOD_DEFAULT
    uncertainty: bool = False
    profile: Annotated[str, Choice(list(SLICE_PROFILES))] = SLICE_PROFILES[0]
    noise: Annotated[str, Choice(list(NOISES))] = NOISES[0]
    noiseSeed: Annotated[int, WithinRange(0, 999999)] = 0
    allFrames: bool = False


def choices(parameters, needsNetwork):
    """The parameter node as arguments of the Logic, without options that the method does not have."""
    method = METHODS[parameters.method]
    network = needsNetwork(parameters.method)
    # An empty path in the panel is converted to Path(), the current folder.
    hasCheckpoint = network and parameters.checkpoint != pathlib.Path()
    arguments = {
        "inputNode": parameters.inputVolume,
        "outputNode": parameters.outputVolume,
        "method": parameters.method,
        "checkpoint": parameters.checkpoint if hasCheckpoint else None,
        "spacing": parameters.spacing,
        "thickness": parameters.thickness or None,
        "device": parameters.device,
        "profile": parameters.profile,
        "noise": parameters.noise,
        "noise_seed": parameters.noiseSeed,
    }
    if "uncertainty" in method.options:
        arguments["uncertainty"] = parameters.uncertainty
    if network:
        arguments |= {
            "precision": parameters.precision,
            "tiling": parameters.tiling,
            "consistency": parameters.consistency,
        }
    adaptation = {
        "minutes": parameters.minutes if parameters.minutes >= 0 else None,
        "epochs": parameters.epochs if parameters.epochs >= 0 else None,
        "planes": None if parameters.planes == METHOD_DEFAULT else parameters.planes,
        "network": None if parameters.network == METHOD_DEFAULT else parameters.network,
    }
    return arguments | {name: value for name, value in adaptation.items() if name in method.options}
