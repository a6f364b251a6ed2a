"""What a MetaImage header says apart from what ITK reads of it: its files with voxels, its unit of length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from . import text_header

_BYTES = {
    **dict.fromkeys(("CHAR", "UCHAR"), 1),
    **dict.fromkeys(("SHORT", "USHORT"), 2),
    **dict.fromkeys(("INT", "UINT", "FLOAT"), 4),
    **dict.fromkeys(("LONG_LONG", "ULONG_LONG", "DOUBLE"), 8),
}


# ITK never ends with directions that are much larger.
_LARGEST = 1e9


@dataclass(frozen=True)
class MetaImageHeader:
    """Fields by name in small letters, and the lines that follow ``ElementDataFile = LIST``."""

    fields: dict[str, str]
    listed: tuple[str, ...] = ()

    @property
    def compressed(self) -> bool:
        """Whether its voxels are compressed."""
        return self.fields.get("compresseddata", "").lower() == "true"

    @property
    def local(self) -> bool:
        """Whether its voxels follow it."""
        return self.fields.get("elementdatafile", "").lower() == "local"

    @property
    def bytes(self) -> int | None:
        """Bytes that its voxels need; None where it does not tell."""
        size = _BYTES.get(self.fields.get("elementtype", "").removeprefix("MET_"))
        try:
            extents = [int(extent) for extent in self.fields.get("dimsize", "").split()]
            channels = int(self.fields.get("elementnumberofchannels", "1"))
        except ValueError:
            return None
        if size is None or not extents or self.fields.get("binarydata", "true").lower() == "false":
            return None
        return math.prod(extents) * channels * size

    @property
    def lacks_spacing(self) -> bool:
        """Whether it does not say how far apart the voxels are."""
        return not {"elementspacing", "elementsize"} & {*self.fields}

    def data_files(self, path: Path) -> list[Path]:
        """The files with the voxels of the header at `path`; none if they follow it."""
        name = self.fields.get("elementdatafile", "")
        if not name or self.local:
            return []
        words = name.split()
        if words[0] == "LIST":
            return [path.parent / name for name in self.listed]
        if len(words) > 1 and "%" in words[0]:
            return text_header.numbered(path.parent, words[0], words[1:4])
        return [path.parent / name]

    def check_directions(self, name: str) -> None:
        """Raise UserError, about `name`, if the directions are absurd numbers."""
        for field in ("transformmatrix", "rotation", "orientation"):
            for value in self.fields.get(field, "").split():
                try:
                    absurd = not abs(float(value)) <= _LARGEST
                except ValueError:  # ITK says so
                    continue
                if absurd:
                    raise UserError(f"{name}: its {field} holds {value}: export the volume again")

    def millimetres(self, name: str) -> float:
        """Millimetres in the unit of its lengths; UserError, about `name`, where it is unknown."""
        return text_header.millimetres([self.fields.get("distanceunits", "")], name)


def parse(stream) -> MetaImageHeader:
    """Read a header; the stream stands at the first voxel afterwards, where they follow."""
    fields: dict[str, str] = {}
    listed: list[str] = []
    for line in text_header.lines(stream):
        if "elementdatafile" in fields:
            listed.append(line.strip())
            continue
        key, _, value = line.partition("=")
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile" and value.split()[:1] != ["LIST"]:
            break
    return MetaImageHeader(fields, tuple(filter(None, listed)))
