"""What a recipe consists of, and how ``--set key=value`` changes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
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
class TrainingSettings:
    """All settings of a training; the defaults are those of TVSRN's released code, but for `precision`.

    Attributes
    ----------
    crop : int
        In-plane side of the training crops, pixels.
    batch : int
        Crops in a step, for each process.
    steps : int
        Largest number of steps; 0: as many as the epochs have.
    epochs : int
        Largest number of epochs.
    crops_per_case : int
        Crops of each case in an epoch.
    fixed_crop : bool
        Train on one crop only, to see whether the network can memorize it.
    flip : float
        Probability of a flip from left to right.
    optimizer : {"adamw", "adam"}
        PyTorch's optimizer.
    learning_rate, weight_decay : float
        Settings of the optimizer.
    loss : {"l1", "mse"}
        Loss on voxels in [0, 1].
    clip_norm : float
        Norm to which the gradient is clipped; 0: it is not clipped.
    average : float
        Decay of an exponential moving average of the weights, which is then validated and saved as the best;
        0: no average.
    plateau_on : {"validation", "training"}
        What must improve: the validation's PSNR or the training loss.
    patience : int
        Number of checks without improvement after which the learning rate drops.
    drop_factor : float
        Factor of a drop.
    most_drops : int
        Number of drops after which the training ends.
    most_idle_epochs : int
        Number of epochs without improvement after which the training ends.
    validate_every : int
        Epochs between two validations, and between two checks for improvement; the first is after epoch 1.
    validate_below : float
        Validate only when the epoch's training loss is below this.
    validation_crop : int
        Side of the central region that the validation predicts, pixels.
    stage_one : float
        For systems that are trained in two stages: share of the steps that the first stage takes. It is a
        share of the steps that the run began with.
    precision : {"auto", "float32", "bfloat16", "float16"}
        auto: bfloat16 on a GPU that has it, else float32. The released code computes in float32.
    gradient_checkpointing : bool
        Compute the activations of each block again in the backward pass instead of storing them.
    workers : int
        Processes that read crops, for each training process.
    save_seconds : float
        Seconds between two saves of the whole state. It is also saved at every validation and at the end.
    seed : int
        Decides the first weights, crops and stochastic depth. No seed repeats the released runs, because the
        random numbers are drawn in another order.
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
    name : str
        Name on the command line.
    title : str
        Name in tables and figures.
    method : str
        Name in the library's registry of methods.
    network : str, optional
        Name in the library's registry of networks; None if nothing is trained beforehand.
    arguments : dict
        Arguments of the network's constructor that differ from its defaults.
    settings : TrainingSettings
        Settings of the released code.
    objective : callable, optional
        ``(network, loss)`` to a module ``(thick, thin, stage) -> (loss, prediction)``. Only for systems that
        are trained on more than the network's output against the truth.
    published : str
        PSNR (dB) and SSIM in the RPLHR-CT paper, with +- where the paper has it.
    parameters : str
        Number of weights in the paper, which is not always that of the released code.
    """

    name: str
    title: str
    method: str
    network: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    objective: Callable[[nn.Module, nn.Module], nn.Module] | None = None
    published: str = ""
    parameters: str = ""

    def changed(self, assignments: Iterable[str]) -> Recipe:
        """The recipe with changed settings and arguments of the network.

        Parameters
        ----------
        assignments : iterable of str
            Changes as ``key=value``.

        Raises
        ------
        UserError
            For an unknown key, or a value of the wrong kind or out of range.
        """
        settings, arguments = asdict(self.settings), dict(self.arguments)
        known = {f.name: f.default for f in fields(TrainingSettings)}
        network_arguments = _arguments_of(self.network)
        for text in assignments:
            key, equals, value = text.partition("=")
            if not equals or key not in known.keys() | network_arguments.keys():
                raise UserError(
                    f"--set {text}: needs key=value with a key of: {', '.join([*known, *network_arguments])}"
                )
            if key in known:
                settings[key] = _parsed(key, value, known[key])
            else:
                arguments[key] = _parsed(key, value, network_arguments[key])
        return replace(self, settings=checked(TrainingSettings(**settings)), arguments=arguments)


def checked(settings: TrainingSettings) -> TrainingSettings:
    """The settings; raises UserError if one is out of range."""
    for key, allowed in _CHOICES.items():
        if getattr(settings, key) not in allowed:
            raise UserError(f"{key} must be one of {', '.join(allowed)}, not {getattr(settings, key)!r}")
    positive = ("crop", "batch", "epochs", "crops_per_case", "validate_every", "validation_crop")
    for key in (*positive, "most_drops", "most_idle_epochs"):
        if getattr(settings, key) < 1:
            raise UserError(f"{key} must be 1 or more, not {getattr(settings, key)}")
    not_negative = ("steps", "patience", "clip_norm", "weight_decay", "save_seconds", "validate_below")
    for key in not_negative:
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
    """`text` converted to the type of `default`."""
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
