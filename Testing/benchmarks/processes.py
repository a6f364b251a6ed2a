"""Commands as processes of their own: what they take, here and at an older commit of this repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.errors import UserError

# A process starts with the peak memory of its parent, as Linux counts. So a small process stands between.
_MEASURING = """
import resource, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
started = time.perf_counter()
with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as process:
    try:
        failed = process.wait()
    except BaseException:
        process.kill()
        raise
use = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - started, use.ru_utime + use.ru_stime, use.ru_maxrss / 1024)
sys.exit(failed != 0)
"""


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
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", _MEASURING, sys.executable, *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE) as process:
        try:
            told, _ = process.communicate()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise UserError(f"{' '.join(arguments)} failed in {folder}")
    return Use(*map(float, told.split()))


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
        packed, files = Path(folder) / "files.tar", Path(folder) / "files"
        command = ["git", "-C", str(repository), "archive", "--format=tar", f"--output={packed}", revision]
        if subprocess.run(command).returncode:
            raise UserError(f"{revision}: git archive failed")
        with tarfile.open(packed) as archive:
            archive.extractall(files)
        packed.unlink()
        yield files
