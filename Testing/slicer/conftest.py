"""Fixtures: the module in the real MRML scene of `slicer-core`, its panel in real Qt."""

from __future__ import annotations

import importlib
import sys

import pytest

from Testing.shared_data import CHECKOUT


@pytest.fixture
def slicer(tmp_path, monkeypatch):
    """The completed ``slicer`` with an empty scene; ``slicer.app.temporaryPath`` is an empty folder."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
    from . import host

    monkeypatch.setenv("THICKTOTHIN_WEIGHTS", str(tmp_path / "weights"))
    folder = tmp_path / "temporary"
    folder.mkdir()
    host.install(folder)
    import slicer

    yield slicer
    slicer.app.layoutManager().dismantle()
    slicer.mrmlScene.Clear(1)


@pytest.fixture
def module(slicer, monkeypatch):
    """The module, imported as by Slicer: only its own folder is on the path."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "ThickToThinSR"))
    _forget()
    yield importlib.import_module("ThickToThinSR")
    _forget()


def _forget():
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("ThickToThinSR", "ThickToThinSRSlicer")
    ]:
        del sys.modules[name]


@pytest.fixture
def logic(module):
    logic = module.ThickToThinSRLogic()
    yield logic
    logic.cancel(wait=True)


@pytest.fixture
def panel(slicer, module):
    """The module's widget: set up, entered, shown."""
    from .host import ModulePanel
    from .scenes import enter

    parent = ModulePanel()
    widget = module.ThickToThinSRWidget(parent)
    widget.setup()
    enter(widget)
    parent.widget.resize(460, 900)
    parent.widget.show()
    yield widget
    widget.cleanup()
    parent.widget.close()


@pytest.fixture
def choices(panel):
    """The panel's choices, set to a method that is fast."""
    panel._parameterNode.method = "consistent"
    return panel._parameterNode
