"""What the command line ``thicktothin`` can be asked for: its commands, options and help."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from .. import __version__
from ..acquisition import PROFILES
from ..inference.sliding_window import TILINGS
from ..intensity import INTENSITIES
from ..methods.registry import ADAPTED_NETWORKS, METHODS, PLANES, PRECISIONS
from ..worker.reporters import EXIT_BAD_INPUT, REPORTERS
from . import commands


def _path(text: str) -> Path:
    # Path("") would be the current folder.
    if not text:
        raise argparse.ArgumentTypeError("an empty name")
    return Path(text)


def _thickness(text: str) -> float | str:
    try:
        return text if text == "estimate" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of mm nor `estimate`") from None


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of printing the whole usage."""

    def error(self, message: str):
        print(f"{self.prog}: {' '.join(message.splitlines())} (see {self.prog} --help)", file=sys.stderr)
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
        _add_enhance_many,
        _add_import,
        _add_models,
        _add_simulate,
        _add_metrics,
        _add_compare,
        _add_phantom,
    ):
        add(subparsers)
    return parser


def _command(subparsers, name: str, purpose: str) -> argparse.ArgumentParser:
    return subparsers.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")


_EXAMPLES = """\
examples:
  thicktothin enhance chest_5mm.nii.gz chest_1mm.nii.gz
      slices every 1 mm, by the weights that come with the program
  thicktothin enhance DICOM_FOLDER chest_1mm.nrrd --thickness 5
      a series as it came from the scanner, with slices 5 mm thick
  thicktothin enhance DICOM_FOLDER DICOM_FOLDER_1MM
      a series as it came from the scanner to a derived series
  thicktothin enhance chest_5mm.nii.gz chest_1mm.nii.gz --checkpoint weights.safetensors
      by the network that the weights belong to
"""


def _add_enhance(subparsers) -> None:
    parser = subparsers.add_parser(
        "enhance",
        help="make a thin-slice volume from a thick-slice one",
        description="Make a thin-slice volume from a thick-slice CT. INPUT is left as it is.",
        epilog=f"methods:\n{_method_list()}\n\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input",
        type=_path,
        metavar="INPUT",
        help="the thick slices: a file (.nii.gz .nii .nrrd .mha) or a folder of DICOM files",
    )
    parser.add_argument(
        "output",
        type=_path,
        metavar="OUTPUT",
        help="file to write (.nii.gz .nii .nrrd .mha) or, if INPUT is DICOM, a new folder for a derived "
        "series; how it was made is written beside it",
    )
    _add_result_options(parser.add_argument_group("the new slices"))
    given = parser.add_argument_group("the input, where its file does not tell or tells wrong")
    _add_input_options(given)
    given.add_argument(
        "--series", metavar="UID", help="which series of a DICOM folder that holds several (they are listed)"
    )
    _add_network_options(parser.add_argument_group("networks"))
    adapting = parser.add_argument_group("methods that adapt their network to the scan")
    _add_adaptation_options(adapting)
    adapting.add_argument(
        "--save-weights", type=_path, metavar="FILE", help="keep the adapted weights (.safetensors)"
    )
    _add_running_options(parser)
    parser.set_defaults(run=commands.enhance)


def _add_running_options(parser) -> None:
    running = parser.add_argument_group("running")
    running.add_argument(
        "--progress",
        choices=REPORTERS,
        default="bar",
        help="how to report: bar for people (default), json for programs, or none",
    )
    running.add_argument(
        "--cancel-file", type=_path, metavar="FILE", help="stop, writing nothing, when this file appears"
    )


