"""Whether prepared data are RPLHR-CT, whose published numbers hold for its own test split alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from .archives import RELEASED_COUNTS
from .cases import INDEX

# Facts of the release, with a margin for rounding.
_FACTOR = 5
_SIDE = 512
_PIXELS_MM = (0.60, 0.80)
_THIN_SLICES = (191, 396)
_SPACINGS_MM = (("thick", 5.0), ("thin", 1.0))
_SCALES = "intensity [0, 1]"


def is_rplhr_ct(folder: Path) -> bool:
    """Whether the index of a folder describes RPLHR-CT as released.

    The release has no checksums, so it is recognised by its numbers of cases in each split, and by the sizes,
    spacings and intensity scale of all its scans. Data that are not prepared have no index and are not
    recognised.

    Parameters
    ----------
    folder : Path
        A data set that exists.
    """
    path = folder / INDEX
    if not path.is_file():
        return False
    index = json.loads(path.read_text(encoding="utf-8"))
    cases = index["cases"]
    counts = Counter(case["split"] for case in cases)
    return index["factor"] == _FACTOR and counts == RELEASED_COUNTS and all(map(_is_one_of_it, cases))


def _is_one_of_it(case: dict) -> bool:
    slices, *sides = case["thin"]["shape"]
    pixels = case["thin"]["spacing"][:2]
    return (
        case["scales"] == _SCALES
        and sides == [_SIDE, _SIDE]
        and _THIN_SLICES[0] <= slices <= _THIN_SLICES[1]
        and all(_PIXELS_MM[0] <= pixel <= _PIXELS_MM[1] for pixel in pixels)
        and all(abs(case[kind]["spacing"][2] - spacing) < 0.01 for kind, spacing in _SPACINGS_MM)
    )
