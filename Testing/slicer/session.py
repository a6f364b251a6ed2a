"""A session of Slicer as the tests have it: started, with the module imported, with its panel open."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.cli.main import main


@contextmanager
def started(temporary_path: Path) -> Iterator:
    """The completed ``slicer`` with an empty scene; its temporary files go to this folder."""
    from . import host

    host.install(temporary_path)
    import slicer

    yield slicer
    slicer.app.layoutManager().dismantle()
    slicer.mrmlScene.Clear(1)


@contextmanager
def imported() -> Iterator:
    """The module, imported as by Slicer: only its own folder is on the path."""
    folder = str(CHECKOUT / "ThickToThinSR")
    sys.path.insert(0, folder)
    _forget()
    yield importlib.import_module("ThickToThinSR")
    _forget()
    sys.path.remove(folder)


def _forget() -> None:
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("ThickToThinSR", "ThickToThinSRSlicer")
    ]:
        del sys.modules[name]


@contextmanager
def opened(module) -> Iterator:
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


def run_here(worker, progress, cancelled=None) -> dict:
    """What a worker would do, in this process: a new one takes a second for its imports alone."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        code = main(worker.command[3:])
    for event in worker.feed_output(output.getvalue().encode()):
        if event["event"] == "progress":
            progress(event)
    worker.feed_errors(errors.getvalue().encode())
    return worker.outcome(code)
