"""A hundred runs in one Slicer: memory, objects, connections, files and processes stay what they were."""

from __future__ import annotations

import gc
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from Testing.volumes import ct_voxels

from . import pythonqt
from .scenes import add_volume, background, click, is_clean, put_python_slicer, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
# A worker that copies a result made before: a hundred real ones would take minutes, and the same of Slicer.
QUICK_WORKER = """
for last in "$@"; do case $last in *output.nrrd) cp "{folder}/output.nrrd" "$last";; esac; done
cat "{folder}/events"
"""


@pytest.fixture
def quick_worker(slicer, panel, monkeypatch, tmp_path):
    """The panel with a volume of 10 MB, and a worker that answers at once."""
    node = add_volume(slicer, np.tile(ct_voxels((50, 10, 10)), (1, 32, 32)))
    panel._parameterNode.inputVolume, panel._parameterNode.method = node, "consistent"
    panel._parameterNode.spacing = 4.0
    process = sys.modules["ThickToThinSRLib.worker.process"]
    lines = []
    original = process.WorkerProcess.feed_output

    def listening(worker, data):
        lines.append(data)
        return original(worker, data)

    monkeypatch.setattr(process.WorkerProcess, "feed_output", listening)
    kept = tmp_path / "kept"
    kept.mkdir()
    job = sys.modules["ThickToThinSRSlicer.job"].Job
    result = job.result

    def keeping(self):
        (kept / "output.nrrd").write_bytes(self.target.read_bytes())
        return result(self)

    monkeypatch.setattr(job, "result", keeping)
    run(slicer, panel)
    monkeypatch.undo()
    monkeypatch.setenv("THICKTOTHIN_WEIGHTS", str(tmp_path / "weights"))
    (kept / "events").write_bytes(b"".join(lines))
    put_python_slicer(monkeypatch, tmp_path / "bin", QUICK_WORKER.format(folder=kept))
    panel._parameterNode.outputVolume = panel.ui.compareResultSelector.currentNode()
    return node


def run(slicer, panel) -> None:
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert panel.ui.statusLabel.text.startswith("Done"), panel.ui.statusLabel.text


def counts() -> dict[str, int]:
    """Everything that a run could leave behind."""
    gc.collect()
    of_module = [
        thing
        for thing in gc.get_objects()
        if str(
            thing.__module__ if isinstance(thing, types.FunctionType) else type(thing).__module__
        ).startswith("ThickToThinSR")
    ]
    return {
        "objects and functions of the module": len(of_module),
        "connections": len(pythonqt.CONNECTIONS),
        "nodes": sys.modules["slicer"].mrmlScene.GetNumberOfNodes(),
        "open files": len(os.listdir("/proc/self/fd")),
        "processes": sum(
            len(path.read_text().split()) for path in Path("/proc/self/task").glob("*/children")
        ),
    }


def memory() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_hundred_runs_leave_nothing_behind(slicer, panel, quick_worker):
    for _ in range(10):
        run(slicer, panel)
    before, megabytes = counts(), memory()
    for _ in range(90):
        run(slicer, panel)
    assert counts() == before
    assert memory() - megabytes < 20
    assert is_clean(slicer)


def test_a_cancelled_run_and_a_failed_one_leave_nothing_behind(slicer, panel, quick_worker, tmp_path):
    def cancelled():
        click(panel.ui.enhanceButton)
        click(panel.ui.cancelButton)
        wait_until(slicer, lambda: background() is None)

    def failed():
        program = Path(tmp_path, "bin", "PythonSlicer")
        whole = program.read_text()
        program.write_text("#!/bin/sh\nexit 3\n")
        click(panel.ui.enhanceButton)
        wait_until(slicer, lambda: background() is None)
        program.write_text(whole)

    for way in (cancelled, failed):
        way()
        before = counts()
        for _ in range(3):
            way()
        slicer.util.errors.clear()
        assert counts() == before
        assert is_clean(slicer)
