"""``python -m ThickToThinSRLib``: the command line."""

import contextlib
import os
import signal
import sys


def run() -> None:
    """Load the library, run the command line and end the process with its exit code.

    A signal to stop ends the process without a traceback even while the library loads. Signals that arrive
    after the work is done are ignored.
    """
    loading = True

    def stop(*_) -> None:
        if loading:
            with contextlib.suppress(OSError):
                os.write(2, b"thicktothin: cancelled; nothing was written\n")
            os._exit(3)

    def begun() -> None:
        nonlocal loading
        loading = False

    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    handled = [number for number in numbers if number and signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, stop)
    # A file name may contain characters that the terminal, or a log on Windows, cannot show.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from .cli.main import main

    code = main(begun=begun)
    for number in handled:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    run()
