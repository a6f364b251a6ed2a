"""The map of a result's expected error: a volume of its own, shown in colours over the result."""

import numpy as np
from slicer.i18n import tr as _

from . import node_volumes

_REFERENCE = node_volumes.EXPECTED_ERROR
_ATTRIBUTE = node_volumes.ATTRIBUTES + "expectedErrorOf"
# Red to yellow, from twice the median of the map; below, the result is seen as it is.
_COLORS = "vtkMRMLColorTableNodeIron"
_BRIGHTEST = 99.5  # percentile of the map
_EVERY = 4  # voxel along each axis is enough for them
OPACITY = 0.5


def ofResult(node):
    """The map that belongs to a result; None if there is none."""
    return None if node is None else node.GetNodeReference(_REFERENCE)


def isMap(node):
    """Whether a node is the map of some result."""
    return node is not None and node.GetAttribute(_ATTRIBUTE) is not None


def attach(resultNode, error):
    """Make or fill the map of a result.

    :param error: Volume in HU; None if the result has no map. An earlier one is then no longer its map.
    """
    node = ofResult(resultNode)
    if error is None:
        resultNode.SetNodeReferenceID(_REFERENCE, None)
        return
    if node is None:
        name = _("{volume} expected error").format(volume=resultNode.GetName())
        node = node_volumes.newCompanion(resultNode, name)
        node.SetAttribute(_ATTRIBUTE, resultNode.GetName())
        resultNode.SetNodeReferenceID(_REFERENCE, node.GetID())
    node_volumes.setVolume(node, error)
    _colour(node, error.voxels[::_EVERY, ::_EVERY, ::_EVERY])
    node.SetAndObserveTransformNodeID(resultNode.GetTransformNodeID())


def _colour(node, values):
    lowest = 2.0 * float(np.median(values))
    highest = max(float(np.percentile(values, _BRIGHTEST)), lowest + 1.0)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_COLORS)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(lowest, highest)
    display.SetAutoThreshold(False)
    display.SetThreshold(lowest, 32767.0)
    display.SetApplyThreshold(True)
