"""What a recipe is made of, and how ``--set key=value`` changes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from torch import nn

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.networks.registry import NETWORKS

_CHOICES = {
    "optimizer": ("adamw", "adam"),
    "loss": ("l1", "mse"),
    "plateau_on": ("validation", "training"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
}


@dataclass(frozen=True)
class Settings:
    """Everything about a training that can be set; the defaults are TVSRN's as released.

    Attributes
    ----------
    crop : int
        In-plane side of the training crops, pixels.
    batch : int
        Crops a step and process.
    steps : int
        Steps to train at most; 0: as many as the epochs have.
    epochs : int
        Epochs to train at most.
    crops_per_case : int
        Crops of each case in an epoch.
    fixed_crop : bool
        Always the same crop.
    flip : float
        Probability of a flip from left to right.
    optimizer, learning_rate, weight_decay
        As PyTorch's.
    loss : {"l1", "mse"}
        On the networks' scale.
    clip_norm : float
        Largest norm of the gradient; 0: not clipped.
    average : float
        Decay of an exponential moving average of the weights, which is then validated and saved as the best;
        0: none.
    plateau_on : {"validation", "training"}
        What must improve: the validation's PSNR or the training loss.
    patience : int
        Looks without improvement after which the learning rate drops.
    drop_factor : float
        By what it is multiplied then.
    most_drops : int
        The training ends after so many drops.
    most_idle_epochs : int
        Or after so many epochs without improvement.
    validate_every : int
        Epochs between two validations, and between two looks at the plateau.
    validate_below : float
        Validate only once the epoch's training loss lies under this.
    validation_crop : int
        Side of the central region that the validation predicts, pixels.
    stage_one : float
        For systems trained in two stages: the first stage's share of the steps that the run began with.
    precision : {"auto", "float32", "bfloat16", "float16"}
        auto: bfloat16 on a GPU that has it, else float32.
    gradient_checkpointing : bool
        Compute each block again on the way back instead of keeping what it holds.
    workers : int
        Processes that read crops, for each training process.
    save_seconds : float
        Seconds between two saves of the whole state; also at every validation and at the end.
    seed : int
        Decides weights, crops and stochastic depth.
    """

    crop: int = 256
    batch: int = 1
    steps: int = 0
    epochs: int = 2000
    crops_per_case: int = 1
    fixed_crop: bool = False
    flip: float = 0.0
    optimizer: str = "adamw"
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    loss: str = "l1"
    clip_norm: float = 0.0
    average: float = 0.0
    plateau_on: str = "validation"
    patience: int = 15
    drop_factor: float = 0.1
    most_drops: int = 4
    most_idle_epochs: int = 200
    validate_every: int = 5
    validate_below: float = 0.012
    validation_crop: int = 256
    stage_one: float = 0.0
    precision: str = "auto"
    gradient_checkpointing: bool = False
    workers: int = 2
    save_seconds: float = 60.0
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """How one system is trained.

    Attributes
    ----------
    name, title : str
        On the command line, and in tables.
    method : str
        What it is called in the library's registry of methods.
    network : str, optional
        Its architecture; None if nothing is trained beforehand.
    arguments : dict
        Of the network's constructor, where they differ from its defaults.
    settings : Settings
        As released.
    objective : callable, optional
        ``(network, loss)`` to a module ``(thick, thin, stage) -> (loss, prediction)``, where the training is
        more than the network's output against the truth.
    published : tuple of float, optional
        PSNR and SSIM of the RPLHR-CT paper.
    parameters : str
        Number of weights in the paper.
    """

    name: str
    title: str
    method: str
    network: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    objective: Callable[[nn.Module, nn.Module], nn.Module] | None = None
    published: tuple[float, float] | None = None
    parameters: str = ""

    def changed(self, assignments: list[str]) -> Recipe:
        """The recipe with ``key=value`` texts applied, to settings and to the network's arguments.

        Raises
        ------
        UserError
            For an unknown key, or a value of the wrong kind or out of range.
        """
        settings, arguments = asdict(self.settings), dict(self.arguments)
        known = {f.name: f.default for f in fields(Settings)}
        shaping = _arguments_of(self.network)
        for text in assignments:
            key, equals, value = text.partition("=")
            if not equals or key not in known.keys() | shaping.keys():
                raise UserError(
                    f"--set {text}: needs key=value with a key of: {', '.join([*known, *shaping])}"
                )
            if key in known:
                settings[key] = _parsed(key, value, known[key])
            else:
                arguments[key] = _parsed(key, value, shaping[key])
        return replace(self, settings=checked(Settings(**settings)), arguments=arguments)


def checked(settings: Settings) -> Settings:
    """The settings, if they are within reason."""
    for key, allowed in _CHOICES.items():
        if getattr(settings, key) not in allowed:
            raise UserError(f"{key} must be one of {', '.join(allowed)}, not {getattr(settings, key)!r}")
    positive = ("crop", "batch", "epochs", "crops_per_case", "validate_every", "validation_crop")
    for key in (*positive, "most_drops", "most_idle_epochs"):
        if getattr(settings, key) < 1:
            raise UserError(f"{key} must be 1 or more, not {getattr(settings, key)}")
    least_zero = ("steps", "patience", "clip_norm", "weight_decay", "save_seconds", "validate_below")
    for key in least_zero:
        if not getattr(settings, key) >= 0:
            raise UserError(f"{key} must be 0 or more, not {getattr(settings, key)}")
    for key, most in (("flip", 1), ("workers", 256), ("seed", 2**63 - 1)):
        if not 0 <= getattr(settings, key) <= most:
            raise UserError(f"{key} must lie between 0 and {most}, not {getattr(settings, key)}")
    for key in ("average", "stage_one"):
        if not 0 <= getattr(settings, key) < 1:
            raise UserError(f"{key} must be at least 0 and under 1, not {getattr(settings, key)}")
    for key in ("learning_rate", "drop_factor"):
        if not 0 < getattr(settings, key) < 1:
            raise UserError(f"{key} must lie between 0 and 1, not {getattr(settings, key)}")
    return settings


def _arguments_of(network: str | None) -> Mapping[str, Any]:
    if network is None:
        return {}
    parameters = inspect.signature(NETWORKS[network].module).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def _parsed(key: str, text: str, default: Any) -> Any:
    """`text` as the type of `default`."""
    kind = type(default)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"--set {key}={text}: needs true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError as error:
        article = "an" if kind is int else "a"
        raise UserError(f"--set {key}={text}: needs {article} {kind.__name__}") from error
