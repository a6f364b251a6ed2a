"""Converts volume nodes to the library's Volumes and back, with geometry, display and provenance."""

import json

import numpy as np
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.volume import Volume

# From the coordinates of MRML (RAS) to those of the library (LPS), and back.
LPS_RAS = np.diag([-1.0, -1.0, 1.0])
ATTRIBUTES = "ThickToThinSR."
# Node reference from a result to the map of its expected error.
EXPECTED_ERROR = ATTRIBUTES + "expectedError"


def volumeFromNode(node):
    """The Volume in a scalar volume node; its voxels are a view of the node's voxels.

    :raises UserError: if the node is not a scalar volume, is empty, or its grid is not straight.
    """
    name = node.GetName()
    _checkKind(node)
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        raise UserError(
            _(
                "{name} is under the non-linear transform {transform} (gantry tilt, uneven "
                "slices?): harden the transform on a copy of the volume, or resample the volume; "
                "then enhance the copy"
            ).format(name=name, transform=transform.GetName())
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
            _("{name} is a {kind}, not a scalar volume: choose the CT volume itself").format(
                name=name, kind=node.GetNodeTagName()
            )
        )
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:  # while it is being loaded
        raise UserError(_("{name} has no voxels: load its image first").format(name=name))
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        raise UserError(
            _("{name} has {components} values per voxel: choose a CT volume").format(
                name=name, components=components
            )
        )


def _dicomValue(node, tag):
    """The value of a tag of the node's first slice in the DICOM database, as text; None if unknown."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None or not database.isOpen:
        return None
    return database.instanceValue(uids[0], tag)


def dicomSliceThickness(node):
    """Slice thickness in mm of the node's first slice in the DICOM database; None if unknown."""
    try:
        thickness = float(_dicomValue(node, "0018,0050") or "")
    except ValueError:
        return None
    return thickness if 0 < thickness < float("inf") else None


def modality(node):
    """Modality of the node in the DICOM database ("CT", "MR", ...); None if unknown."""
    return _dicomValue(node, "0008,0060") or None


def firstVolume():
    """The first scalar volume of the scene, but no label map; None if there is none."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return next((node for node in nodes if node.GetClassName() == "vtkMRMLScalarVolumeNode"), None)


def newOutputNode(inputNode, name):
    """A new node for the result of `inputNode`: same directions, transform, attributes; its own display."""
    volumesLogic = slicer.modules.volumes.logic()
    node = volumesLogic.CloneVolumeWithoutImageData(slicer.mrmlScene, inputNode, name)
    node.RemoveNodeReferenceIDs(EXPECTED_ERROR)  # that of the input
    _placeBeside(inputNode, node)
    return node


def newCompanion(resultNode, name):
    """A new node beside a result, in its place, without the attributes that this module gave the result."""
    node = newOutputNode(resultNode, name)
    for attribute in list(node.GetAttributeNames()):
        if attribute.startswith(ATTRIBUTES):
            node.RemoveAttribute(attribute)
    return node


def setVolume(node, thin):
    """Copy voxels and geometry of the Volume `thin` to `node`."""
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
    """Copy window and level of the input; not automatic, so that equal values look equal in both."""
    node.CreateDefaultDisplayNodes()
    source, target = inputNode.GetDisplayNode(), node.GetDisplayNode()
    if source is not None and target is not None:
        target.SetAutoWindowLevel(False)
        target.SetWindowLevel(source.GetWindow(), source.GetLevel())


def setProvenance(node, inputNode, inputName, report, thicknessFrom):
    """Save the worker's report in attributes of `node`."""
    # These copied attributes belong to the input.
    for name in ("DICOM.instanceUIDs", "DICOM.instanceNumbers"):
        node.RemoveAttribute(name)
    # These describe the worker's temporary files.
    omitted = ("version", "event", "input", "output", "input_description", "asked", "uncertainty")
    facts = {key: value for key, value in report.items() if key not in omitted}
    facts["thickness_from"] = thicknessFrom
    facts["sourceVolume"] = inputName
    facts["sourceInstanceUIDs"] = inputNode.GetAttribute("DICOM.instanceUIDs")
    for key, value in facts.items():
        text = value if value is None or isinstance(value, str) else json.dumps(value)
        node.SetAttribute(ATTRIBUTES + key, text)
    # A node reference remains valid when the input is renamed, and when the scene is saved and loaded.
    node.SetNodeReferenceID(ATTRIBUTES + "input", inputNode.GetID() if inputNode.GetScene() else None)


def provenance(node):
    """The report that :func:`setProvenance` saved, as a dict; empty for other nodes."""
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
    """The volume node that `node` was made from; None if it is no longer in the scene."""
    return node.GetNodeReference(ATTRIBUTES + "input")


def lastResult():
    """The last volume of the scene that this module made by a method; None if there is none."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return next((node for node in reversed(nodes) if "method" in provenance(node)), None)


def _placeBeside(inputNode, node):
    """Put `node` under the parent of the input in the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(inputNode) if hierarchy else 0
    if item:
        parent = hierarchy.GetItemParent(item)
        own = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)
        hierarchy.SetItemParent(own, parent)


def _withoutRoundingNoise(spacing):
    """Round a spacing that was stored in single precision, as the library's file reader does.

    In single precision, 0.7 is 0.699999988; the last thin slice would be lost. The direction matrix adds
    further rounding errors.
    """
    single = np.float32(spacing)
    return float(str(single)) if abs(float(single) - spacing) < 1e-12 * spacing else float(spacing)
