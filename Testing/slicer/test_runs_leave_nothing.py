"""Runs leave nothing behind: memory, objects, observers, connections, files, processes are what they were.

``python -m Testing.benchmarks.hundred_runs`` does the same a hundred times.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from Testing.volumes import ct_voxels

from .leftovers import counts, memory, run
from .scenes import add_volume, background, click, is_clean, put_python_slicer, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def chest(slicer, choices):
    """A volume of 5 MB, chosen in the panel."""
    choices.inputVolume = add_volume(slicer, np.tile(ct_voxels((25, 10, 10)), (1, 32, 32)))
    choices.spacing = 4.0
    return choices.inputVolume


def test_twelve_runs_leave_no_more_than_four(slicer, panel, chest):
    run(slicer, panel)
    panel._parameterNode.outputVolume = panel.ui.compareResultSelector.currentNode()
    panel.ui.sideBySideButton.click()
    for _ in range(3):
        run(slicer, panel)
    before, megabytes = counts(slicer), memory()
    for _ in range(8):
        run(slicer, panel)
    assert counts(slicer) == before
    assert memory() - megabytes < 20
    assert is_clean(slicer)


@pytest.mark.parametrize("way", ["cancelled", "failed"])
def test_a_run_without_a_result_leaves_nothing_behind(slicer, panel, chest, monkeypatch, tmp_path, way):
    if way == "failed":
        put_python_slicer(monkeypatch, tmp_path / "bin", "exit 1\n")

    def run_in_vain():
        click(panel.ui.enhanceButton)
        if way == "cancelled":
            click(panel.ui.cancelButton)
        wait_until(slicer, lambda: background() is None)
        assert way.capitalize() in panel.ui.statusLabel.text
        slicer.util.errors.clear()

    run_in_vain()
    before = counts(slicer)
    for _ in range(3):
        run_in_vain()
    assert counts(slicer) == before
    assert is_clean(slicer)
