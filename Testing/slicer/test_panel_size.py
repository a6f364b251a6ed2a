"""The panel in a narrow dock, with small and large letters: nothing is cut, no room is wasted."""

from __future__ import annotations

import pytest

from Testing.command_line import write
from Testing.volumes import ct_voxels

from . import pythonqt
from .scenes import add_volume, background, click, run_batch, wait_until

NARROW = 380  # pixels, of Slicer's module panel beside a small screen's views


@pytest.fixture(params=[9, 12], ids="{} point".format)
def letters(request):
    application = pythonqt.application()
    before = application.font()
    font = application.font()
    font.setPointSize(request.param)
    application.setFont(font)
    yield request.param
    application.setFont(before)


def settle(slicer) -> None:
    for _ in range(10):
        slicer.app.processEvents()


@pytest.fixture
def window(slicer, letters, panel):
    """The panel's window, as narrow as it has to be able to become, everything unfolded."""
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels(), name="a chest with a rather long name")
    for name in ("advanced", "compare"):
        getattr(panel.ui, f"{name}CollapsibleButton").collapsed = False
    window = panel.parent.widget
    window.resize(NARROW, 1200)
    settle(slicer)
    return window


def test_the_panel_can_be_narrow(panel, window):
    assert window.minimumSizeHint().width() <= NARROW
    assert window.width() == NARROW


def test_labels_are_as_high_as_their_text_and_not_higher(slicer, panel, window):
    pythonqt.QtCore.qInstallMessageHandler(lambda kind, context, text: said.append(text))
    said = []
    labels = [
        widget.qt
        for widget in vars(panel.ui).values()
        if type(widget.qt).__name__ == "QLabel" and widget.qt.wordWrap() and widget.qt.text()
    ]
    assert len(labels) >= 4
    for width in (NARROW, 700, NARROW):
        window.resize(width, 1200)
        for method in ("universal", "sr4zct", "interpolation", "sr4zct"):
            panel._parameterNode.method = method
            settle(slicer)
            for label in filter(pythonqt.QtWidgets.QLabel.isVisible, labels):
                needed = label.heightForWidth(label.width())
                assert needed <= label.height() <= needed + 6, label.objectName()
            # Nothing lies under the label that follows the method.
            below = panel.ui.minutesWidget if method != "interpolation" else panel.ui.spacingSpinBox
            assert panel.ui.methodInfoLabel.qt.geometry().bottom() < below.qt.geometry().top()
    pythonqt.QtCore.qInstallMessageHandler(lambda *_: None)
    assert [text for text in said if "minimum" in text.lower() or "negative" in text.lower()] == []


def test_nothing_covers_a_label_in_a_panel_that_is_as_low_as_it_can_be(slicer, letters, panel):
    window = panel.parent.widget
    for node in (None, add_volume(slicer, ct_voxels((40, 150, 150)), name="Thorax 5 mm")):
        panel._parameterNode.inputVolume = node
        for _ in range(3):  # labels with word wrap know their height only at their width
            window.resize(NARROW, window.sizeHint().height())
            settle(slicer)
        label, below = panel.ui.methodInfoLabel.qt, panel.ui.minutesWidget.qt
        assert label.height() >= label.heightForWidth(label.width())
        assert label.geometry().bottom() < below.geometry().top()


def test_the_names_of_a_batch_can_be_read(slicer, panel, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    name = "a_patient_with_a_long_name_chest_5mm.nrrd"
    write(source / name)
    panel._parameterNode.method = "consistent"
    run_batch(slicer, panel, source, tmp_path / "out")
    table = panel.ui.batchTable.qt
    assert table.columnWidth(0) >= table.fontMetrics().horizontalAdvance(name)


def test_the_error_box_opens_over_a_tidy_panel(slicer, panel, monkeypatch):
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels())
    panel._parameterNode.method = "consistent"
    seen = []
    monkeypatch.setattr(
        slicer.util,
        "errorDisplay",
        lambda *_, **__: seen.append((panel.ui.cancelButton.enabled, panel.ui.progressBar.visible)),
    )
    click(panel.ui.enhanceButton)
    background().process.kill()
    wait_until(slicer, lambda: background() is None)
    assert seen == [(False, False)]
