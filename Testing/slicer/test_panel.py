"""The names in the .ui file, in the module's code and in the parameter node agree."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.settings import DEFAULT_METHOD

UI = CHECKOUT / "ThickToThinSR" / "Resources" / "UI" / "ThickToThinSR.ui"
SOURCES = [
    CHECKOUT / "ThickToThinSR" / "ThickToThinSR.py",
    *(CHECKOUT / "ThickToThinSR" / "ThickToThinSRSlicer").glob("*.py"),
]
# What Slicer's connectGui accepts for each type (exact classes).
WIDGETS = {
    "vtkMRMLScalarVolumeNode": "qMRMLNodeComboBox",
    "str": "QComboBox",
    "float": "QDoubleSpinBox",
    "int": "QSpinBox",
    "bool": "QCheckBox",
    "PosixPath": "ctkPathLineEdit",
    "Path": "ctkPathLineEdit",
}
# Parameters that the module connects itself: Slicer's connectors do not go with these widgets.
OWN_CONNECTION = {
    "method": ("QComboBox", "methodComboBox"),
    "checkpoint": ("ctkPathLineEdit", "checkpointWidget"),
}


@pytest.fixture(scope="module")
def widgets():
    """Every widget of the panel by name: (class, properties)."""
    widgets = {}
    for widget in ElementTree.parse(UI).iter("widget"):
        properties = {
            entry.get("name"): "".join(entry.itertext()).strip() for entry in widget.findall("property")
        }
        assert widget.get("name") not in widgets
        widgets[widget.get("name")] = (widget.get("class"), properties)
    return widgets


def test_every_widget_that_the_code_names_is_in_the_panel(widgets):
    named = {name for path in SOURCES for name in re.findall(r"\b_?ui\.(\w+)", path.read_text())}
    assert {"enhanceButton", "cancelButton", "progressBar"} <= named
    assert named <= set(widgets)


def test_every_parameter_has_one_widget_of_the_kind_that_slicer_can_connect(widgets, logic):
    parameters = logic.getParameterNode().allParameters
    connected = {
        properties["SlicerParameterName"]: kind
        for kind, properties in widgets.values()
        if "SlicerParameterName" in properties
    }
    for name in OWN_CONNECTION:
        assert name not in connected
    connected |= {name: kind for name, (kind, _) in OWN_CONNECTION.items()}
    assert connected == {name: WIDGETS[entry.type.__name__] for name, entry in parameters.items()}
    for kind, widget in OWN_CONNECTION.values():
        assert widgets[widget][0] == kind


def test_every_own_class_is_declared_and_scene_widgets_get_the_scene(widgets):
    tree = ElementTree.parse(UI)
    declared = {entry.findtext("class") for entry in tree.iter("customwidget")}
    used = {kind for kind, _ in widgets.values() if not kind.startswith("Q")}
    assert used == declared
    receivers = {entry.findtext("receiver") for entry in tree.iter("connection")}
    assert receivers == {name for name, (kind, _) in widgets.items() if kind == "qMRMLNodeComboBox"}


def test_choices_are_kept_by_a_real_parameter_node(slicer, module, logic):
    parameters = logic.getParameterNode()
    assert (parameters.method, parameters.spacing, parameters.device) == (DEFAULT_METHOD, 1.0, "auto")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "chest")
    parameters.inputVolume, parameters.spacing = node, 0.75
    again = module.ThickToThinSRLogic().getParameterNode()
    assert again.inputVolume is node
    assert again.spacing == 0.75
    with pytest.raises(ValueError, match="must be in one of"):
        parameters.method = "magic"


def test_everything_that_can_be_used_says_what_it_is_for(widgets):
    """In the .ui file; the tooltips of some buttons are set by the code, as they say why one is disabled."""
    used = ("PushButton", "CheckBox", "ComboBox", "SpinBox", "Slider", "Table", "PathLineEdit")
    set_by_code = {
        name
        for path in SOURCES
        for name in re.findall(r"\b_?ui\.(\w+)\.toolTip = ", path.read_text())
        + re.findall(r"\(ui\.(\w+), _\(", path.read_text())
    }
    assert "enhanceButton" in set_by_code
    assert [
        name
        for name, (kind, properties) in widgets.items()
        if any(part in kind for part in used) and "toolTip" not in properties and name not in set_by_code
    ] == []
