"""The difference volume: a result minus the cubic interpolation of its input, in HU."""

import dataclasses

import numpy as np
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import cast

from . import node_volumes

_ATTRIBUTE = node_volumes.ATTRIBUTES + "difference"
# Width of the display window in HU; differences are mostly smaller.
_WINDOW = 400.0


def isDifference(node):
    """Whether `node` is a difference volume of this module."""
    return node.GetAttribute(_ATTRIBUTE) is not None


def obstacle(inputNode, resultNode):
    """Why no difference can be made; empty if it can."""
    if inputNode is None or resultNode is None:
        return _("Choose an input and a result")
    if isDifference(resultNode) or "target_spacing_mm" not in node_volumes.provenance(resultNode):
        return _("{volume} is not a result of this module: choose one").format(volume=resultNode.GetName())
    return ""


def settings(resultNode):
    """The settings that interpolate the input of a result onto the grid of the result."""
    report = node_volumes.provenance(resultNode)
    return Settings(
        method="interpolation",
        spacing=float(report["target_spacing_mm"]),
        thickness=float(report["thickness_mm"]),
    )


def create(resultNode, interpolated):
    """Make the node of the difference.

    :param interpolated: Volume, the interpolation of the input.
    """
    result = node_volumes.volumeFromNode(resultNode)
    if result.voxels.shape != interpolated.voxels.shape:
        raise UserError(
            _("{volume} was not made from this input: their grids differ").format(volume=resultNode.GetName())
        )
    voxels = result.voxels.astype(np.float32) - interpolated.voxels
    name = f"{resultNode.GetName()} minus interpolation"
    node = node_volumes.newCompanion(resultNode, name)
    node.SetAttribute(_ATTRIBUTE, resultNode.GetName())
    node_volumes.setVolume(node, dataclasses.replace(interpolated, voxels=cast(voxels, np.dtype(np.int16))))
    node.SetAndObserveTransformNodeID(resultNode.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(_WINDOW, 0.0)
    if resultNode.GetDisplayNode() is not None:
        display.SetInterpolate(resultNode.GetDisplayNode().GetInterpolate())
    return node
