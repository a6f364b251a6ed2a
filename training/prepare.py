"""Prepare a data set for training: check its pairs and write them as arrays that need no unpacking.

::

    python -m training.prepare archives DOWNLOADS OUT     the zip archives of RPLHR-CT (Zenodo 17239183)
    python -m training.prepare folder DATA OUT            pairs in the RPLHR-CT or CTH-Net layout; cases may
                                                          be folders of DICOM files
    python -m training.prepare pseudo OUT THIN [THIN ...] thick slices simulated from thin scans
    python -m training.prepare lookalike OUT              a tiny RPLHR-CT look-alike from the thorax phantom
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.intensity import detect_intensity, to_hu
from ThickToThinSRLib.io.reading import read_input

from .command import run
from .data.archives import RELEASED_COUNTS, unpack_archives
from .data.arrays import prepare_cases, write_index, write_pair
from .data.cases import INDEX, find_cases, stem
from .data.lookalike import write_lookalike
from .data.pseudo import pseudo_pair


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    return run(lambda: options.work(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="training.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, work in (("archives", _archives), ("folder", _folder)):
        command = commands.add_parser(name)
        command.add_argument("source", type=Path)
        command.add_argument("output", type=Path)
        command.add_argument("--factor", type=int, default=5, help="upsampling factor (default 5)")
        command.add_argument(
            "--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)"
        )
        command.add_argument("--skip-bad", action="store_true", help="leave out cases that fail the checks")
        command.set_defaults(work=work)
        if name == "archives":
            command.add_argument(
                "--any-count", action="store_true", help="accept any number of cases, not only 100 / 50 / 100"
            )
            command.add_argument(
                "--keep", action="store_true", help="keep the unpacked files as well as the arrays"
            )
    command = commands.add_parser("pseudo")
    command.add_argument("output", type=Path)
    command.add_argument("thin", type=Path, nargs="+")
    command.add_argument(
        "--val", nargs="*", default=[], metavar="NAME", help="names of the scans for validation"
    )
    command.add_argument(
        "--test", nargs="*", default=[], metavar="NAME", help="names of the scans to test on"
    )
    command.add_argument("--factor", type=int, default=5)
    command.set_defaults(work=_pseudo)
    command = commands.add_parser("lookalike")
    command.add_argument("output", type=Path)
    command.add_argument("--cases", type=int, nargs=3, default=(2, 1, 2), metavar=("TRAIN", "VAL", "TEST"))
    command.add_argument("--side", type=int, default=128, help="rows and columns of a slice (default 128)")
    command.add_argument("--thick-slices", type=int, default=9)
    command.set_defaults(work=_lookalike)
    return parser


def _archives(options) -> None:
    unpacked = options.output / "unpacked"
    unpack_archives(options.source, unpacked, None if options.any_count else RELEASED_COUNTS)
    _prepare(unpacked, options, f"archives of {options.source}")
    if not options.keep:
        shutil.rmtree(unpacked)


def _folder(options) -> None:
    if options.output.resolve() == options.source.resolve():
        raise UserError(f"{options.output}: holds the data set itself; give another folder for the arrays")
    _prepare(options.source, options, str(options.source))


def _prepare(source: Path, options, origin: str) -> None:
    layout, cases = find_cases(source)
    if layout == "prepared":
        raise UserError(f"{source}: is already prepared")
    print(f"{source}: layout {layout}, {len(cases)} cases")
    prepare_cases(cases, options.output, options.factor, origin, options.workers, options.skip_bad)


def _pseudo(options) -> None:
    names = [stem(path) for path in options.thin]
    _check_names(names, options.val, options.test)
    if (options.output / INDEX).exists():
        raise UserError(f"{options.output}: already holds prepared data; choose another folder")
    options.output.mkdir(parents=True, exist_ok=True)
    entries = []
    for name, path in zip(names, options.thin, strict=True):
        split = "val" if name in options.val else "test" if name in options.test else "train"
        scan = read_input(path)
        if detect_intensity(scan.voxels) == "unit":
            scan = replace(scan, voxels=to_hu(scan.voxels))
        pair = pseudo_pair(scan, options.factor)
        entries.append(write_pair(options.output, name, split, pair, options.factor))
        print(f"{split} {name}: {pair.thick.voxels.shape[0]} thick slices every {pair.thick.spacing[2]:g} mm")
    write_index(options.output, entries, options.factor, "pseudo pairs of thin scans")


def _check_names(names: list[str], val: list[str], test: list[str]) -> None:
    """Refuse unknown scans, scans in two splits, and scans of the same name."""
    for name in [*val, *test]:
        if name not in names:
            raise UserError(f"{name}: not among the scans given: {', '.join(names)}")
    both = sorted({*val} & {*test})
    if both:
        raise UserError(f"{', '.join(both)}: given both to --val and to --test")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{', '.join(twice)}: more than one scan has this name; rename the files or folders")


def _lookalike(options) -> None:
    cases, side, slices = options.cases, options.side, options.thick_slices
    if min(cases) < 0 or not sum(cases) or side < 16 or slices < 3:
        raise UserError("give at least one case, a side of 16 pixels and 3 thick slices")
    write_lookalike(options.output, tuple(cases), side, slices)


if __name__ == "__main__":
    sys.exit(main())
