"""What the text headers of NRRD and MetaImage have in common: lines, names of files, units of length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError

# Millimetres in a unit; no unit is taken for millimetres, as by every reader.
_MILLIMETRES = {
    **dict.fromkeys(("", "?", "mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1e3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("micrometers", "micrometres"), 1e-3),
}
_MOST_FILES = 100_000


def lines(stream) -> Iterator[str]:
    """Lines of a text header; a file without line ends comes in pieces."""
    for line in iter(lambda: stream.readline(1 << 16), b""):
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def millimetres(units: list[str], name: str) -> float:
    """Millimetres in the one unit that a header gives for its lengths.

    Raises
    ------
    UserError
        If there are several, or if it is none of length.
    """
    known = set()
    for unit in units:
        if unit.strip().lower() not in _MILLIMETRES:
            raise UserError(f"{name}: its lengths are in {unit!r}: give them in mm")
        known.add(_MILLIMETRES[unit.strip().lower()])
    if len(known) > 1:
        raise UserError(f"{name}: its lengths are in several units ({', '.join(units)}): give them in mm")
    return known.pop() if known else 1.0


def numbered(folder: Path, pattern: str, numbers: list[str]) -> list[Path]:
    """The files of a pattern such as ``slice%03d.raw`` and its first, last and step."""
    try:
        first, last, step = (int(number) for number in (*numbers, "1", "1", "1")[:3])
        if step == 0 or abs(last - first) // abs(step) >= _MOST_FILES:
            raise ValueError
        return [folder / (pattern % number) for number in range(first, last + (1 if step > 0 else -1), step)]
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder}: the files {pattern} {' '.join(numbers)} cannot be told") from error
