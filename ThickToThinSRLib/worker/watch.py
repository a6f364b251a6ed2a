"""A process that notices when it is to stop: a cancel file, a signal, or the death of its parent."""

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
    """Notices that the work is to stop; ends the process if the work does not end by itself.

    A thread looks every 0.2 s. Once asked to stop it gives the work a second to notice (through
    :meth:`cancelled`), then ends the workers that this process has started, removes temporary files and ends
    the process with exit code 3.

    Parameters
    ----------
    cancel_file : Path, optional
        The work stops when this file exists.
    parent : bool
        Whether the work stops when the parent process is gone.
    grace : float
        Seconds that the work has to end by itself: more where it has workers to end first.

    Attributes
    ----------
    last_words : callable
        Called before the process is ended from here, to tell the user.
    """

    def __init__(self, cancel_file: Path | None = None, parent: bool = False, grace: float = _GRACE_SECONDS):
        self._cancel_file, self._grace = cancel_file, grace
        self.last_words: Callable[[], None] = lambda: None
        self._parent_lives = _parent_watch() if parent else lambda: True
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._handlers: dict[int, object] = {}
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._former_wakeup: int | None = None
        self._signalled, self._wakeup = socket.socketpair()
        for end in (self._signalled, self._wakeup):
            end.setblocking(False)

    def cancelled(self) -> bool:
        return self._asked.is_set()

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            # Python calls a handler only between two steps of the main thread, which may sit in one long
            # step; the number of the signal reaches the socket at once.
            self._former_wakeup = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
            for number in _SIGNALS:
                # What the caller had ignored (nohup, a job in the background) stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, lambda *_: self._asked.set())
        # A short job could be done before the first look.
        if self._told_to_stop():
            self._asked.set()
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

    def _look(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            if self._told_to_stop():
                self._asked.set()
                if not self._ended.wait(self._grace):
                    end_workers()
                    remove_temporaries()
                    # A reader that does not read must not keep the process alive.
                    speaker = threading.Thread(target=self.last_words, daemon=True)
                    speaker.start()
                    speaker.join(_LAST_WORDS_SECONDS)
                    os._exit(EXIT_CANCELLED)
                return

    def _told_to_stop(self) -> bool:
        return (
            self._asked.is_set()
            or self._signal_came()
            or (self._cancel_file is not None and os.path.exists(self._cancel_file))
            or not self._parent_lives()
        )

    def _signal_came(self) -> bool:
        try:
            return any(number in self._handlers for number in self._signalled.recv(64))
        except BlockingIOError:
            return False


def _parent_watch() -> Callable[[], bool]:
    """A function that tells whether the process that is now the parent still lives."""
    parent = os.getppid()
    if os.name != "nt":
        return lambda: os.getppid() == parent
    # Windows keeps the number of a dead parent.
    import ctypes

    kernel = ctypes.WinDLL("kernel32")
    kernel.OpenProcess.restype = ctypes.c_void_p
    synchronize, still_running = 0x00100000, 0x102
    handle = kernel.OpenProcess(synchronize, False, parent)
    return lambda: not handle or kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == still_running
