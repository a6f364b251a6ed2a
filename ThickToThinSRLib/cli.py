"""The command line ``thicktothin``: what can be asked for, and how it ends.

Exit codes: 0 done, 2 bad usage or bad input (one line on standard error), 3 cancelled, 1 unexpected (with a
traceback). The work behind each command is in :mod:`~ThickToThinSRLib.commands`.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from . import __version__, commands
from .acquisition import PROFILES
from .errors import Cancelled, UserError
from .intensity import INTENSITIES
from .methods import METHODS, PRECISIONS
from .sliding_window import TILINGS
from .worker import (
    EXIT_BAD_INPUT,
    EXIT_CANCELLED,
    EXIT_DONE,
    EXIT_UNEXPECTED,
    REPORTERS,
    Watch,
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of printing the whole usage."""

    def error(self, message: str):
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="thicktothin",
        description="Turn thick-slice CT into thin-slice CT. For research; not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"thicktothin {__version__}")
    parser.set_defaults(progress="bar", cancel_file=None)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (
        _add_enhance,
        _add_import,
        _add_models,
        _add_simulate,
        _add_metrics,
        _add_compare,
        _add_phantom,
    ):
        add(subparsers)
    return parser


def _add_enhance(subparsers) -> None:
    methods = "\n".join(f"  {method.name:14} {method.description}" for method in METHODS.values())
    parser = subparsers.add_parser(
        "enhance",
        help="make a thin-slice volume from a thick-slice one",
        description="Make a thin-slice volume from a thick-slice CT.",
        epilog=f"methods:\n{methods}\n\nexample:\n  thicktothin enhance chest_5mm.nii.gz chest_1mm.nii.gz",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input", type=Path, help="volume file (.nii .nii.gz .nrrd .mha) or folder of DICOM files"
    )
    parser.add_argument("output", type=Path, help="volume file to write; a .provenance.json goes beside it")
    parser.add_argument(
        "--method", choices=METHODS, help="how (default: what the weights imply, else consistent)"
    )
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights (.safetensors)")
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--spacing", type=float, metavar="MM", help="distance of the new slices (default 1 mm)"
    )
    target.add_argument(
        "--factor", type=float, metavar="N", help="how many times finer, instead of --spacing"
    )
    parser.add_argument(
        "--thickness",
        type=float,
        metavar="MM",
        help="slice thickness of the input (default: DICOM's, else its spacing)",
    )
    parser.add_argument(
        "--axis",
        type=int,
        choices=(0, 1, 2),
        metavar="N",
        help="axis across the slices: 0, 1, 2 = i, j, k (default: found)",
    )
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder")
    parser.add_argument("--tiling", choices=TILINGS, default="seamless", help="how a network's windows lie")
    parser.add_argument(
        "--intensity", choices=INTENSITIES, default="auto", help="scale of the input's values"
    )
    parser.add_argument(
        "--consistency",
        choices=("on", "off"),
        default="on",
        help="make a network's result agree with the input in HU",
    )
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="arithmetic of a network")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.add_argument(
        "--progress", choices=REPORTERS, default="bar", help="bar (people), json (programs) or none"
    )
    parser.add_argument("--cancel-file", type=Path, metavar="F", help="stop when this file appears")
    parser.set_defaults(run=commands.enhance)


def _add_import(subparsers) -> None:
    parser = subparsers.add_parser(
        "import-checkpoint", help="convert weights published by the authors (.pkl) to .safetensors, safely"
    )
    parser.add_argument(
        "source", type=Path, metavar="AUTHORS.pkl", help="the authors' file; nothing in it is run"
    )
    parser.add_argument("target", type=Path, metavar="OUT.safetensors", help="file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.set_defaults(run=commands.import_checkpoint)


def _add_models(subparsers) -> None:
    parser = subparsers.add_parser("models", help="list the weights that are there")
    parser.set_defaults(run=commands.models)


def _add_simulate(subparsers) -> None:
    parser = subparsers.add_parser("simulate", help="make thick slices from thin ones, as a scanner would")
    parser.add_argument("thin", type=Path, help="thin-slice volume")
    parser.add_argument("thick", type=Path, help="volume file to write")
    parser.add_argument(
        "--thickness", type=float, required=True, metavar="MM", help="thickness of the resulting slices"
    )
    parser.add_argument(
        "--spacing", type=float, required=True, metavar="MM", help="distance of the resulting slices"
    )
    parser.add_argument("--profile", choices=PROFILES, default="box", help="shape of the slice profile")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.set_defaults(run=commands.simulate)


def _add_metrics(subparsers) -> None:
    parser = subparsers.add_parser("metrics", help="measure an estimate against a reference")
    parser.add_argument("reference", type=Path, help="true thin-slice volume")
    parser.add_argument("estimate", type=Path, help="volume to judge, on the same grid")
    parser.add_argument(
        "--thick", type=Path, metavar="FILE", help="the thick input, for consistency and distances"
    )
    parser.add_argument(
        "--official",
        action="store_true",
        help="PSNR and SSIM by the RPLHR-CT protocol (first and last 5 slices dropped)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=commands.metrics)


def _add_compare(subparsers) -> None:
    parser = subparsers.add_parser("compare", help="picture of volumes side by side in three planes")
    parser.add_argument("volumes", type=Path, nargs="+", metavar="VOLUME", help="volume files of one patient")
    parser.add_argument("--output", type=Path, required=True, metavar="PNG", help="picture to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    parser.set_defaults(run=commands.compare)


def _add_phantom(subparsers) -> None:
    parser = subparsers.add_parser("phantom", help="write the digital thorax phantom")
    parser.add_argument("output", type=Path, metavar="OUT", help="volume file to write")
    parser.add_argument("--spacing", type=float, default=1.0, metavar="MM", help="distance of the slices")
    parser.add_argument(
        "--thickness", type=float, metavar="MM", help="their thickness (default: the spacing)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another anatomy for every number")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.set_defaults(run=commands.phantom)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    reporter = REPORTERS[options.progress]()
    try:
        with Watch(options.cancel_file, parent=options.progress == "json") as watch:
            options.run(options, reporter, watch.cancelled)
    except UserError as error:
        reporter.error(" ".join(str(error).split()))
        return EXIT_BAD_INPUT
    except (Cancelled, KeyboardInterrupt):
        reporter.error("cancelled; nothing was written")
        return EXIT_CANCELLED
    except Exception as error:
        traceback.print_exc()
        reporter.error(f"unexpected {type(error).__name__}: {error}")
        return EXIT_UNEXPECTED
    return EXIT_DONE
