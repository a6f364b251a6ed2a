"""Peak memory of one piece of work among several in a process, as Linux counts it."""

from __future__ import annotations

from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """From its creation on, the most memory that this process held beyond what it held then."""

    def __init__(self):
        self._before = None
        if _RESET.exists():
            _RESET.write_text("5", encoding="ascii")  # sets the highest use to the present one
            self._before = _mebibytes("VmRSS")

    def mebibytes(self) -> float | None:
        """The peak so far; None where the system does not tell."""
        return None if self._before is None else _mebibytes("VmHWM") - self._before


def _mebibytes(field: str) -> float:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024
