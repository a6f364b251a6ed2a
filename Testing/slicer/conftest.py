"""The module in the real MRML scene of `slicer-core`."""

from __future__ import annotations

import importlib
import sys

import pytest

from Testing.shared_data import CHECKOUT


@pytest.fixture
def slicer(tmp_path):
    """The completed ``slicer`` with an empty scene; ``slicer.app.temporaryPath`` is an empty folder."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from . import host

    folder = tmp_path / "temporary"
    folder.mkdir()
    host.install(folder)
    import slicer

    yield slicer
    slicer.mrmlScene.Clear(1)


@pytest.fixture
def module(slicer, monkeypatch):
    """The module's file, imported as Slicer does: only its own folder on the path."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "ThickToThinSR"))
    sys.modules.pop("ThickToThinSR", None)
    yield importlib.import_module("ThickToThinSR")
    sys.modules.pop("ThickToThinSR", None)


@pytest.fixture
def logic(module):
    return module.ThickToThinSRLogic()
