"""Fixtures: the module in the real MRML scene of `slicer-core`, its panel in real Qt."""

from __future__ import annotations

import sys

import pytest

from . import session


@pytest.fixture
def slicer(tmp_path, monkeypatch):
    """The completed ``slicer`` with an empty scene; ``slicer.app.temporaryPath`` is an empty folder."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
    monkeypatch.setenv("THICKTOTHIN_WEIGHTS", str(tmp_path / "weights"))
    folder = tmp_path / "temporary"
    folder.mkdir()
    with session.started(folder) as slicer:
        yield slicer


@pytest.fixture
def module(slicer):
    """The module, imported as by Slicer."""
    with session.imported() as module:
        yield module


@pytest.fixture
def logic(module):
    logic = module.ThickToThinSRLogic()
    yield logic
    logic.cancel(wait=True)


@pytest.fixture
def no_process(module, monkeypatch):
    """Blocking calls of the Logic work in this process: for tests in which the worker does not matter."""
    monkeypatch.setattr(sys.modules["ThickToThinSRSlicer.logic"], "run", session.run_here)


@pytest.fixture
def panel(slicer, module):
    """The module's widget: set up, entered, shown."""
    with session.opened(module) as panel:
        yield panel


@pytest.fixture
def choices(panel):
    """The panel's choices, set to a method that is fast."""
    panel._parameterNode.method = "consistent"
    return panel._parameterNode
