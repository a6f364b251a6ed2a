"""Stops a process: when the cancel file appears, on a signal, or when its parent is gone."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from ..io.temporary import remove_temporaries
from .process import end_workers
from .protocol import EXIT_CANCELLED

_POLL_SECONDS, _GRACE_SECONDS, _LAST_WORDS_SECONDS = 0.2, 1.0, 0.2
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Watch:
    """Context manager that stops the work in it on request, and ends the process if the work does not stop.

    A thread checks for a request every 0.2 s. After a request it gives the work one second to stop by itself
    (see :meth:`cancelled`), then ends the workers of this process, removes temporary files and ends the
    process with exit code 3.

    Parameters
    ----------
    cancel_file : Path, optional
        A request to stop: this file exists.
    parent : bool
        Whether it is a request to stop if the parent process is gone.
    grace : float
        Seconds that the work has to stop by itself: more if it must end workers first.

    Attributes
    ----------
    last_words : callable
        Called before the process is ended from here, to tell the user.
    """

    def __init__(self, cancel_file: Path | None = None, parent: bool = False, grace: float = _GRACE_SECONDS):
        self._cancel_file, self._grace = cancel_file, grace
        self.last_words: Callable[[], None] = lambda: None
        self._parent_lives = _parent_watch() if parent else lambda: True
        self._requested = threading.Event()
        self._ended = threading.Event()
        self._handlers: dict[int, object] = {}
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._former_wakeup: int | None = None
        self._signalled, self._wakeup = socket.socketpair()
        for end in (self._signalled, self._wakeup):
            end.setblocking(False)

    def cancelled(self) -> bool:
        """Whether the work was requested to stop."""
        return self._requested.is_set()

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            # Python calls a handler only between two instructions of the main thread, which may be in a long
            # call of compiled code. The signal's number reaches the socket at once.
            self._former_wakeup = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
            for number in _SIGNALS:
                # Signals that the caller ignores (nohup, a background job) stay ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, lambda *_: self._requested.set())
        # A short job could be done before the thread's first check.
        if self._stop_requested():
            self._requested.set()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._former_wakeup is not None:
            signal.set_wakeup_fd(self._former_wakeup)
        self._thread.join()
        for end in (self._signalled, self._wakeup):
            end.close()

    def _poll(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            if self._stop_requested():
                self._requested.set()
                if not self._ended.wait(self._grace):
                    end_workers()
                    remove_temporaries()
                    # A reader that does not read must not keep the process alive.
                    speaker = threading.Thread(target=self.last_words, daemon=True)
                    speaker.start()
                    speaker.join(_LAST_WORDS_SECONDS)
                    os._exit(EXIT_CANCELLED)
                return

    def _stop_requested(self) -> bool:
        return (
            self._requested.is_set()
            or self._signal_arrived()
            or (self._cancel_file is not None and os.path.exists(self._cancel_file))
            or not self._parent_lives()
        )

    def _signal_arrived(self) -> bool:
        try:
            return any(number in self._handlers for number in self._signalled.recv(64))
        except BlockingIOError:
            return False


def _parent_watch() -> Callable[[], bool]:
    """A function that returns whether the present parent process is still alive."""
    parent = os.getppid()
    if os.name != "nt":
        return lambda: os.getppid() == parent
    # On Windows, os.getppid() stays the same after the parent's end.
    import ctypes

    kernel = ctypes.WinDLL("kernel32")
    kernel.OpenProcess.restype = ctypes.c_void_p
    synchronize, still_running = 0x00100000, 0x102
    handle = kernel.OpenProcess(synchronize, False, parent)
    return lambda: not handle or kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == still_running
