"""Signals that ask a training to stop."""

from __future__ import annotations

import os
import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Within a ``with`` block SIGINT and SIGTERM only set `requested`, so that the current step is finished.

    A second signal ends the process at once (KeyboardInterrupt).

    Attributes
    ----------
    requested : bool
        Whether a signal asked the training to stop.
    """

    def __init__(self):
        self.requested = False
        self._handlers_before = {}

    def __enter__(self) -> Stopping:
        self._handlers_before = {number: signal.signal(number, self._request) for number in _SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame) -> None:
        if self.requested:
            signal.default_int_handler(number, frame)
        self.requested = True


def ignore_stop_signals(worker: int) -> None:
    """For processes that read data: leave Ctrl-C and signals to the process group to the training process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
