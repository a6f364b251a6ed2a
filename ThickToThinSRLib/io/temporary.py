"""Temporary files and folders: named after their process, removed with it, swept once it is dead.

Every one of them is made here, so that a process that ends in a hurry can remove its own
(:func:`remove_temporaries`) and the next one what a killed process left (:func:`sweep`). The name holds the
machine and the number of the process: ``.thicktothin-<machine>-<process>-<random><suffix>``. Of a process
of another machine or container nothing is known: its temporaries are swept once they are a day old, unless a
living process still holds them by a lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where an open file could not be renamed either
    fcntl = None

_NAME = re.compile(r"\.?thicktothin-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}(?P<rest>.*)")
# What a replaced folder is called until the new one stands in its place; its own name follows.
_OLD = ".old-"
# Each with the open file by which this process holds it, where there are locks.
_registered: dict[Path, int | None] = {}
# Held while one is made or all are removed: none may appear after the process has removed the others.
_lock = threading.RLock()
_LOCK_SECONDS = 0.5
_ABANDONED_SECONDS = 24 * 3600


def new_file(folder: Path, suffix: str) -> Path:
    """An empty hidden file of this process in `folder`, with the permissions of any new file."""
    with _lock:
        path = _register(folder / f".{_stem()}{suffix}")
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
        _registered[path] = _held(path)
    return path


def new_folder(folder: Path, hidden: bool = True) -> Path:
    """An empty folder of this process in `folder`, open to its owner alone."""
    with _lock:
        path = _register(folder / f"{'.' if hidden else ''}{_stem()}")
        path.mkdir(mode=0o700)
        _registered[path] = _held(path)
    return path


def old_name(temporary: Path, path: Path) -> Path:
    """What to call the folder `path` while `temporary` takes its place."""
    return temporary.with_name(f"{temporary.name}{_OLD}{path.name}")


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder in the system's place for temporary files that is removed at the end of the block."""
    path = new_folder(Path(tempfile.gettempdir()), hidden=False)
    try:
        yield path
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Remove a temporary file or folder, if it is still there."""
    _remove(path)
    handle = _registered.pop(path, None)
    if handle is not None:
        os.close(handle)


def remove_temporaries() -> None:
    """Remove all that this process has made and not finished; for a process that is ended in a hurry.

    Afterwards no other thread can make a temporary file: the process is expected to end.
    """
    # Not even a lock that is never released may keep the process from ending.
    _lock.acquire(timeout=_LOCK_SECONDS)
    for path in list(_registered):
        _remove(path)


def sweep(folder: Path) -> None:
    """Remove what dead processes left in `folder`.

    Of a folder that was being replaced, the old one gets its name back if the new one did not take it.
    """
    try:
        names = [entry.name for entry in os.scandir(folder) if "thicktothin-" in entry.name]
    except OSError:
        return
    for name in names:
        found, path = _NAME.fullmatch(name), folder / name
        if found is None:
            continue
        if found["machine"] != _machine():
            stale = _is_abandoned(path)
        else:
            stale = _is_stale(path, int(found["process"]))
        if not stale:
            continue
        if found["rest"].startswith(_OLD):
            original = folder / found["rest"].removeprefix(_OLD)
            if not os.path.lexists(original):
                with contextlib.suppress(OSError):
                    os.replace(path, original)
                continue
        _remove(path)


def sweep_temporary_place() -> None:
    """The same for the system's place for temporary files."""
    sweep(Path(tempfile.gettempdir()))


def _register(path: Path) -> Path:
    _registered[path] = None
    return path


def _held(path: Path) -> int | None:
    """An open file that locks `path` until this process ends, however it ends; None without locks."""
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return handle


def _stem() -> str:
    return f"thicktothin-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


@cache
def _machine() -> str:
    """Where a process number means this process: the machine and, in a container, its own numbering."""
    place = socket.gethostname()
    with contextlib.suppress(OSError):
        place += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def _is_stale(path: Path, process: int) -> bool:
    if process == os.getpid():
        return path not in _registered  # an earlier process had our number
    return not _is_alive(process)


def _is_abandoned(path: Path) -> bool:
    """Whether nobody has touched `path` for a day, and nobody holds it."""
    try:
        status = os.lstat(path)
        # Renaming a folder, as one that is being replaced, changes only the second.
        if time.time() - max(status.st_mtime, status.st_ctime) < _ABANDONED_SECONDS:
            return False
        if fcntl is None:
            return True
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: the age decides
    finally:
        os.close(handle)
    return True


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return _is_alive_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # somebody else's
    with contextlib.suppress(OSError):  # dead, but not yet collected by its parent
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:1] != ["Z"]
    return True


def _is_alive_on_windows(process: int) -> bool:
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    synchronize, still_running, access_denied = 0x00100000, 0x102, 5
    handle = kernel.OpenProcess(synchronize, False, process)
    if not handle:
        return ctypes.get_last_error() == access_denied
    alive = kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == still_running
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return alive


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
