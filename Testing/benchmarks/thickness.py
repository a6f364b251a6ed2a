"""The slice thickness estimated from thin CT made thick, against the true one.

``python -m Testing.benchmarks.thickness THIN [THIN ...]``
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.inspection.thickness_estimate import estimate_thickness
from ThickToThinSRLib.io.reading import read_input

PROTOCOLS = (
    (5, 5, "box"),
    (3, 3, "box"),
    (5, 2.5, "box"),
    (3, 2, "box"),
    (6.25, 3.125, "box"),
    (4, 5, "box"),
    (5, 5, "gaussian"),
    (5, 2.5, "gaussian"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("thin", nargs="+", type=Path)
    for path in parser.parse_args().thin:
        thin = replace(read_input(path), slice_axis=2, thickness=None)
        for thickness, spacing, profile in PROTOCOLS:
            thick = simulate(thin, Acquisition(thickness, spacing, profile), axis=2)
            found = estimate_thickness(thick, 2)
            print(f"{path.name}: {thickness:g} mm every {spacing:g} mm, {profile}: found {found}", flush=True)


if __name__ == "__main__":
    main()
