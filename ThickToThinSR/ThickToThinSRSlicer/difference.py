"""What a method changed against plain interpolation, as a volume in HU."""

import dataclasses

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import cast

from . import node_volumes

_ATTRIBUTE = node_volumes.ATTRIBUTES + "difference"
# HU from black to white: what a method adds is mostly within.
_WINDOW = 400.0


def isDifference(node):
    """Whether `node` is a difference made here."""
    return node.GetAttribute(_ATTRIBUTE) is not None


def obstacle(inputNode, resultNode):
    """Why no difference can be made, or an empty string."""
    if inputNode is None or resultNode is None:
        return "Choose an input and a result"
    if isDifference(resultNode) or "target_spacing_mm" not in node_volumes.provenance(resultNode):
        return f"{resultNode.GetName()} is no result of this module"
    return ""


def settings(resultNode):
    """Settings that interpolate the result's input onto its grid."""
    report = node_volumes.provenance(resultNode)
    return Settings(
        method="interpolation",
        spacing=float(report["target_spacing_mm"]),
        thickness=float(report["thickness_mm"]),
    )


def create(resultNode, interpolated):
    """The node of the result minus `interpolated`, a Volume."""
    result = node_volumes.volumeFromNode(resultNode)
    if result.voxels.shape != interpolated.voxels.shape:
        raise UserError(f"{resultNode.GetName()} was not made from this input: their grids differ")
    minus = result.voxels.astype(np.float32) - interpolated.voxels
    name = f"{resultNode.GetName()} minus interpolation"
    node = node_volumes.newOutputNode(resultNode, name)
    for attribute in list(node.GetAttributeNames()):
        if attribute.startswith(node_volumes.ATTRIBUTES):
            node.RemoveAttribute(attribute)
    node.SetAttribute(_ATTRIBUTE, resultNode.GetName())
    node_volumes.setVolume(node, dataclasses.replace(interpolated, voxels=cast(minus, np.dtype(np.int16))))
    node.SetAndObserveTransformNodeID(resultNode.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(_WINDOW, 0.0)
    if resultNode.GetDisplayNode() is not None:
        display.SetInterpolate(resultNode.GetDisplayNode().GetInterpolate())
    return node
