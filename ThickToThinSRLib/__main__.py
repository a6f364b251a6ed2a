"""``python -m ThickToThinSRLib``: the command line."""

import contextlib
import os
import signal
import sys


def run() -> None:
    """The program: loads the library, runs the command line and ends the process with its exit code.

    Stopped while it loads, it ends as it does later; once the work is done, a late signal changes nothing.
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

    known = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    heeded = [number for number in known if number and signal.getsignal(number) is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, stop)
    # A file's name may hold what the terminal, or a log on Windows, cannot show.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from .cli.main import main

    code = main(begun=begun)
    for number in heeded:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    run()
