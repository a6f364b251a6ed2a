"""Commands as processes of their own: what they take, here and at an older commit of this repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.errors import UserError


class Use(NamedTuple):
    """What a process took: seconds by the clock and of processors, MiB of memory at its peak."""

    seconds: float
    processor: float
    peak: float


def use_of(arguments: list[str], folder: Path = CHECKOUT) -> Use:
    """Run ``python`` with arguments and the code of a folder.

    Raises
    ------
    UserError
        If it fails.
    """
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
    if status:
        raise UserError(f"{' '.join(arguments)} failed in {folder}")
    return Use(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@contextmanager
def files_of(revision: str, repository: Path = CHECKOUT) -> Iterator[Path]:
    """A temporary folder with the files of a commit.

    Raises
    ------
    UserError
        If there is no such commit.
    """
    known = ["git", "-C", str(repository), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    if subprocess.run(known, stdout=subprocess.DEVNULL).returncode:
        raise UserError(f"{revision}: no commit of {repository}")
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "-C", str(repository), "archive", "--format=tar", revision]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as archive,
        ):
            archive.extractall(folder, filter="data")
        if process.returncode:
            raise UserError(f"{revision}: git archive failed")
        yield Path(folder)