def _add_enhance_many(subparsers) -> None:
    parser = subparsers.add_parser(
        "enhance-many",
        help="make thin-slice volumes from all volumes and DICOM series of a folder",
        description="Make thin-slice volumes from all volume files and DICOM series of a folder and its "
        "subfolders. Results keep the names of the inputs; what is there already is not made again. One that "
        "fails is named and does not stop the rest. Several machines share the work by torchrun or a job "
        "array.",
        epilog=f"methods:\n{_method_list()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=_path, metavar="INPUT_FOLDER", help="folder with the thick slices")
    parser.add_argument("output", type=_path, metavar="OUTPUT_FOLDER", help="folder for the results")
    _add_result_options(parser.add_argument_group("the new slices"))
    _add_input_options(parser.add_argument_group("the inputs, where a file does not tell or tells wrong"))
    _add_network_options(parser.add_argument_group("networks"))
    _add_adaptation_options(parser.add_argument_group("methods that adapt their network to the scan"))
    _add_running_options(parser)
    parser.set_defaults(run=commands.enhance_many, save_weights=None)


def _method_list() -> str:
    """The methods' names and descriptions, wrapped."""
    wrapped = (
        textwrap.fill(method.description, 96, initial_indent=f"  {name:16}", subsequent_indent=" " * 18)
        for name, method in METHODS.items()
    )
    return "\n".join(wrapped)


def _add_result_options(group) -> None:
    target = group.add_mutually_exclusive_group()
    target.add_argument(
        "--spacing",
        type=float,
        metavar="MM",
        help="distance from slice to slice (default: what the network makes, else 1 mm)",
    )
    target.add_argument(
        "--factor", type=float, metavar="N", help="instead of --spacing: how many times finer than INPUT"
    )
    group.add_argument(
        "--method",
        choices=METHODS,
        metavar="NAME",
        help=f"how to make them: {', '.join(METHODS)} (default: the one that --checkpoint belongs to, else "
        "universal); described below",
    )
    group.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")


def _add_input_options(group) -> None:
    group.add_argument(
        "--thickness",
        type=_thickness,
        metavar="MM",
        help="slice thickness; larger than the spacing where slices overlap; estimate: what the scan itself "
        "shows, to a fifth or so (default: what DICOM says, else the spacing)",
    )
    group.add_argument(
        "--axis",
        type=int,
        choices=(0, 1, 2),
        metavar="N",
        help="the image axis from slice to slice: 0 = i, 1 = j, 2 = k (default: the one whose spacing "
        "stands out)",
    )
    group.add_argument(
        "--intensity",
        choices=INTENSITIES,
        default="auto",
        help="hu: Hounsfield units; unit: 0 to 1, as in RPLHR-CT (default: told from the values)",
    )


def _add_network_options(group) -> None:
    group.add_argument("--checkpoint", type=_path, metavar="FILE", help="weights (.safetensors)")
    group.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="where to compute: auto (a CUDA GPU if there is one), cpu, cuda, cuda:N, mps",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="auto: half precision where the device has it and it changes next to nothing (default)",
    )
    group.add_argument(
        "--consistency",
        choices=("on", "off"),
        default="on",
        help="on: averaged over the slice thickness, the result gives INPUT's slices again (default)",
    )
    group.add_argument(
        "--tiling",
        choices=TILINGS,
        default="seamless",
        help="seamless: every slice, no borders (default); authors: as in the published code, to compare",
    )


def _add_adaptation_options(group) -> None:
    budget = group.add_mutually_exclusive_group()
    budget.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="how long to adapt; 0 (default of universal and sr4zct, whose weights come with the program): "
        "use the weights as they are",
    )
    budget.add_argument(
        "--epochs", type=int, metavar="N", help="instead of --minutes: passes over the scan's slices"
    )
    group.add_argument(
        "--planes", choices=PLANES, help="the result of which planes to give (default: both, averaged)"
    )
    group.add_argument("--network", choices=ADAPTED_NETWORKS, help="which network to adapt (default: unet)")


def _add_import(subparsers) -> None:
    parser = _command(
        subparsers,
        "import-checkpoint",
        "convert weights published by the authors of TVSRN or CTH-Net (.pkl) to .safetensors, safely",
    )
    parser.add_argument(
        "source", type=_path, metavar="AUTHORS.pkl", help="the authors' file; nothing in it is run"
    )
    parser.add_argument("target", type=_path, metavar="OUT.safetensors", help="file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    _add_running_options(parser)
    parser.set_defaults(run=commands.import_checkpoint)


def _add_models(subparsers) -> None:
    parser = _command(subparsers, "models", "list the weights that come with the program, and add others")
    parser.add_argument("--add", type=_path, metavar="FILE", help="keep a copy of this weights file, checked")
    parser.add_argument("--overwrite", action="store_true", help="replace one of its name added before")
    parser.set_defaults(run=commands.models)


def _add_simulate(subparsers) -> None:
    parser = _command(subparsers, "simulate", "make thick slices from thin ones, as a scanner would")
    parser.add_argument("thin", type=_path, metavar="THIN", help="thin slices: file or DICOM folder")
    parser.add_argument("thick", type=_path, metavar="THICK", help="volume file to write")
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
    parser = _command(subparsers, "metrics", "measure how far an estimate is from a reference")
    parser.add_argument("reference", type=_path, metavar="REFERENCE", help="the true thin slices")
    parser.add_argument("estimate", type=_path, metavar="ESTIMATE", help="volume to judge, on the same grid")
    parser.add_argument(
        "--thick", type=_path, metavar="FILE", help="the thick input, for consistency and distances"
    )
    parser.add_argument(
        "--official",
        action="store_true",
        help="PSNR and SSIM by the RPLHR-CT protocol (first and last 5 slices dropped)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=commands.metrics)


def _add_compare(subparsers) -> None:
    parser = _command(subparsers, "compare", "make a picture of volumes side by side in three planes")
    parser.add_argument(
        "volumes", type=_path, nargs="+", metavar="VOLUME", help="volume files of one patient"
    )
    parser.add_argument("--output", type=_path, required=True, metavar="PNG", help="picture to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    parser.set_defaults(run=commands.compare)


def _add_phantom(subparsers) -> None:
    parser = _command(subparsers, "phantom", "write the digital thorax phantom")
    parser.add_argument("output", type=_path, metavar="OUT", help="volume file to write")
    parser.add_argument(
        "--spacing", type=float, default=1.0, metavar="MM", help="distance of the slices (default 1 mm)"
    )
    parser.add_argument(
        "--thickness", type=float, metavar="MM", help="their thickness (default: the spacing)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another anatomy for every number (default 0)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.set_defaults(run=commands.phantom)
