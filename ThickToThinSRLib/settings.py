"""The options of an enhancement, each declared once.

The fields of :class:`Settings` define the options of the command line and of the worker process, the
parameters of the Slicer module's Logic, and the options that the provenance records.
"""

from __future__ import annotations

import math
import numbers
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
SLICE_PROFILES = ("auto", "box", "trapezoid", "gaussian")
_ON_OFF = {"on": True, "off": False}


@dataclass(frozen=True)
class Option:
    """The declaration of one option, besides its name and default.

    Attributes
    ----------
    help : str
        Help text of the command line.
    group : {"result", "input", "network", "adaptation"}
        Group of options in the help.
    parse : callable
        Converts the text on the command line to the value; raises ValueError or KeyError. If it is ``bool``,
        the option has no text and means True.
    metavar : str, optional
        Placeholder of the value in the help.
    choices : tuple of str, optional
        The allowed values, as text.
    methods : tuple of str, optional
        The methods that have this option; None: all methods.
    in_result : bool
        Whether the result depends on the value.
    for_many : bool
        Whether the option can be given for many inputs at once.
    """

    help: str
    group: str
    parse: Callable[[str], Any] = str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    in_result: bool = True
    for_many: bool = True


def _option(default: Any = None, **declaration: Any) -> Any:
    return field(default=default, metadata={"option": Option(**declaration)})


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
    """The options of one enhancement; the defaults suit a first try.

    Raises
    ------
    UserError
        For a value that is not allowed.
    """

    spacing: float | None = _option(
        help="slice spacing of the result (default: that of the network, else 1 mm)",
        group="result",
        parse=float,
        metavar="MM",
    )
    factor: float | None = _option(
        help="upsampling factor, instead of --spacing: spacing of INPUT divided by that of the result",
        group="result",
        parse=float,
        metavar="N",
    )
    method: str | None = _option(
        help="method: {methods} (default: the one that uses --checkpoint, else "
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
        help="slice thickness; larger than the spacing if slices overlap; estimate: measure it in the scan, "
        "to about 20%% (default: from DICOM, else the spacing)",
        group="input",
        parse=_thickness,
        metavar="MM",
    )
    profile: str = _option(
        "auto",
        help="profile of the slices along the through-plane axis; auto: a box, rounded off as far as the "
        "noise of neighbouring slices says (default)",
        group="input",
        choices=SLICE_PROFILES,
    )
    axis: int | None = _option(
        help="through-plane axis: 0 = i, 1 = j, 2 = k (default: the one whose spacing differs from the "
        "other two)",
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
        help="scale of the voxels: hu: Hounsfield units; unit: 0 to 1, as in RPLHR-CT (default: detected "
        "from the values)",
        group="input",
        choices=INTENSITIES,
    )
    checkpoint: Path | None = _option(
        help="weights (.safetensors)", group="network", parse=_path, metavar="FILE"
    )
    device: str = _option(
        "auto",
        help="device to compute on: auto (a CUDA GPU if there is one), cpu, cuda, cuda:N, mps",
        group="network",
        metavar="D",
        in_result=False,
    )
    precision: str = _option(
        "auto",
        help="auto: half precision if the device supports it and the result hardly changes (default)",
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
        help="seamless: all slices, no tile borders (default); authors: as in the published code, for "
        "comparison",
        group="network",
        choices=TILINGS,
    )
    minutes: float | None = _option(
        help="minutes of adaptation; 0: no adaptation (default of universal and sr4zct with trained weights)",
        group="adaptation",
        parse=float,
        metavar="M",
        methods=("universal", "sr4zct", "davsr"),
    )
    epochs: int | None = _option(
        help="number of passes over the scan's slices, instead of --minutes",
        group="adaptation",
        parse=int,
        metavar="N",
        methods=("sr4zct", "davsr"),
    )
    planes: str | None = _option(
        help="planes that the network corrects (default: both, averaged)",
        group="adaptation",
        choices=PLANES,
        methods=("sr4zct",),
    )
    network: str | None = _option(
        help="network to adapt (default: unet)",
        group="adaptation",
        choices=ADAPTED_NETWORKS,
        methods=("sr4zct",),
    )
    save_weights: Path | None = _option(
        help="write the adapted weights to this file (.safetensors)",
        group="adaptation",
        parse=_path,
        metavar="FILE",
        methods=("sr4zct",),
        in_result=False,
        for_many=False,
    )

    def __post_init__(self):
        for name, option in OPTIONS.items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), option))
        for one, other in (("spacing", "factor"), ("minutes", "epochs")):
            if None not in (getattr(self, one), getattr(self, other)):
                raise UserError(f"give either {{{one}}} or {{{other}}}, not both", one, other)
        if self.noise_seed < 0:
            raise UserError(f"{{noise_seed}} must be 0 or larger, not {self.noise_seed}", "noise_seed")
        if self.save_weights is not None and self.save_weights.suffix != ".safetensors":
            raise UserError(f"{self.save_weights}: the name of a weights file must end in .safetensors")

    def given(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        return {
            name: getattr(self, name)
            for name in OPTIONS
            if getattr(self, name) != Settings.__dataclass_fields__[name].default
        }

    def as_arguments(self) -> list[str]:
        """The settings of :meth:`given` as arguments of the command line; paths are absolute."""
        texts = ((name, _as_text(name, value)) for name, value in self.given().items())
        return [part for name, text in texts for part in (flag(name), text) if part is not None]

    def for_provenance(self) -> dict[str, Any]:
        """The part of :meth:`given` that the result depends on, for JSON; resuming a batch compares it."""
        return {
            name: os.path.abspath(value) if isinstance(value, Path) else value
            for name, value in self.given().items()
            if OPTIONS[name].in_result
        }


def _checked(name: str, value: Any, option: Option) -> Any:
    """The value in its own type; UserError if it is not allowed."""
    default = Settings.__dataclass_fields__[name].default
    if value is None and default is None:
        return value
    fault = None
    if isinstance(default, bool):
        fault = None if isinstance(value, bool) else "True or False"
    elif option.choices is not None:
        fault = None if value in option.choices else f"one of {', '.join(option.choices)}"
    elif option.parse in (int, float, _thickness):
        return _checked_number(name, value, option)
    elif option.parse is _path:
        fault = None if isinstance(value, (str, os.PathLike)) and str(value) else "the path of a file"
    elif not isinstance(value, str):
        fault = "a text"
    if fault is not None:
        raise UserError(f"{{{name}}} must be {fault}, not {value!r}", name)
    return Path(value) if option.parse is _path else value


def _checked_number(name: str, value: Any, option: Option) -> float | str:
    if option.parse is _thickness and value == "estimate":
        return value
    whole = option.parse is int
    if isinstance(value, bool) or not isinstance(value, numbers.Integral if whole else numbers.Real):
        raise UserError(f"{{{name}}} must be a {'whole ' * whole}number, not {value!r}", name)
    if option.group == "adaptation" and not (math.isfinite(value) and value >= 0):
        raise UserError(f"{{{name}}} must be 0 or larger, not {value:g}", name)
    # NumPy's numbers cannot be written as JSON.
    return value if isinstance(value, (int, float)) else (int if whole else float)(value)


OPTIONS: dict[str, Option] = {entry.name: entry.metadata["option"] for entry in fields(Settings)}


def flag(option: str) -> str:
    """The name of an option on the command line."""
    return "--" + option.replace("_", "-")


def _as_text(name: str, value: Any) -> str | None:
    if OPTIONS[name].parse is bool:
        return None  # the option alone says it
    if OPTIONS[name].parse is _on_off:
        return next(text for text, meaning in _ON_OFF.items() if meaning == value)
    return os.path.abspath(value) if isinstance(value, Path) else str(value)
