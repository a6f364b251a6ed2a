"""Segmentations and label maps of a thick volume, carried to the grid of its result."""

import dataclasses

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.segmentation.shape_based import carried
from ThickToThinSRLib.volume import through_plane_axis

from . import node_volumes
from .node_volumes import volumeFromNode


@dataclasses.dataclass
class Segment:
    """One segment or label: its name, and its volume in ml on the thick and on the thin grid."""

    name: str
    before: float
    after: float


def obstacle(node, resultNode):
    """Why `node` cannot be carried to the grid of `resultNode`; empty if it can."""
    try:
        _pair(resultNode)
    except UserError as error:
        return str(error)
    return "" if node is not None else _("Choose a segmentation or a label map of the thick volume")


def carry(node, resultNode, onSegment):
    """Carry a segmentation or label map to the grid of a result.

    :param node: vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode of the result's input.
    :param resultNode: a result of this module.
    :param onSegment: called with the name of each segment before it is carried.
    :return: the new node of the same kind, and a list of Segment.
    :raises UserError: if they do not belong together.
    """
    inputNode, axis, spacing = _pair(resultNode)
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        names, arrays = _namesOfLabels(node), [_labelsOf(node, inputNode)]
    else:
        names, arrays = _segments(node, inputNode)
    grid = volumeFromNode(inputNode)
    thin, rows = [], []
    for thick in arrays:
        labels = dataclasses.replace(grid, voxels=thick)
        found = carried(labels, axis, spacing, lambda label: onSegment(names[label]))
        if found.voxels.shape != slicer.util.arrayFromVolume(resultNode).shape:
            raise UserError(_notOfThisInput(resultNode))
        thin.append(found.voxels)
        present = [label for label in names if (thick == label).any()]
        rows += [
            Segment(names[label], _millilitres(labels, label), _millilitres(found, label))
            for label in present
        ]
    name = f"{node.GetName()} {resultNode.GetName().removeprefix(inputNode.GetName()).strip()}".strip()
    make = _newLabelMap if node.IsA("vtkMRMLLabelMapVolumeNode") else _newSegmentation
    return make(node, resultNode, name, thin), rows


def _pair(resultNode):
    """Input, through-plane axis and spacing of a result."""
    if resultNode is None:
        raise UserError(_("Choose a result of this module under Compare"))
    spacing = node_volumes.provenance(resultNode).get("target_spacing_mm")
    inputNode = node_volumes.inputOf(resultNode)
    if spacing is None or inputNode is None:
        raise UserError(_notOfThisInput(resultNode))
    return inputNode, through_plane_axis(volumeFromNode(inputNode)), float(spacing)


def _notOfThisInput(resultNode):
    text = _("{volume} is not a result whose input is in the scene: choose one under Compare")
    return text.format(volume=resultNode.GetName())


def _millilitres(labels, label):
    return float(np.count_nonzero(labels.voxels == label) * np.prod(labels.spacing) / 1000)


def _segments(node, inputNode):
    """Names by label, and label arrays on the grid of the input: one, or one a segment if some overlap."""
    segmentation = node.GetSegmentation()
    ids = list(segmentation.GetSegmentIDs())
    if not ids:
        raise UserError(_("{name} has no segments").format(name=node.GetName()))
    names = {number: segmentation.GetSegment(name).GetName() for number, name in enumerate(ids, 1)}
    parts = [slicer.util.arrayFromSegmentBinaryLabelmap(node, name, inputNode) > 0 for name in ids]
    covered = np.zeros(parts[0].shape, np.uint16)
    for part in parts:
        covered += part
    numbered = [part * np.uint16(number) for number, part in enumerate(parts, 1)]
    return names, numbered if covered.max() > 1 else [np.sum(numbered, axis=0, dtype=np.uint16)]


def _newSegmentation(node, resultNode, name, arrays):
    """Segments of the same names, colours and terms."""
    new = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    new.CreateDefaultDisplayNodes()
    new.SetReferenceImageGeometryParameterFromVolumeNode(resultNode)
    source, target = node.GetSegmentation(), new.GetSegmentation()
    for number, segmentId in enumerate(source.GetSegmentIDs(), 1):
        segment, term = source.GetSegment(segmentId), vtk.reference("")
        target.AddEmptySegment(segmentId, segment.GetName(), segment.GetColor())
        if segment.GetTag(segment.GetTerminologyEntryTagName(), term):
            target.GetSegment(segmentId).SetTag(segment.GetTerminologyEntryTagName(), str(term))
        inside = (arrays[number - 1 if len(arrays) > 1 else 0] == number).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(inside, new, segmentId, resultNode)
    return new


def _labelsOf(node, inputNode):
    """Voxels of a label map, which has to lie on the input's grid."""
    same = (
        node.GetImageData() is not None
        and node.GetParentTransformNode() is inputNode.GetParentTransformNode()
    )
    if same:
        shapes = [slicer.util.arrayFromVolume(volume).shape for volume in (node, inputNode)]
        same = shapes[0] == shapes[1] and np.allclose(_ijkToRas(node), _ijkToRas(inputNode), atol=1e-3)
    if not same:
        text = _("{labels} does not lie on the grid of {volume}: import it as a segmentation, and carry that")
        raise UserError(text.format(labels=node.GetName(), volume=inputNode.GetName()))
    return slicer.util.arrayFromVolume(node)


def _ijkToRas(node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _namesOfLabels(node):
    """Names by label, from the colour table where it has them."""
    colors = node.GetDisplayNode().GetColorNode() if node.GetDisplayNode() is not None else None
    found = np.unique(slicer.util.arrayFromVolume(node)) if node.GetImageData() is not None else []
    named = {
        int(label): colors.GetColorName(int(label)) if colors is not None else "" for label in found if label
    }
    return {label: name or str(label) for label, name in named.items()}


def _newLabelMap(node, resultNode, name, arrays):
    """A label map with the same colours."""
    volumesLogic = slicer.modules.volumes.logic()
    new = volumesLogic.CreateAndAddLabelVolume(slicer.mrmlScene, resultNode, name)
    slicer.util.updateVolumeFromArray(new, arrays[0])
    if node.GetDisplayNode() is not None and node.GetDisplayNode().GetColorNodeID():
        new.GetDisplayNode().SetAndObserveColorNodeID(node.GetDisplayNode().GetColorNodeID())
    return new
