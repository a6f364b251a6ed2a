"""Every file under a folder, once: links to folders are followed, but no folder is entered twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import UserError


def walk(folder: Path, skip: Callable[[Path], bool] = lambda path: False) -> Iterator[Path]:
    """Yield the files under `folder` in the order of their names, those of linked folders last.

    A folder that is reached by several ways, or that a link leads back to, is entered once: where it lies
    rather than by a link.

    Parameters
    ----------
    skip : callable
        Whether a file or folder below `folder` is left out.

    Raises
    ------
    UserError
        If a folder cannot be read.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [Path(folder)]
    while waiting:
        start = waiting.pop(0)
        links: list[Path] = []
        for place, folders, names in os.walk(start, onerror=_unreadable):
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in entered:
                folders.clear()
                continue
            entered.add((status.st_dev, status.st_ino))
            inner = [Path(place) / name for name in sorted(folders)]
            inner = [path for path in inner if not skip(path)]
            links += [path for path in inner if path.is_symlink()]
            folders[:] = [path.name for path in inner if not path.is_symlink()]
            yield from (path for name in sorted(names) if not skip(path := Path(place) / name))
        waiting += links


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename}: this folder cannot be read ({error.strerror})") from error
