"""Pictures of the panel: ``python -m pytest Testing/slicer/panel_picture.py``.

The first test enhances the bundled sample by a click, with the weights that ship, and writes the picture in
the tutorial, Resources/Screenshots/panel.png. The second draws the expected error over a part of a real scan
(docs/pictures/expected_error.png). The third writes the panel in each state, with two sizes of letters and
380 pixels wide, to the folder PANEL_PICTURES, to be looked at.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from Testing.command_line import write
from Testing.shared_data import CHECKOUT, shared
from Testing.volumes import ct_voxels

from . import pythonqt
from .scenes import add_volume, background, click, load_as_slicer_does, run_batch, wait_until
from .test_compare import PLANES, view
from .views import picture

OVERLAY = CHECKOUT / "docs" / "pictures" / "expected_error.png"
PICTURE = CHECKOUT / "Resources" / "Screenshots" / "panel.png"


def grab(slicer, panel, path: Path, width: int) -> None:
    """Write the picture of the panel, as high as it asks to be."""
    window = panel.parent.widget
    for _ in range(3):  # labels with word wrap know their height only at their width
        window.resize(width, window.sizeHint().height())
        for _ in range(10):
            slicer.app.processEvents()
    assert window.grab().save(str(path))


def test_the_panel_after_a_run(slicer, panel):
    panel._parameterNode.inputVolume = sys.modules["ThickToThinSRSlicer.sample_data"].loadSample()
    panel._parameterNode.uncertainty = True
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None, 900)
    click(panel.ui.sideBySideButton)
    grab(slicer, panel, PICTURE, 460)


def test_the_expected_error_over_a_real_result(slicer, panel):
    node = load_as_slicer_does(slicer, shared("data/chest_lungdx0001_5mm_sharp.nii.gz"), "chest")
    voxels = slicer.util.arrayFromVolume(node)[22:46, 150:350, 60:300].copy()
    slicer.util.updateVolumeFromArray(node, voxels)
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(1500, -500)
    panel._parameterNode.inputVolume, panel._parameterNode.uncertainty = node, True
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None, 900)
    click(panel.ui.sideBySideButton)
    rows = []
    for _ in range(2):  # with the map, then without it
        rows.append([picture(view(slicer, "Result", plane)) for plane in PLANES])
        click(panel.ui.errorCheckBox)
    draw(rows[::-1], slicer.util.getNode("*expected error").GetDisplayNode(), OVERLAY)


def draw(rows, display, path: Path) -> None:
    """Write views side by side with the scale of the map's colours."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots(2, len(PLANES))
    for images, plots in zip(rows, axes, strict=True):
        for image, plot in zip(images, plots, strict=True):
            plot.imshow(image)
            plot.axis("off")
    table = display.GetColorNode().GetLookupTable()
    colours = [table.GetTableValue(index)[:3] for index in range(table.GetNumberOfTableValues())]
    scale = Normalize(display.GetWindowLevelMin(), display.GetWindowLevelMax())
    mapped = ScalarMappable(scale, ListedColormap(colours))
    figure.colorbar(mapped, ax=axes, label="expected error, HU", extend="max", shrink=0.6)
    figure.savefig(path, dpi=90)


@pytest.mark.skipif("PANEL_PICTURES" not in os.environ, reason="PANEL_PICTURES names no folder")
@pytest.mark.parametrize("points", [9, 12])
def test_the_panel_in_each_state(slicer, panel, tmp_path, points):
    folder = Path(os.environ["PANEL_PICTURES"])
    folder.mkdir(exist_ok=True)
    font = pythonqt.application().font()
    font.setPointSize(points)
    pythonqt.application().setFont(font)

    def save(state):
        grab(slicer, panel, folder / f"{state}_{points}pt.png", 380)

    save("1_empty")
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels((40, 150, 150)), name="Thorax 5 mm")
    save("2_chosen")
    panel._parameterNode.spacing, panel._parameterNode.method = 0.2, "consistent"
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: "%" in panel.ui.statusLabel.text)
    save("3_running")
    background().process.kill()
    wait_until(slicer, lambda: background() is None)
    save("4_error")
    panel._parameterNode.spacing, panel._parameterNode.uncertainty = 1.0, True
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    save("5_done")
    panel.ui.advancedCollapsibleButton.collapsed = panel.ui.segmentationCollapsibleButton.collapsed = False
    panel._parameterNode.method = "sr4zct"
    save("6_advanced")
    source = tmp_path / "in"
    source.mkdir()
    write(source / "patient_0001_chest_5mm.nrrd")
    (source / "patient_0002_chest_5mm.nrrd").write_text("no volume")
    panel._parameterNode.method = "consistent"
    run_batch(slicer, panel, source, tmp_path / "out")
    save("7_many")
