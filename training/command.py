"""Exit codes of the training commands: 0 done, 2 wrong usage or input (one line), 3 stopped, 1 unexpected."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.settings import flag


def run(work: Callable[[], None]) -> int:
    """Run a command; returns its exit code. A failure prints one line on standard error."""
    try:
        work()
    except UserError as error:
        text = error.worded(flag)
        if text.startswith("Caught "):  # a traceback from a process that reads data: its last line counts
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
