"""Temporary files and folders: named after their process, removed with it, swept once it is dead.

Every one of them is made here, so that a process that ends in a hurry can remove its own
(:func:`remove_temporaries`) and the next one what a killed process left (:func:`sweep`). The name holds the
machine and the number of the process: ``.thicktothin-<machine>-<process>-<random><suffix>``.
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
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_NAME = re.compile(r"\.?thicktothin-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}(?P<rest>.*)")
# What a replaced folder is called until the new one stands in its place; its own name follows.
_OLD = ".old-"
_registered: set[Path] = set()
# Held while one is made or all are removed: none may appear after the process has removed the others.
_lock = threading.RLock()
_LOCK_SECONDS = 0.5


def new_file(folder: Path, suffix: str) -> Path:
    """An empty hidden file of this process in `folder`, with the permissions of any new file."""
    with _lock:
        path = _register(folder / f".{_stem()}{suffix}")
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
    return path


def new_folder(folder: Path, hidden: bool = True) -> Path:
    """An empty folder of this process in `folder`, open to its owner alone."""
    with _lock:
        path = _register(folder / f"{'.' if hidden else ''}{_stem()}")
        path.mkdir(mode=0o700)
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
    _registered.discard(path)


def remove_temporaries() -> None:
    """Remove all that this process has made and not finished; for a process that is ended in a hurry.

    Afterwards no other thread can make a temporary file: the process is expected to end.
    """
    # Not even a lock that is never released may keep the process from ending.
    _lock.acquire(timeout=_LOCK_SECONDS)
    for path in list(_registered):
        _remove(path)


def sweep(folder: Path) -> None:
    """Remove what dead processes of this machine left in `folder`.

    Of a folder that was being replaced, the old one gets its name back if the new one did not take it.
    """
    try:
        names = [entry.name for entry in os.scandir(folder) if "thicktothin-" in entry.name]
    except OSError:
        return
    for name in names:
        found, path = _NAME.fullmatch(name), folder / name
        if found is None or found["machine"] != _machine() or not _is_stale(path, int(found["process"])):
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
    _registered.add(path)
    return path


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
