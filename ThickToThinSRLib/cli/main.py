"""The command line ``thicktothin``: runs a command and turns errors into messages and exit codes.

Exit codes: 0 done; 1 unexpected error (with a traceback); 2 bad usage or bad input (one line on standard
error); 3 cancelled. The options are in :mod:`~ThickToThinSRLib.cli.arguments`, the commands in
:mod:`~ThickToThinSRLib.cli.commands`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable

from ..errors import Cancelled, UserError
from ..worker.protocol import EXIT_BAD_INPUT, EXIT_CANCELLED, EXIT_DONE, EXIT_UNEXPECTED
from ..worker.reporters import REPORTERS, SilentReporter
from ..worker.watch import Watch
from .arguments import build_parser
from .option_names import worded


def main(arguments: list[str] | None = None, begun: Callable[[], None] = lambda: None) -> int:
    """Run the command line; returns the exit code.

    Parameters
    ----------
    begun : callable
        Called once signals are heeded here.
    """
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    try:
        code = _run(options, begun)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output is gone: without this, Python would report an error at exit.
        sink = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(sink, stream.fileno())
        return EXIT_CANCELLED


def _run(options: argparse.Namespace, begun: Callable[[], None]) -> int:
    reporter = REPORTERS[options.progress]()
    with Watch(options.cancel_file, options.progress == "json", options.grace) as watch:
        begun()
        # What is said at the end is said under the watch: a second signal changes nothing.
        watch.last_words = lambda: reporter.error(reporter.ending())
        return _watched(options, reporter, watch)


def _watched(options: argparse.Namespace, reporter: SilentReporter, watch: Watch) -> int:
    try:
        options.run(options, reporter, reporter.monitor(watch.cancelled))
    except (Cancelled, KeyboardInterrupt):
        with contextlib.suppress(OSError):  # the terminal may be gone
            reporter.error(reporter.ending())
        return EXIT_CANCELLED
    except BrokenPipeError:
        raise
    except Exception as error:
        if watch.cancelled() and isinstance(error, OSError):  # a terminal that is gone takes no line
            return EXIT_CANCELLED
        if isinstance(error, UserError):
            reporter.error(worded(error), error)
            return EXIT_BAD_INPUT
        message = _environment_fault(error)
        if message is not None:
            reporter.error(_one_line(message))
            return EXIT_BAD_INPUT
        traceback.print_exc()
        reporter.error(_one_line(f"unexpected {type(error).__name__}: {error}"))
        return EXIT_UNEXPECTED
    return EXIT_DONE


def _environment_fault(error: Exception) -> str | None:
    """The message for a lack of memory or a file error; None for any other error."""
    # By name: PyTorch's error for a GPU is not a MemoryError, and PyTorch may not be loaded.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: close other programs or choose a larger spacing"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
