"""Writes files and folders under a temporary name and renames them when they are complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from .temporary import new_file, new_folder, old_name, remove


def check_free(path: Path, overwrite: bool, source: Path | None = None) -> None:
    """Raise UserError, before the work begins, if the file `path` cannot be written.

    Parameters
    ----------
    overwrite : bool
        Whether an existing file may be replaced.
    source : Path, optional
        The input, which is never replaced.
    """
    exists = True
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        exists = False
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file")
    if source is not None:
        with contextlib.suppress(OSError):
            if path.samefile(source):
                raise UserError(f"{path}: is the input; choose another name")
    if exists and not overwrite:
        raise UserError(f"{path}: already exists; choose another name or give {{overwrite}}", "overwrite")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: no permission to write to the folder {path.parent}")


@contextlib.contextmanager
def replacing(path: Path, suffix: str):
    """Yield a temporary path beside `path`; it is renamed to `path` if the block ends without an error.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    path = Path(path)
    temporary = _beside(path, lambda: new_file(path.parent, suffix))
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: could not be written ({error.strerror or error})") from error
    finally:
        remove(temporary)


@contextlib.contextmanager
def folder_replacing(path: Path):
    """Yield a temporary folder beside `path`; it is renamed to `path` if the block ends without an error.

    Raises
    ------
    UserError
        If the folder cannot be written.
    """
    path = Path(path)
    temporary = _beside(path, lambda: new_folder(path.parent))
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o777 & ~mask)  # until now it was its owner's alone
        old = old_name(temporary, path)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{path}: could not be written ({error.strerror or error})") from error
    finally:
        remove(temporary)


def _beside(path: Path, make: Callable[[], Path]) -> Path:
    try:
        return make()
    except OSError as error:
        raise UserError(f"{path}: cannot write into the folder {path.parent} ({error.strerror})") from error
