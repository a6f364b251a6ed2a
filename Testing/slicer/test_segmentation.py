"""Segmentations and label maps follow to the thin grid: volume, place, names and colours."""

from __future__ import annotations

import numpy as np
import pytest
import vtk

from .scenes import OBLIQUE, ORIGIN, add_volume, click, import_scene, save_scene

SPACING = (0.8, 0.8, 5.0)
SHAPE = (11, 60, 61)
RADIUS = 18.0


def inside_spheres(shape, spacing) -> list[np.ndarray]:
    """A large and a small sphere that do not touch: where voxel centres lie inside."""
    axes = [np.arange(count) * step for count, step in zip(shape, spacing[::-1], strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    large = np.sqrt((x - 20) ** 2 + (y - 24) ** 2 + (z - 26) ** 2) < RADIUS
    small = np.sqrt((x - 43) ** 2 + (y - 24) ** 2 + (z - 26) ** 2) < 5
    return [large, small]


both_grids = pytest.mark.parametrize("pair", [None, OBLIQUE], ids=["straight", "oblique"], indirect=True)


@pytest.fixture
def pair(request, slicer, no_process, panel):
    """A thick volume and a result of it at 1 mm, chosen to be compared."""
    directions = getattr(request, "param", None)
    voxels = np.where(inside_spheres(SHAPE, SPACING)[0], 40, -800).astype(np.int16)
    thick = add_volume(slicer, voxels, directions, SPACING)
    thin = panel.logic.enhance(thick, method="interpolation")
    panel._compare.setPair(thick, thin)
    return thick, thin


def add_segmentation(slicer, thick, masks, names=("tumour", "node")):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(thick)
    term = slicer.vtkSegment.GetTerminologyEntryTagName()
    for name, mask in zip(names, masks, strict=True):
        segment = node.GetSegmentation().AddEmptySegment(name, name, (0.1, 0.7, 0.3))
        node.GetSegmentation().GetSegment(segment).SetTag(term, f"term of {name}")
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment, thick)
    return node


def table(panel) -> dict[str, tuple[float, float]]:
    widget = panel.ui.segmentTable
    return {
        widget.item(row, 0).text(): tuple(float(widget.item(row, column).text()) for column in (1, 2))
        for row in range(widget.rowCount)
    }


def carry(panel, node):
    panel.ui.segmentationSelector.setCurrentNode(node)
    click(panel.ui.carryButton)


def made(slicer, kind, name="mine 1.0 mm"):
    [node] = [node for node in slicer.util.getNodesByClass(kind) if node.GetName() == name]
    return node


@both_grids
def test_a_known_sphere_keeps_its_volume_place_name_and_colour(slicer, panel, pair):
    thick, thin = pair
    carry(panel, add_segmentation(slicer, thick, inside_spheres(SHAPE, SPACING)))
    assert not slicer.util.errors
    new = made(slicer, "vtkMRMLSegmentationNode")
    segmentation = new.GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == ["tumour", "node"]
    assert segmentation.GetSegment("node").GetColor() == pytest.approx((0.1, 0.7, 0.3))
    term = vtk.reference("")
    assert segmentation.GetSegment("node").GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), term)
    assert term == "term of node"
    true = 4 / 3 * np.pi * RADIUS**3 / 1000
    assert table(panel)["tumour"][1] == pytest.approx(true, rel=0.02)
    # Its voxels lie where the sphere is, on the grid of the result.
    carried = slicer.util.arrayFromSegmentBinaryLabelmap(new, "tumour", thin) > 0
    truth = inside_spheres(carried.shape, (0.8, 0.8, 1.0))[0]
    between = np.logical_xor(carried, truth).sum() * 0.8**2
    assert between / (4 * np.pi * RADIUS**2) < 0.5  # mean distance of the surfaces, mm
    assert panel.ui.statusLabel.text == "Done: mine 1.0 mm"


def test_segments_that_overlap_stay_so(slicer, panel, pair):
    large = inside_spheres(SHAPE, SPACING)[0]
    part = large.copy()
    part[:, :30] = False
    carry(panel, add_segmentation(slicer, pair[0], [large, part]))
    new, thin = made(slicer, "vtkMRMLSegmentationNode"), pair[1]
    arrays = [slicer.util.arrayFromSegmentBinaryLabelmap(new, name, thin) > 0 for name in ("tumour", "node")]
    assert (arrays[0] & arrays[1]).sum() > 0.9 * arrays[1].sum() > 0
    for before, after in table(panel).values():
        assert after == pytest.approx(before, rel=0.01)


@both_grids
def test_a_label_map_follows_too(slicer, panel, pair):
    thick, thin = pair
    labels = slicer.modules.volumes.logic().CreateAndAddLabelVolume(slicer.mrmlScene, thick, "mine")
    large, small = inside_spheres(SHAPE, SPACING)
    slicer.util.updateVolumeFromArray(labels, (large * 2 + small * 7).astype(np.uint8))
    carry(panel, labels)
    assert not slicer.util.errors
    new = made(slicer, "vtkMRMLLabelMapVolumeNode")
    array = slicer.util.arrayFromVolume(new)
    assert set(np.unique(array)) == {0, 2, 7}
    assert array.shape == slicer.util.arrayFromVolume(thin).shape
    np.testing.assert_allclose(new.GetOrigin(), thin.GetOrigin())
    np.testing.assert_allclose(new.GetSpacing(), thin.GetSpacing())
    assert [
        before > 0 and after == pytest.approx(before, rel=0.03) for before, after in table(panel).values()
    ]


def test_a_label_map_on_another_grid_is_refused_in_words(slicer, panel, pair):
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "mine")
    slicer.util.updateVolumeFromArray(labels, np.ones((4, 5, 6), np.uint8))
    carry(panel, labels)
    assert "does not lie on the grid of chest" in slicer.util.errors[0][0]
    assert panel.ui.statusLabel.text.startswith("Failed")


def test_the_button_says_what_is_missing(slicer, no_process, panel):
    assert not panel.ui.carryButton.enabled
    assert "under Compare" in panel.ui.carryButton.toolTip
    thick = add_volume(slicer, np.zeros(SHAPE, np.int16), spacing=SPACING, origin=ORIGIN)
    panel._compare.setPair(thick, panel.logic.enhance(thick, method="interpolation"))
    assert panel.ui.carryButton.toolTip.startswith("Choose a segmentation")
    panel._compare.setPair(thick, add_volume(slicer, np.zeros(SHAPE, np.int16), name="other"))
    assert "other is not a result" in panel.ui.carryButton.toolTip
    assert not panel.ui.carryButton.enabled


def test_a_loaded_scene_with_a_segmentation_can_be_carried(slicer, panel, pair, tmp_path):
    add_segmentation(slicer, pair[0], inside_spheres(SHAPE, SPACING))
    assert panel.ui.segmentationSelector.currentNode() is None
    path = save_scene(slicer, tmp_path / "scene")
    slicer.mrmlScene.Clear(0)
    import_scene(slicer, path)
    assert panel.ui.compareResultSelector.currentNode().GetName() == "chest 1.0 mm"
