"""Writes files and folders under a temporary name and renames them when they are complete."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from ..errors import UserError

# Temporary files and folders of this process, for `remove_temporaries`.
_temporaries: set[Path] = set()


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
    try:
        handle, name = tempfile.mkstemp(suffix=suffix, prefix=".thicktothin-", dir=path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot write into the folder {path.parent} ({error.strerror})") from error
    os.close(handle)
    temporary = Path(name)
    _temporaries.add(temporary)
    try:
        yield temporary
        # mkstemp makes the file private to its owner; give it the permissions of a normal new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: could not be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
        _temporaries.discard(temporary)


@contextlib.contextmanager
def folder_replacing(path: Path):
    """Yield a temporary folder beside `path`; it is renamed to `path` if the block ends without an error.

    Raises
    ------
    UserError
        If the folder cannot be written.
    """
    path = Path(path)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".thicktothin-", dir=path.parent))
    except OSError as error:
        raise UserError(f"{path}: cannot write into the folder {path.parent} ({error.strerror})") from error
    _temporaries.add(temporary)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o777 & ~mask)  # mkdtemp makes it private to its owner
        old = temporary.with_name(f"{temporary.name}.old")
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
        shutil.rmtree(temporary, ignore_errors=True)
        _temporaries.discard(temporary)


def remove_temporaries() -> None:
    """Remove the temporary files and folders of this process, before it is ended at once."""
    for path in list(_temporaries):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
