"""Signals that ask a training to stop."""

from __future__ import annotations

import os
import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Within a ``with`` block SIGINT and SIGTERM only set `asked`, for the step at hand to be finished.

    A second signal ends the process at once (KeyboardInterrupt).
    """

    asked = False

    def __enter__(self) -> Stopping:
        self._former = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True


def leave_stopping_to_the_training(number: int) -> None:
    """In a process that reads crops: signals to the whole group, as Ctrl-C, are the training's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
