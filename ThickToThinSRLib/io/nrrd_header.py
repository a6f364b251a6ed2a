"""What an NRRD header says apart from what ITK reads of it: its files with voxels, its units, its axes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from . import text_header

# Fields with an entry for each axis.
_PER_AXIS = (
    *("sizes", "spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs", "centers"),
    *("centerings", "labels", "units", "kinds", "space directions"),
)
_ENTRY = re.compile(r'"(?:[^"\\]|\\.)*"|\([^)]*\)|\S+')


@dataclass(frozen=True)
class NrrdHeader:
    """Fields by name in small letters, and the lines that follow ``data file: LIST``."""

    magic: str
    fields: dict[str, str]
    listed: tuple[str, ...] = ()

    @property
    def encoding(self) -> str:
        """How the voxels are written."""
        return self.fields.get("encoding", "").strip().lower()

    @property
    def gzipped(self) -> bool:
        """Whether they are compressed by gzip."""
        return self.encoding in ("gzip", "gz")

    @property
    def bzipped(self) -> bool:
        """Whether they are compressed by bzip2, which ITK does not read."""
        return self.encoding in ("bzip2", "bz2")

    @property
    def skips(self) -> bool:
        """Whether something stands before the voxels that is to be passed over."""
        return not {"byte skip", "byteskip", "line skip", "lineskip"}.isdisjoint(self.fields)

    @property
    def names_files(self) -> bool:
        """Whether the voxels are in other files."""
        return self._data is not None

    @property
    def _data(self) -> str | None:
        return self.fields.get("data file", self.fields.get("datafile"))

    def data_files(self, path: Path) -> list[Path]:
        """The files with the voxels of the header at `path`; none if they follow it."""
        if self._data is None:
            return []
        words = self._data.split()
        if words and words[0] == "LIST":
            return [path.parent / name for name in self.listed]
        if len(words) > 1 and re.search(r"%\d*d", words[0]):
            return text_header.numbered(path.parent, words[0], words[1:4])
        return [path.parent / self._data.strip()]

    def entries(self, field: str) -> list[str]:
        """The entries of a field, one an axis."""
        return _ENTRY.findall(self.fields.get(field, ""))

    def millimetres(self, name: str) -> float:
        """Millimetres in the unit of its lengths; UserError, about `name`, where it is unknown."""
        if "space" in self.fields or "space dimension" in self.fields:
            units = self.entries("space units")
        else:
            # What an axis that lies not in space is measured in is no matter.
            units = self.entries("units")[:3]
        return text_header.millimetres([unit.strip('"') for unit in units], name)

    @property
    def lacks_spacing(self) -> bool:
        """Whether it does not say how far apart the voxels of an axis in space are."""
        if "space directions" in self.fields:
            return False
        spacings = self.entries("spacings")[:3]
        return len(spacings) < 3 or any(value.lower() in ("nan", "?", "???") for value in spacings)

    def single_axes(self) -> list[int]:
        """Axes of one voxel that do not lie in space, where there are more than three."""
        directions, sizes = self.entries("space directions"), self.entries("sizes")
        return [
            axis
            for axis, (direction, size) in enumerate(zip(directions, sizes, strict=False))
            if len(sizes) > 3 and direction.lower() == "none" and size == "1"
        ]

    def without(self, axes: list[int]) -> NrrdHeader:
        """The same header without some axes of one voxel."""
        fields = dict(self.fields)
        for name in _PER_AXIS:
            if name in fields:
                kept = [entry for axis, entry in enumerate(self.entries(name)) if axis not in axes]
                fields[name] = " ".join(kept)
        fields["dimension"] = str(len(self.entries("sizes")) - len(axes))
        return NrrdHeader(self.magic, fields, self.listed)

    def text(self, data: str, encoding: str) -> str:
        """The header as it stands in a file of its own, with its voxels in the file `data`."""
        own = ("data file", "datafile", "encoding", "line skip", "lineskip", "byte skip", "byteskip")
        # NRRD wants "dimension" before what depends on it, and ITK "space" before "space directions".
        first = ("type", "dimension", "space", "space dimension", "sizes")
        names = sorted((name for name in self.fields if name not in own), key=lambda name: name not in first)
        lines = [self.magic, *(f"{name}: {self.fields[name]}" for name in names)]
        return "\n".join([*lines, f"encoding: {encoding}", f"data file: {data}", ""])


def parse(stream) -> NrrdHeader:
    """Read a header; the stream stands at the first voxel afterwards, where they follow."""
    fields: dict[str, str] = {}
    listed: list[str] = []
    lines = text_header.lines(stream)
    magic = next(lines, "")
    for line in lines:
        if not line.strip():
            break
        if fields.get("data file", fields.get("datafile", "")).split()[:1] == ["LIST"]:
            listed.append(line.strip())
            continue
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#") and not value.startswith("="):
            fields[key.strip().lower()] = value.strip()
    return NrrdHeader(magic, fields, tuple(listed))
