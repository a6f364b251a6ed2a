"""What a training begins with: its job, network, optimizer, crops and length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.networks.registry import NETWORKS, WindowSpec, build

from .data.cases import Case
from .data.crops import CropPlan, Crops, StepSampler, check_crop
from .objectives import enable_gradient_checkpointing
from .one_step import arithmetic
from .ranks import Ranks
from .recipes.base import Recipe, TrainingSettings
from .state import TrainState
from .stopping import ignore_stop_signals

_OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


@dataclass(frozen=True)
class TrainingJob:
    """What is trained on which data.

    Attributes
    ----------
    recipe : Recipe
        With all settings in place.
    splits : dict of str to list of Case
        Prepared cases of ``train`` and ``val``.
    folder : Path
        The run's folder.
    ranks : Ranks
        The processes that take part.
    origin : str
        The data set, for the model card.
    """

    recipe: Recipe
    splits: dict[str, list[Case]]
    folder: Path
    ranks: Ranks
    origin: str


@dataclass(frozen=True)
class Length:
    """Length of a training: steps in an epoch, and in all."""

    steps_per_epoch: int
    last_step: int

    def epoch(self, step: int) -> int:
        """Number of epochs that are finished after `step` steps."""
        return step // self.steps_per_epoch


@dataclass(frozen=True)
class Beginning:
    """The state that a job begins with or continues from, its crops and its length."""

    state: TrainState
    crops: Crops
    length: Length


def begin(job: TrainingJob) -> Beginning:
    """The beginning of a job, before any saved state is loaded.

    Raises
    ------
    UserError
        If the settings do not suit the network or the cases.
    """
    settings = job.recipe.settings
    network = _untrained_network(job.recipe, job.ranks.device)
    crops = _crops(settings, job.splits["train"], network.window)
    length = _length(settings, len(crops), job.ranks.world)
    optimizer = _OPTIMIZERS[settings.optimizer](
        network.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=job.ranks.device.type == "cuda",
    )
    half = arithmetic(settings.precision, job.ranks.device) == torch.float16
    state = TrainState(network, optimizer, torch.amp.GradScaler(job.ranks.device.type, enabled=half))
    if settings.average:
        state.average = {key: value.detach().clone() for key, value in network.state_dict().items()}
    state.stage_two_from = round(settings.stage_one * length.last_step)
    return Beginning(state, crops, length)


def remaining_batches(job: TrainingJob, beginning: Beginning) -> DataLoader:
    """The batches of the steps that remain."""
    settings, ranks, length = job.recipe.settings, job.ranks, beginning.length
    sampler = StepSampler(
        range(beginning.state.step, length.last_step),
        settings.batch,
        ranks,
        len(beginning.crops),
    )
    return DataLoader(
        beginning.crops,
        batch_sampler=sampler,
        num_workers=settings.workers,
        pin_memory=ranks.device.type == "cuda",
        worker_init_fn=ignore_stop_signals,
        multiprocessing_context="spawn" if settings.workers else None,
    )


def _untrained_network(recipe: Recipe, device: torch.device) -> torch.nn.Module:
    torch.manual_seed(recipe.settings.seed)
    network = build(recipe.network, **recipe.arguments).to(device)
    if recipe.settings.gradient_checkpointing:
        enable_gradient_checkpointing(network)
    return network


def check_crops(recipe: Recipe, cases: list[Case]) -> None:
    """Raise a UserError if the crops suit neither the network nor the training cases.

    Only headers are read, so that hours of preparation do not come first.

    Parameters
    ----------
    recipe : Recipe
        With all settings in place.
    cases : list of Case
        Training cases, prepared or not.
    """
    window = NETWORKS[recipe.network].window(**recipe.arguments)
    settings, multiple = recipe.settings, window.multiple
    if settings.crop % multiple:
        raise UserError(f"crop must be a multiple of {multiple} for {recipe.network}, not {settings.crop}")
    if settings.validation_crop < multiple:
        raise UserError(
            f"validation_crop must be {multiple} or more for {recipe.network}, not {settings.validation_crop}"
        )
    for case in cases:
        shape = case.thick_shape()
        if shape is not None:
            check_crop(case.name, shape, window, settings.crop)


def _crops(settings: TrainingSettings, cases: list[Case], window: WindowSpec) -> Crops:
    plan = CropPlan(settings.crop, settings.flip, settings.crops_per_case, settings.seed, settings.fixed_crop)
    return Crops(cases, window, plan)


def _length(settings: TrainingSettings, crops: int, processes: int) -> Length:
    steps_per_epoch = -(-crops // (settings.batch * processes))
    by_epochs = settings.epochs * steps_per_epoch
    return Length(steps_per_epoch, min(settings.steps, by_epochs) if settings.steps else by_epochs)
