"""The downloaded archives of RPLHR-CT (Zenodo record 17239183): verification and unpacking."""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.replacing import replacing

RELEASED_COUNTS = {"train": 100, "val": 50, "test": 100}
_MEMBER = re.compile(r"(?:^|/)(?:(train|val|test)/)?(1mm|5mm)/([^/]+\.nii(?:\.gz)?)$", re.IGNORECASE)


def unpack_archives(
    folder: Path, target: Path, expected: dict[str, int] | None, say: Callable[[str], None] = print
) -> None:
    """Verify every zip archive of `folder` and unpack it into ``target/{split}/{1mm,5mm}``.

    Files that exist already with the right length and checksum are not unpacked again.

    Parameters
    ----------
    folder, target : Path
        Folder of the archives, and folder of the unpacked files.
    expected : dict, optional
        Number of cases that each split must have (:data:`RELEASED_COUNTS`); None: any number.
    say : callable
        Takes a line for each file.

    Raises
    ------
    UserError
        If there is no archive, one is truncated or damaged (the message names archive and file), the number
        of cases is wrong, or the disk has too little free space.
    """
    archives = sorted(folder.glob("*.zip"))
    if not archives:
        raise UserError(f"{folder}: no zip archive here; download the three of Zenodo record 17239183")
    members = [member for path in archives for member in _members(path)]
    places = {member.place for member in members}
    for split, number in (expected or {}).items():
        for kind in ("1mm", "5mm"):
            count = sum(place.startswith(f"{split}/{kind}/") for place in places)
            if count != number:
                raise UserError(
                    f"{folder}: {count} {kind} files for {split}, not {number}; is an archive missing? "
                    "(--any-count accepts any number)"
                )
    _check_free_space(target, sum(m.info.file_size for m in members if not (target / m.place).is_file()))
    for number, member in enumerate(members, start=1):
        _extract(member, target / member.place)
        say(f"unpacked {number}/{len(members)} {member.place}")


@dataclass(frozen=True)
class _Member:
    """A scan in an archive, and its place ``{split}/{1mm,5mm}/NAME`` in the layout."""

    archive: Path
    info: zipfile.ZipInfo
    place: str


def _members(path: Path) -> list[_Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: damaged or incomplete archive ({error}); download it again") from error
    members = []
    for info in infos:
        match = _MEMBER.search(info.filename)
        if match is None or "__MACOSX" in info.filename:
            continue
        split = (match[1] or next((s for s in RELEASED_COUNTS if s in path.stem.lower()), "")).lower()
        if not split:
            raise UserError(f"{path}: neither its name nor {info.filename} says train, val or test")
        members.append(_Member(path, info, f"{split}/{match[2].lower()}/{match[3]}"))
    if not members:
        raise UserError(f"{path}: holds no {{1mm,5mm}}/*.nii.gz; is it an archive of RPLHR-CT?")
    return members


def _extract(member: _Member, target: Path) -> None:
    path, info = member.archive, member.info
    if target.is_file() and target.stat().st_size == info.file_size and _crc(target) == info.CRC:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, target.suffix) as temporary:
        try:
            # Reading a member to its end verifies its checksum.
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(info) as source,
                open(temporary, "wb") as sink,
            ):
                shutil.copyfileobj(source, sink, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(f"{path}: {info.filename} is damaged ({error}); download it again") from error


def _crc(path: Path) -> int:
    value = 0
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            value = zlib.crc32(chunk, value)
    return value


def _check_free_space(target: Path, needed: int) -> None:
    parent = next(folder for folder in [target, *target.parents] if folder.exists())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise UserError(f"{target}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
