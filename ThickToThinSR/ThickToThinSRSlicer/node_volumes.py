"""Between volume nodes and the library's Volumes: voxels, geometry, and what goes along with them."""

import json

import numpy as np
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import Volume

# MRML counts in RAS, the library in LPS.
LPS_RAS = np.diag([-1.0, -1.0, 1.0])
ATTRIBUTES = "ThickToThinSR."


def volumeFromNode(node):
    """The Volume that a scalar volume node holds; its voxels are a view of the node's.

    Raises UserError for nodes that are no plain scalar volumes on a straight grid.
    """
    name = node.GetName()
    _checkKind(node)
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        raise UserError(
            f"{name} is under the non-linear transform {transform.GetName()} (tilt, uneven slices?): "
            "harden it on a copy of the volume, or resample the volume onto a straight grid; enhance that"
        )
    ijkToRas = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijkToRas)
    matrix = LPS_RAS @ slicer.util.arrayFromVTKMatrix(ijkToRas)[:3]
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    try:
        return Volume(
            slicer.util.arrayFromVolume(node),
            tuple(_withoutRoundingNoise(value) for value in spacing),
            tuple(matrix[:, 3]),
            matrix[:, :3] / spacing,
            slice_axis=2,  # Slicer's DICOM readers stack slices along k
            thickness=dicomSliceThickness(node),
        )
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _checkKind(node):
    name = node.GetName()
    if node.GetClassName() != "vtkMRMLScalarVolumeNode":
        raise UserError(
            f"{name} is a {node.GetNodeTagName()}, not a scalar volume: choose the CT volume itself"
        )
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        raise UserError(f"{name} holds no voxels: load its image first")
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        raise UserError(f"{name} holds {components} values a voxel: choose a CT volume")


def _dicomValue(node, tag):
    """What the DICOM database knows of the node's first slice, as text; None if nothing."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None or not database.isOpen:
        return None
    return database.instanceValue(uids[0], tag)


def dicomSliceThickness(node):
    """Slice thickness in mm that the DICOM database knows for the node's first slice, else None."""
    try:
        thickness = float(_dicomValue(node, "0018,0050") or "")
    except ValueError:
        return None
    return thickness if 0 < thickness < float("inf") else None


def modality(node):
    """CT, MR, ... where the DICOM database knows it, else None."""
    return _dicomValue(node, "0008,0060") or None


def newOutputNode(inputNode, name):
    """A node beside `inputNode` for its result: directions, transform, attributes, a display of its own."""
    volumesLogic = slicer.modules.volumes.logic()
    node = volumesLogic.CloneVolumeWithoutImageData(slicer.mrmlScene, inputNode, name)
    _placeBeside(inputNode, node)
    return node


def setVolume(node, thin):
    """Give `node` the voxels and geometry of the Volume `thin`."""
    holder = vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(holder, thin.voxels)
    geometry = np.eye(4)
    geometry[:3, :3] = LPS_RAS @ thin.direction * thin.spacing
    geometry[:3, 3] = LPS_RAS @ thin.origin
    wasModified = node.StartModify()
    node.SetAndObserveImageData(holder.GetImageData())
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry))
    node.EndModify(wasModified)


def copyDisplay(inputNode, node):
    """Same window and level as the input; not automatic, since the values of both are to look alike."""
    node.CreateDefaultDisplayNodes()
    source, target = inputNode.GetDisplayNode(), node.GetDisplayNode()
    if source is not None and target is not None:
        target.SetAutoWindowLevel(False)
        target.SetWindowLevel(source.GetWindow(), source.GetLevel())


def setProvenance(node, inputNode, inputName, report, thicknessFrom):
    """The worker's report under our own names; the DICOM instances are the input's, not the result's."""
    for stale in ("DICOM.instanceUIDs", "DICOM.instanceNumbers"):
        node.RemoveAttribute(stale)
    meaningless = ("version", "event", "input", "output", "input_description", "asked")
    facts = {key: value for key, value in report.items() if key not in meaningless}
    facts["thickness_from"] = thicknessFrom
    facts["sourceVolume"] = inputName
    facts["sourceInstanceUIDs"] = inputNode.GetAttribute("DICOM.instanceUIDs")
    for key, value in facts.items():
        text = value if value is None or isinstance(value, str) else json.dumps(value)
        node.SetAttribute(ATTRIBUTES + key, text)
    # A reference follows the input through renaming, and through saving and loading of the scene.
    node.SetNodeReferenceID(ATTRIBUTES + "input", inputNode.GetID() if inputNode.GetScene() else None)


def provenance(node):
    """What :func:`setProvenance` kept, as a dict; empty for other nodes."""
    facts = {}
    for name in node.GetAttributeNames():
        if name.startswith(ATTRIBUTES):
            text = node.GetAttribute(name)
            try:
                facts[name[len(ATTRIBUTES) :]] = json.loads(text)
            except ValueError:
                facts[name[len(ATTRIBUTES) :]] = text
    return facts


def inputOf(node):
    """The volume node that `node` was made from, if it is still in the scene."""
    return node.GetNodeReference(ATTRIBUTES + "input")


def _placeBeside(inputNode, node):
    """The same parent in the subject hierarchy as the input's."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(inputNode) if hierarchy else 0
    if item:
        parent = hierarchy.GetItemParent(item)
        own = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)
        hierarchy.SetItemParent(own, parent)


def _withoutRoundingNoise(spacing):
    """Undo single precision as the file reader does, through the noise that a direction matrix adds.

    A file's 0.7 is 0.699999988 in single precision, which would cost the last thin slice.
    """
    single = np.float32(spacing)
    return float(str(single)) if abs(float(single) - spacing) < 1e-12 * spacing else float(spacing)
