"""What can be asked of an enhancement: every option declared once.

From the fields of :class:`Settings` come the arguments of the command line, those of the worker process, the
parameters of the Slicer module's Logic and what the provenance keeps of a request.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import UserError

DEFAULT_METHOD = "universal"
DEFAULT_SPACING = 1.0  # mm
INTENSITIES = ("auto", "hu", "unit")
TILINGS = ("seamless", "authors")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
NIFTI_FORMS = ("sform", "qform")
PLANES = ("both", "coronal", "sagittal")
ADAPTED_NETWORKS = ("unet", "msd")
NOISES = ("keep", "restore")
_ON_OFF = {"on": True, "off": False}


@dataclass(frozen=True)
class Option:
    """What is known of one option besides its name and default.

    Attributes
    ----------
    help : str
        For the command line.
    group : {"result", "input", "network", "adaptation"}
        Where it is listed.
    parse : callable
        Text of the command line to its value; raises ValueError. Of ``bool`` the option alone, without a
        text, says True.
    metavar : str, optional
        What stands for the value in the help.
    choices : tuple of str, optional
        The values it can have.
    methods : tuple of str, optional
        The methods that take it; all if None.
    in_result : bool
        Whether another value makes another result.
    for_many : bool
        Whether it makes sense for many inputs at once.
    """

    help: str
    group: str
    parse: Callable[[str], Any] = str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    in_result: bool = True
    for_many: bool = True


def _option(default: Any = None, **described: Any) -> Any:
    return field(default=default, metadata={"option": Option(**described)})


def _thickness(text: str) -> float | str:
    return text if text == "estimate" else float(text)


def _path(text: str) -> Path:
    if not text:  # Path("") would be the current folder
        raise ValueError("an empty name")
    return Path(text)


def _on_off(text: str) -> bool:
    return _ON_OFF[text]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an enhancement can be told; every default is what a first click should do.

    Raises
    ------
    UserError
        For a value that an option cannot have.
    """

    spacing: float | None = _option(
        help="distance from slice to slice (default: what the network makes, else 1 mm)",
        group="result",
        parse=float,
        metavar="MM",
    )
    factor: float | None = _option(
        help="instead of --spacing: how many times finer than INPUT",
        group="result",
        parse=float,
        metavar="N",
    )
    method: str | None = _option(
        help="how to make them: {methods} (default: the one that --checkpoint belongs to, else "
        f"{DEFAULT_METHOD}); described below",
        group="result",
        metavar="NAME",
    )
    noise: str = _option(
        "keep",
        help="restore: add synthetic noise, as strong as that of thin slices, for measures that count voxels "
        "below a threshold; averaged over the slice thickness it vanishes (default: keep)",
        group="result",
        choices=NOISES,
    )
    noise_seed: int = _option(
        0,
        help="with --noise restore: the same number gives the same noise (default 0)",
        group="result",
        parse=int,
        metavar="N",
    )
    uncertainty: Path | None = _option(
        help="write the expected absolute error of each voxel in HU to this volume file",
        group="result",
        parse=_path,
        metavar="FILE",
        methods=("consistent", "universal"),
        in_result=False,
        for_many=False,
    )
    thickness: float | str | None = _option(
        help="slice thickness; larger than the spacing where slices overlap; estimate: what the scan itself "
        "shows, to a fifth or so (default: what DICOM says, else the spacing)",
        group="input",
        parse=_thickness,
        metavar="MM",
    )
    axis: int | None = _option(
        help="the image axis from slice to slice: 0 = i, 1 = j, 2 = k (default: the one whose spacing "
        "stands out)",
        group="input",
        parse=int,
        metavar="N",
    )
    nifti: str | None = _option(
        help="where the two positions in a NIfTI file's header contradict each other: the one to believe",
        group="input",
        choices=NIFTI_FORMS,
    )
    untilt: bool = _option(
        False,
        help="DICOM slices of a tilted gantry: shift each to where it lies in the patient, do not refuse",
        group="input",
        parse=bool,
    )
    resample_uneven: bool = _option(
        False,
        help="DICOM slices at uneven distances: resample to even ones by their true positions, do not refuse",
        group="input",
        parse=bool,
    )
    intensity: str = _option(
        "auto",
        help="hu: Hounsfield units; unit: 0 to 1, as in RPLHR-CT (default: told from the values)",
        group="input",
        choices=INTENSITIES,
    )
    checkpoint: Path | None = _option(
        help="weights (.safetensors)", group="network", parse=_path, metavar="FILE"
    )
    device: str = _option(
        "auto",
        help="where to compute: auto (a CUDA GPU if there is one), cpu, cuda, cuda:N, mps",
        group="network",
        metavar="D",
        in_result=False,
    )
    precision: str = _option(
        "auto",
        help="auto: half precision where the device has it and it changes next to nothing (default)",
        group="network",
        choices=PRECISIONS,
    )
    consistency: bool = _option(
        True,
        help="on: averaging the result over the slice thickness reproduces INPUT's slices (default)",
        group="network",
        parse=_on_off,
        choices=tuple(_ON_OFF),
    )
    tiling: str = _option(
        "seamless",
        help="seamless: every slice, no borders (default); authors: as in the published code, to compare",
        group="network",
        choices=TILINGS,
    )
    minutes: float | None = _option(
        help="how long to adapt; 0 (default of universal and sr4zct, whose weights come with the program): "
        "use the weights as they are",
        group="adaptation",
        parse=float,
        metavar="M",
        methods=("universal", "sr4zct", "davsr"),
    )
    epochs: int | None = _option(
        help="instead of --minutes: passes over the scan's slices",
        group="adaptation",
        parse=int,
        metavar="N",
        methods=("sr4zct", "davsr"),
    )
    planes: str | None = _option(
        help="the result of which planes to give (default: both, averaged)",
        group="adaptation",
        choices=PLANES,
        methods=("sr4zct",),
    )
    network: str | None = _option(
        help="which network to adapt (default: unet)",
        group="adaptation",
        choices=ADAPTED_NETWORKS,
        methods=("sr4zct",),
    )
    save_weights: Path | None = _option(
        help="keep the adapted weights (.safetensors)",
        group="adaptation",
        parse=_path,
        metavar="FILE",
        methods=("sr4zct",),
        in_result=False,
        for_many=False,
    )

    def __post_init__(self):
        for name, option in OPTIONS.items():
            _check_value(name, getattr(self, name), option)
        for one, other in (("spacing", "factor"), ("minutes", "epochs")):
            if None not in (getattr(self, one), getattr(self, other)):
                raise UserError(f"give either {{{one}}} or {{{other}}}, not both", one, other)
        if self.noise_seed < 0:
            raise UserError(f"{{noise_seed}} must be 0 or larger, not {self.noise_seed}", "noise_seed")
        if self.save_weights is not None and self.save_weights.suffix != ".safetensors":
            raise UserError(f"{self.save_weights}: the name of a weights file must end in .safetensors")

    def given(self) -> dict[str, Any]:
        """The settings that are not the default ones."""
        return {
            name: getattr(self, name)
            for name in OPTIONS
            if getattr(self, name) != Settings.__dataclass_fields__[name].default
        }

    def as_arguments(self) -> list[str]:
        """The same as arguments of the command line, paths absolute."""
        texts = ((name, _as_text(name, value)) for name, value in self.given().items())
        return [part for name, text in texts for part in (flag(name), text) if part is not None]

    def for_provenance(self) -> dict[str, Any]:
        """Those of :meth:`given` that make another result, for JSON; resuming a batch compares them."""
        return {
            name: os.path.abspath(value) if isinstance(value, Path) else value
            for name, value in self.given().items()
            if OPTIONS[name].in_result
        }


def _check_value(name: str, value: Any, option: Option) -> None:
    """Raise UserError for a value that the option cannot have."""
    if value is None:
        return
    if isinstance(Settings.__dataclass_fields__[name].default, bool):
        if not isinstance(value, bool):
            raise UserError(f"{{{name}}} must be True or False, not {value!r}", name)
    elif option.choices is not None:
        if value not in option.choices:
            raise UserError(f"{{{name}}} must be one of {', '.join(option.choices)}, not {value!r}", name)
    elif (
        option.group == "adaptation"
        and option.parse in (int, float)
        and not (math.isfinite(value) and value >= 0)
    ):
        raise UserError(f"{{{name}}} must be a number of at least 0, not {value:g}", name)


OPTIONS: dict[str, Option] = {entry.name: entry.metadata["option"] for entry in fields(Settings)}


def flag(option: str) -> str:
    """What the command line calls an option."""
    return "--" + option.replace("_", "-")


def _as_text(name: str, value: Any) -> str | None:
    if OPTIONS[name].parse is bool:
        return None  # the option alone says it
    if OPTIONS[name].parse is _on_off:
        return next(text for text, meaning in _ON_OFF.items() if meaning == value)
    return os.path.abspath(value) if isinstance(value, Path) else str(value)
