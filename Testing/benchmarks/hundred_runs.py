"""A hundred runs by the Slicer module's panel, each in a worker process of its own: what they leave behind.

``python -m Testing.benchmarks.hundred_runs [--runs 100]`` enhances a small volume again and again, with the
comparison open, and prints after every ten runs what there is. It fails if after the last run there is more
than after the first ten: an object of the module, an observer, connection, node, file or process, or 20 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from Testing.slicer import session
from Testing.slicer.leftovers import counts, memory, run
from Testing.slicer.scenes import add_volume
from Testing.volumes import ct_voxels

MEGABYTES = 20


def measured(slicer, panel, runs: int) -> list[dict]:
    """What there is after every ten runs."""
    panel._parameterNode.inputVolume = add_volume(slicer, ct_voxels())
    panel._parameterNode.method = "consistent"
    rows, started = [], time.monotonic()
    for number in range(1, runs + 1):
        run(slicer, panel)
        if number == 1:
            panel._parameterNode.outputVolume = panel.ui.compareResultSelector.currentNode()
            panel.ui.sideBySideButton.click()
        if number % 10 == 0:
            rows.append({"runs": number, **counts(slicer), "MB": round(memory(), 1)})
            print(*(f"{name} {value}" for name, value in rows[-1].items()), sep=", ", flush=True)
    print(f"{(time.monotonic() - started) / runs:.1f} s a run")
    return rows


def grown(first: dict, last: dict) -> list[str]:
    """What is more in `last` than it may be."""
    allowed = {"MB": MEGABYTES, "runs": last["runs"]}
    return [name for name in first if last[name] - first[name] > allowed.get(name, 0)]


def temporary_folder(parent: str) -> Path:
    """Slicer's folder for temporary files; its settings go beside it."""
    folder = Path(parent, "temporary")
    folder.mkdir()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100, help="a multiple of ten (default: 100)")
    runs = parser.parse_args().runs
    with (
        tempfile.TemporaryDirectory() as folder,
        session.started(temporary_folder(folder)) as slicer,
        session.imported() as module,
        session.opened(module) as panel,
    ):
        rows = measured(slicer, panel, runs)
    more = grown(rows[0], rows[-1])
    print(f"more than after the first ten runs: {', '.join(more) or 'nothing'}")
    return bool(more)


if __name__ == "__main__":
    sys.exit(main())
