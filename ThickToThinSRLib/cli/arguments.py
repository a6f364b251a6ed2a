"""The commands, options and help texts of the command line ``thicktothin``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from .. import __version__
from ..methods.registry import METHODS
from ..settings import OPTIONS, Option, Settings, flag
from ..worker.protocol import EXIT_BAD_INPUT
from ..worker.reporters import REPORTERS
from . import commands

_PROFILES = ("box", "gaussian", "trapezoid")


def _path(text: str) -> Path:
    # Path("") would be the current folder.
    if not text:
        raise argparse.ArgumentTypeError("an empty name")
    return Path(text)


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line instead of printing the whole usage."""

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
    parser.set_defaults(progress="bar", cancel_file=None, grace=1.0)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (
        _add_enhance,
        _add_enhance_many,
        _add_info,
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
      result with slices every 1 mm, made with the weights that come with the program
  thicktothin enhance DICOM_FOLDER chest_1mm.nrrd --thickness 5
      input: a DICOM series, with slices 5 mm thick
  thicktothin enhance DICOM_FOLDER DICOM_FOLDER_1MM
      input: a DICOM series; result: a derived DICOM series
  thicktothin enhance chest_5mm.nii.gz chest_1mm.nii.gz --checkpoint weights.safetensors
      method: the one that uses these weights
"""


def _add_enhance(subparsers) -> None:
    parser = subparsers.add_parser(
        "enhance",
        help="make a thin-slice volume from a thick-slice one",
        description="Make a thin-slice volume from a thick-slice CT. INPUT is not changed.",
        epilog=f"methods:\n{_method_list()}\n\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input",
        type=_path,
        metavar="INPUT",
        help="the thick slices: a file (.nii.gz .nii .hdr .nrrd .nhdr .mha .mhd) or a folder of DICOM files",
    )
    parser.add_argument(
        "output",
        type=_path,
        metavar="OUTPUT",
        help="file to write (.nii.gz .nii .nrrd .mha) or, if INPUT is DICOM, a new folder for a derived "
        "series; a provenance file is written beside it",
    )
    groups = _add_settings(parser)
    groups["result"].add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    groups["input"].add_argument(
        "--series",
        metavar="UID",
        help="the series to read, if a DICOM folder holds several (without this option they are listed)",
    )
    # For the workers of enhance-many, which skips inputs that are thin already.
    parser.add_argument("--refuse-thin", action="store_true", help=argparse.SUPPRESS)
    _add_running_options(parser)
    parser.set_defaults(run=commands.enhance)


def _add_running_options(parser) -> None:
    running = parser.add_argument_group("running")
    running.add_argument(
        "--progress",
        choices=REPORTERS,
        default="bar",
        help="progress report: bar for people (default), json for programs, or none",
    )
    running.add_argument(
        "--cancel-file", type=_path, metavar="FILE", help="stop without a result when this file appears"
    )


def _add_enhance_many(subparsers) -> None:
    parser = subparsers.add_parser(
        "enhance-many",
        help="make thin-slice volumes from all volumes and DICOM series in a folder",
        description="Make thin-slice volumes from all volume files and DICOM series in a folder and its "
        "subfolders. Results have the names of the inputs; existing results are not made again. A failure is "
        "reported and does not stop the rest. Several machines can share the work (torchrun, job arrays).",
        epilog=f"methods:\n{_method_list()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=_path, metavar="INPUT_FOLDER", help="folder with the thick slices")
    parser.add_argument("output", type=_path, metavar="OUTPUT_FOLDER", help="folder for the results")
    groups = _add_settings(parser, many=True)
    groups["result"].add_argument("--overwrite", action="store_true", help="replace results that exist")
    groups["result"].add_argument(
        "--already-thin",
        choices=("skip", "copy", "fail"),
        default="skip",
        help="what becomes of inputs whose slices are as thin as the result's: skip (default), copy, or fail",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, as info does, and write nothing"
    )
    _add_running_options(parser)
    # There is a worker to end first.
    parser.set_defaults(run=commands.enhance_many, grace=4.0)


def _add_info(subparsers) -> None:
    parser = _command(
        subparsers,
        "info",
        "say what a scan or a folder of scans holds, and what each method would make of it",
    )
    parser.add_argument(
        "input", type=_path, metavar="PATH", help="a volume file, a DICOM file, or a folder of either"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_settings(parser, many=True)
    parser.set_defaults(run=commands.info)


def _method_list() -> str:
    """The methods' names and descriptions, wrapped."""
    wrapped = (
        textwrap.fill(method.description, 96, initial_indent=f"  {name:16}", subsequent_indent=" " * 18)
        for name, method in METHODS.items()
    )
    return "\n".join(wrapped)


_GROUPS = {
    "result": "the new slices",
    "input": "the input, if its file lacks this information or is wrong",
    "network": "networks",
    "adaptation": "methods that adapt their network to the scan",
}
# argparse refuses to take both options of a pair.
_EXCLUSIVE = (("spacing", "factor"), ("minutes", "epochs"))


def _add_settings(parser: argparse.ArgumentParser, many: bool = False) -> dict:
    """Add the options of :class:`Settings`; returns the groups of options by name."""
    groups = {name: parser.add_argument_group(title) for name, title in _GROUPS.items()}
    exclusive = {pair: groups[OPTIONS[pair[0]].group].add_mutually_exclusive_group() for pair in _EXCLUSIVE}
    for name, option in OPTIONS.items():
        if many and not option.for_many:
            continue
        pair = next((pair for pair in _EXCLUSIVE if name in pair), None)
        _add_option(exclusive[pair] if pair else groups[option.group], name, option)
    return groups


def _add_option(group, name: str, option: Option) -> None:
    choices = tuple(METHODS) if name == "method" else option.choices
    default = Settings.__dataclass_fields__[name].default
    values = {"choices": [option.parse(choice) for choice in choices]} if choices else {}
    if choices and option.parse is not str:
        # argparse would show the parsed values instead of the texts.
        values["metavar"] = "{" + ",".join(choices) + "}"
    if option.metavar is not None:
        values["metavar"] = option.metavar
    help_text = option.help.replace("{methods}", ", ".join(METHODS))
    if option.parse is bool:
        group.add_argument(flag(name), dest=name, action="store_true", help=help_text)
        return
    group.add_argument(
        flag(name), dest=name, type=_parser_of(name, option), default=default, help=help_text, **values
    )


def _parser_of(name: str, option: Option):
    """A function that parses the text of an option and raises argparse's type of error."""

    def parse(text: str):
        try:
            return option.parse(text)
        except (ValueError, KeyError) as error:
            raise argparse.ArgumentTypeError(_parse_error(name, text, option, error)) from None

    return parse


def _parse_error(name: str, text: str, option: Option, error: Exception) -> str:
    if name == "thickness":
        return f"{text!r} is neither a number of mm nor `estimate`"
    if option.choices is not None:
        return f"invalid choice: {text!r} (choose from {', '.join(option.choices)})"
    if option.parse in (int, float):
        return f"invalid {option.parse.__name__} value: {text!r}"
    return str(error)


def _add_import(subparsers) -> None:
    parser = _command(
        subparsers,
        "import-checkpoint",
        "convert weights published by the authors of TVSRN, CTH-Net or SAINT to .safetensors, safely",
    )
    parser.add_argument(
        "source", type=_path, metavar="AUTHORS_FILE", help="the authors' file; no code in it is executed"
    )
    parser.add_argument("target", type=_path, metavar="OUT.safetensors", help="file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    _add_running_options(parser)
    parser.set_defaults(run=commands.import_checkpoint)


def _add_models(subparsers) -> None:
    parser = _command(subparsers, "models", "list the weights that come with the program, and add others")
    parser.add_argument(
        "--add", type=_path, metavar="FILE", help="check this weights file and add a copy of it"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace added weights that have the same name"
    )
    parser.set_defaults(run=commands.models)


def _add_simulate(subparsers) -> None:
    parser = _command(subparsers, "simulate", "make thick slices from thin ones, as a scanner would")
    parser.add_argument("thin", type=_path, metavar="THIN", help="thin slices: file or DICOM folder")
    parser.add_argument("thick", type=_path, metavar="THICK", help="volume file to write")
    parser.add_argument(
        "--thickness", type=float, required=True, metavar="MM", help="thickness of the resulting slices"
    )
    parser.add_argument(
        "--spacing", type=float, required=True, metavar="MM", help="spacing of the resulting slices"
    )
    parser.add_argument("--profile", choices=_PROFILES, default="box", help="slice profile (default box)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    _add_option(parser, "nifti", OPTIONS["nifti"])
    parser.set_defaults(run=commands.simulate)


def _add_metrics(subparsers) -> None:
    parser = _command(subparsers, "metrics", "measure how much a result differs from the truth")
    parser.add_argument("reference", type=_path, metavar="REFERENCE", help="the true thin slices")
    parser.add_argument("estimate", type=_path, metavar="ESTIMATE", help="the result, on the same grid")
    parser.add_argument(
        "--thick",
        type=_path,
        metavar="FILE",
        help="the thick input, for consistency and for errors by distance from the thick slices",
    )
    parser.add_argument(
        "--official",
        action="store_true",
        help="PSNR and SSIM by the RPLHR-CT protocol (first and last 5 slices dropped)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_option(parser, "nifti", OPTIONS["nifti"])
    parser.set_defaults(run=commands.metrics)


def _add_compare(subparsers) -> None:
    parser = _command(subparsers, "compare", "make a picture of volumes side by side in three planes")
    parser.add_argument(
        "volumes", type=_path, nargs="+", metavar="VOLUME", help="volume files of one patient"
    )
    parser.add_argument("--output", type=_path, required=True, metavar="PNG", help="picture to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    _add_option(parser, "nifti", OPTIONS["nifti"])
    parser.set_defaults(run=commands.compare)


def _add_phantom(subparsers) -> None:
    parser = _command(subparsers, "phantom", "write the digital thorax phantom")
    parser.add_argument("output", type=_path, metavar="OUT", help="volume file to write")
    parser.add_argument(
        "--spacing", type=float, default=1.0, metavar="MM", help="slice spacing (default 1 mm)"
    )
    parser.add_argument(
        "--thickness", type=float, metavar="MM", help="slice thickness (default: the spacing)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="number of the anatomy: each is different (default 0)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    parser.set_defaults(run=commands.phantom)
