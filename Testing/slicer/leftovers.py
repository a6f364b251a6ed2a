"""What a run could leave behind in Slicer: objects, observers, connections, files, processes, memory."""

from __future__ import annotations

import gc
import os
import types
from pathlib import Path

from . import pythonqt
from .scenes import background, click, wait_until


def run(slicer, panel) -> None:
    """Enhance the chosen volume, to the end."""
    click(panel.ui.enhanceButton)
    wait_until(slicer, lambda: background() is None)
    assert panel.ui.statusLabel.text.startswith("Done"), panel.ui.statusLabel.text


def counts(slicer) -> dict[str, int]:
    """Numbers that must not grow from run to run."""
    gc.collect()
    scene = slicer.mrmlScene
    return {
        "objects, functions and methods": sum(map(_is_ours, gc.get_objects())),
        "connections": len(pythonqt.CONNECTIONS),
        # VTK tells those of few objects. One in Python shows by the function or method that it keeps alive.
        "observers": str(scene).count("vtkObserver (")
        + slicer.vtkEventBroker.GetInstance().GetNumberOfObservations(),
        "nodes": scene.GetNumberOfNodes(),
        "temporary files": len(os.listdir(slicer.app.temporaryPath)),
        "open files": len(os.listdir("/proc/self/fd")),
        "processes": sum(
            len(path.read_text().split()) for path in Path("/proc/self/task").glob("*/children")
        ),
    }


def _is_ours(thing) -> bool:
    """Whether something is of the module or of the stand-ins for Slicer."""
    # Not isinstance(), which wakes lazy objects of other packages.
    has_own = type(thing) in (types.FunctionType, types.MethodType)
    module = thing.__module__ if has_own else type(thing).__module__
    return str(module).startswith(("ThickToThinSR", "Testing.slicer"))


def memory() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
