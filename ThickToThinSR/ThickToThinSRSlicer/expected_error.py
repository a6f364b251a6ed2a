"""The map of a result's expected error: a volume of its own, shown in colours over the result."""

from slicer.i18n import tr as _

from . import node_volumes

_REFERENCE = node_volumes.EXPECTED_ERROR
_ATTRIBUTE = node_volumes.ATTRIBUTES + "expectedErrorOf"
# Red to yellow; below the threshold the result is seen as it is.
_COLORS = "vtkMRMLColorTableNodeIron"
LOWEST, HIGHEST = 40.0, 200.0  # HU
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
        _colour(node)
        resultNode.SetNodeReferenceID(_REFERENCE, node.GetID())
    node_volumes.setVolume(node, error)
    node.SetAndObserveTransformNodeID(resultNode.GetTransformNodeID())


def _colour(node):
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_COLORS)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(LOWEST, HIGHEST)
    display.SetAutoThreshold(False)
    display.SetThreshold(LOWEST, 32767.0)
    display.SetApplyThreshold(True)
