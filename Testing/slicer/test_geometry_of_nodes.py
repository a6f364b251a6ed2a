"""Geometry of volume nodes: the same voxels at the same positions as from the command line."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.shared_data import shared
from Testing.volumes import ct_voxels
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.errors import UserError

from .scenes import (
    GEOMETRIES,
    OBLIQUE,
    add_volume,
    contents,
    ijk_to_world,
    is_clean,
    load_as_slicer_does,
    save_as_slicer_does,
    write_nifti,
)

pytestmark = pytest.mark.usefixtures("no_process")


def enhanced_by_command_line(source, target, *options):
    """The command line's result as SimpleITK reads it.

    Not by Slicer's reader, which turns left-handed volumes into right-handed ones.
    """
    assert main(["enhance", str(source), str(target), "--progress", "none", *options]) == 0
    return sitk.ReadImage(str(target))


def assert_same_volume(slicer, node, image):
    voxels, expected = slicer.util.arrayFromVolume(node), sitk.GetArrayFromImage(image)
    assert voxels.dtype == expected.dtype
    np.testing.assert_array_equal(voxels, expected)
    for index in ((0, 0, 0), (9, 0, 0), (0, 8, 0), (0, 0, 3)):
        left, posterior, superior = image.TransformContinuousIndexToPhysicalPoint(index)
        position = ijk_to_world(slicer, node) @ [*index, 1]
        np.testing.assert_allclose(position[:3], (-left, -posterior, superior), atol=1e-4)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_orientation_stays_in_place_and_agrees_with_the_command_line(slicer, logic, tmp_path, geometry):
    directions, spacing, axis = GEOMETRIES[geometry]
    node = add_volume(slicer, ct_voxels(), directions, spacing)
    factor = 5
    target = spacing[axis] / factor
    thin = logic.enhance(node, method="interpolation", spacing=target)

    source = save_as_slicer_does(slicer, node, tmp_path / "thick.nrrd")
    options = ("--method", "interpolation", "--spacing", str(target))
    assert_same_volume(slicer, thin, enhanced_by_command_line(source, tmp_path / "thin.nrrd", *options))

    # Interpolation passes through the input's values, so each thick slice is found again at its place.
    every = [slice(None)] * 3
    every[2 - axis] = slice(None, None, factor)
    np.testing.assert_array_equal(
        slicer.util.arrayFromVolume(thin)[tuple(every)], slicer.util.arrayFromVolume(node)
    )
    step = np.eye(4)
    step[axis, axis] = factor
    np.testing.assert_allclose(ijk_to_world(slicer, thin) @ step, ijk_to_world(slicer, node), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float32, np.float64])
def test_the_voxel_type_is_kept(slicer, logic, dtype):
    voxels = (ct_voxels(dtype=np.float64) + 1024) / 8
    node = add_volume(slicer, voxels.astype(dtype))
    assert slicer.util.arrayFromVolume(logic.enhance(node, method="consistent")).dtype == dtype


def test_spacing_that_the_file_holds_in_single_precision_costs_no_slice(slicer, logic, tmp_path):
    # NIfTI stores 0.7 as 0.699999988, and an oblique direction matrix adds noise: taken at its word the
    # last of the thin slices would be lost.
    path = write_nifti(tmp_path / "thick.nii.gz", ct_voxels((100, 4, 4)), (0.2, 0.2, 0.7), OBLIQUE)
    node = load_as_slicer_does(slicer, path)
    expected = enhanced_by_command_line(
        path, tmp_path / "thin.nii.gz", "--spacing", "0.35", "--method", "consistent"
    )
    result = logic.enhance(node, method="consistent", spacing=0.35)
    assert slicer.util.arrayFromVolume(result).shape[0] == 199
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(result), sitk.GetArrayFromImage(expected))


def test_a_linear_transform_is_kept_and_the_result_lies_on_the_input_in_the_world(slicer, logic):
    import vtk

    node = add_volume(slicer, ct_voxels(), *GEOMETRIES["oblique"][:2])
    placed = vtk.vtkTransform()
    placed.Translate(100, -50, 25)
    placed.RotateWXYZ(35, 1, 2, 3)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(placed.GetMatrix())
    node.SetAndObserveTransformNodeID(transform.GetID())
    thin = logic.enhance(node, method="consistent")
    assert thin.GetTransformNodeID() == transform.GetID()
    for thick_slice in (0, 6):
        first = ijk_to_world(slicer, node) @ [3, 4, thick_slice, 1]
        second = ijk_to_world(slicer, thin) @ [3, 4, thick_slice * 5, 1]
        np.testing.assert_allclose(second, first, atol=1e-5)


def bent(slicer):
    """A node with a non-linear transform, like the acquisition transform of a tilted gantry."""
    import vtk

    displacements = vtk.vtkImageData()
    displacements.SetDimensions(2, 2, 2)
    displacements.SetSpacing(100, 100, 100)
    displacements.AllocateScalars(vtk.VTK_DOUBLE, 3)
    displacements.GetPointData().GetScalars().Fill(4.0)
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(displacements)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisition transform")
    node.SetAndObserveTransformFromParent(grid)
    return node


@pytest.mark.parametrize("nested", [False, True])
def test_a_non_linear_transform_is_refused_with_advice(slicer, logic, nested):
    node = add_volume(slicer, ct_voxels())
    parent = bent(slicer)
    if nested:
        between = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "between")
        between.SetAndObserveTransformNodeID(parent.GetID())
        parent = between
    node.SetAndObserveTransformNodeID(parent.GetID())
    before = contents(slicer)
    with pytest.raises(
        UserError, match=r"chest is under the non-linear transform.*harden the transform on a copy.*resample"
    ):
        logic.enhance(node, method="consistent")
    assert contents(slicer) == before
    assert is_clean(slicer)


def test_a_sheared_grid_is_refused(slicer, logic):
    sheared = np.eye(3)
    sheared[1, 2] = 0.3
    with pytest.raises(UserError, match="chest: the index axes are not perpendicular"):
        logic.enhance(add_volume(slicer, ct_voxels(), sheared), method="consistent")


@pytest.mark.parametrize(
    ("kind", "components", "name"),
    [("vtkMRMLLabelMapVolumeNode", 1, "LabelMapVolume"), ("vtkMRMLVectorVolumeNode", 3, "VectorVolume")],
)
def test_label_maps_and_vector_volumes_are_refused(slicer, logic, kind, components, name):
    node = slicer.mrmlScene.AddNewNodeByClass(kind, "other")
    shape = (4, 5, 6) if components == 1 else (4, 5, 6, components)
    slicer.util.updateVolumeFromArray(node, np.zeros(shape, np.int16))
    with pytest.raises(UserError, match=f"other is a {name}, not a scalar volume"):
        logic.enhance(node, method="consistent")


def test_a_colour_image_in_a_scalar_node_and_an_empty_node_are_refused(slicer, logic):
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "odd")
    with pytest.raises(UserError, match="odd has no voxels"):
        logic.enhance(node, method="consistent")
    colours = vtk.vtkImageData()
    colours.SetDimensions(6, 5, 4)
    colours.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(colours)
    with pytest.raises(UserError, match="odd has 3 values per voxel"):
        logic.enhance(node, method="consistent")


def test_a_real_chest_series_gives_the_same_voxels_from_scene_and_command_line(slicer, logic, tmp_path):
    image = sitk.ReadImage(str(shared("data/chest_lungdx0001_5mm_sharp.nii.gz")))
    path = tmp_path / "chest.nii.gz"
    sitk.WriteImage(image[150:246, 200:296, :], str(path))
    node = load_as_slicer_does(slicer, path, "chest")
    thin = logic.enhance(node, method="consistent")
    expected = enhanced_by_command_line(path, tmp_path / "thin.nii.gz", "--method", "consistent")
    assert thin.GetName() == "chest 1.0 mm"
    assert slicer.util.arrayFromVolume(thin).shape == (316, 96, 96)
    np.testing.assert_allclose(thin.GetSpacing()[2], 1.0, atol=1e-9)
    assert_same_volume(slicer, thin, expected)
