"""The command line ``thicktothin``: runs a command and turns errors into messages and exit codes.

Exit codes: 0 done; 1 unexpected error (with a traceback); 2 bad usage or bad input (one line on standard
error); 3 cancelled. The options are in :mod:`~ThickToThinSRLib.cli.arguments`, the commands in
:mod:`~ThickToThinSRLib.cli.commands`.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback

from ..errors import Cancelled, UserError
from ..settings import flag
from ..worker.protocol import EXIT_BAD_INPUT, EXIT_CANCELLED, EXIT_DONE, EXIT_UNEXPECTED
from ..worker.reporters import REPORTERS
from ..worker.watch import Watch
from .arguments import build_parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    try:
        code = _run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output is gone: without this, Python would report an error at exit.
        sink = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(sink, stream.fileno())
        return EXIT_CANCELLED


def _run(options: argparse.Namespace) -> int:
    reporter = REPORTERS[options.progress]()
    try:
        with Watch(options.cancel_file, parent=options.progress == "json") as watch:
            options.run(options, reporter, reporter.monitor(watch.cancelled))
    except (Cancelled, KeyboardInterrupt):
        reporter.error("cancelled; nothing was written")
        return EXIT_CANCELLED
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, UserError):
            reporter.error(_one_line(error.worded(_name_of)), error)
            return EXIT_BAD_INPUT
        message = _environment_fault(error)
        if message is not None:
            reporter.error(_one_line(message))
            return EXIT_BAD_INPUT
        traceback.print_exc()
        reporter.error(_one_line(f"unexpected {type(error).__name__}: {error}"))
        return EXIT_UNEXPECTED
    return EXIT_DONE


def _name_of(option: str) -> str:
    """The name on the command line of an option in an error."""
    return "`models --add`" if option == "add_weights" else flag(option)


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
