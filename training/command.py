"""How the training commands end: 0 done, 2 bad usage or input (one line), 3 stopped, 1 unexpected."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ThickToThinSRLib.errors import Cancelled, UserError


def run(work: Callable[[], None]) -> int:
    """Do the work of a command; returns its exit code, after a line on standard error if it failed."""
    try:
        work()
    except UserError as error:
        text = str(error)
        if text.startswith("Caught "):  # in a loader's process: its traceback, of which the last line tells
            text = text.strip().splitlines()[-1].partition(": ")[2]
        print(f"training: {' '.join(text.splitlines())}", file=sys.stderr)
        return 2
    except (Cancelled, KeyboardInterrupt):
        print("training: stopped", file=sys.stderr)
        return 3
    except OSError as error:
        if error.filename is None:
            raise
        print(f"training: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0
