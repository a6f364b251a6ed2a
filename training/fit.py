"""The training loop: one system, one run folder, one process or many."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ThickToThinSRLib.weights.checkpoints import save_network
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.networks.registry import build

from .card import model_card
from .data.cases import Case
from .data.crops import CropPlan, Crops, StepSampler
from .logs import Log, SilentLog
from .objectives import CubicWindow, build_objective, decibels, keep_less
from .ranks import Ranks
from .recipes.base import Recipe
from .schedule import Schedule
from .state import load_state, save_state
from .stopping import Stopping, leave_stopping_to_the_training
from .validation import validate

LAST, BEST = "last.safetensors", "best.safetensors"


class Fit:
    """One training, from its start or from where it was interrupted.

    Parameters
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
        The data, for the model card.
    """

    def __init__(
        self, recipe: Recipe, splits: dict[str, list[Case]], folder: Path, ranks: Ranks, origin: str
    ):
        self.recipe, self.settings, self.splits = recipe, recipe.settings, splits
        self.folder, self.ranks, self.origin = folder, ranks, origin
        settings = self.settings
        torch.manual_seed(settings.seed)
        self.network = build(recipe.network, **recipe.arguments).to(ranks.device)
        if settings.gradient_checkpointing:
            keep_less(self.network)
        window = self.network.window
        plan = CropPlan(
            settings.crop, settings.flip, settings.crops_per_case, settings.seed, settings.fixed_crop
        )
        if settings.crop % window.multiple:
            raise UserError(
                f"crop must be a multiple of {window.multiple} for {recipe.network}, not {settings.crop}"
            )
        if settings.validation_crop < window.multiple:
            raise UserError(
                f"validation_crop must be {window.multiple} or more for {recipe.network}, not "
                f"{settings.validation_crop}"
            )
        self.crops = Crops(splits["train"], window, plan)
        together = settings.batch * ranks.world
        self.steps_per_epoch = -(-len(self.crops) // together)
        by_epochs = settings.epochs * self.steps_per_epoch
        self.last_step = min(settings.steps, by_epochs) if settings.steps else by_epochs
        self.stage_two_from = round(settings.stage_one * self.last_step)
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.optimizer]
        self.optimizer = kind(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average = None
        if settings.average:
            self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.schedule = Schedule()
        self.step, self.seconds, self.saved_best, self.sums = 0, 0.0, None, [0.0] * 3
        self.objective = build_objective(recipe, self.network)
        if ranks.world > 1:
            ids = [ranks.device.index] if ranks.device.type == "cuda" else None
            # An objective of its own may leave weights alone, for a stage or always.
            unused = recipe.objective is not None
            self.objective = DistributedDataParallel(self.objective, ids, find_unused_parameters=unused)
        self.cubic = CubicWindow(window, ranks.device)
        self.precision = _precision(settings.precision, ranks.device)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.precision == torch.float16)
        self.stopping = Stopping()

    def resume(self) -> bool:
        """Go on from the saved state; returns whether there was one."""
        counters = load_state(self.folder, self.network, self.optimizer, self.average)
        if counters is None:
            return False
        self.step, self.seconds = counters["step"], counters["seconds"]
        self.stage_two_from = counters["stage_two_from"]  # a longer run has a longer second stage
        self.saved_best, self.sums = counters["saved_best"], counters["sums"]
        self.schedule = Schedule(**counters["schedule"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(counters["scaler"])
        return True

    def run(self) -> None:
        """Train to the end.

        Raises
        ------
        UserError
            If the loss is no number, a case cannot be read, or a process that reads them is killed: the state
            saved before stays.
        Cancelled
            If the process was asked to stop: after the state was saved.
        """
        first = self.ranks.first
        epochs = self.step // self.steps_per_epoch
        self.log = Log(self.folder, self.step, self.last_step, epochs) if first else SilentLog()
        try:
            with self.stopping:
                self._train()
        except RuntimeError as error:
            # What a case raised in such a process says "Caught" instead.
            if not str(error).startswith("DataLoader worker"):
                raise
            # It may come in the middle of a step, so that nothing is saved now.
            if self.stopping.asked:  # whoever ends the training may end each of its processes
                raise Cancelled from error
            raise UserError(
                f"a process that reads crops was killed, perhaps for lack of memory ({error}); what was "
                "saved before is untouched: go on with --resume, and fewer workers"
            ) from error
        finally:
            self.log.close()

    def _train(self) -> None:
        self.since, self.saved_at = time.monotonic(), time.monotonic()
        self.started, self.taken = time.monotonic(), 0
        reason = self._end_reason()
        for thick, thin, places in () if reason else self._loader():
            self._one_step(thick, thin, places)
            if self.step % self.steps_per_epoch == 0:
                self._end_of_epoch()
                reason = self._end_reason()
            if reason:
                break
            if self._asked_to_stop():
                self._save()
                raise Cancelled
            if time.monotonic() - self.saved_at > self.settings.save_seconds:
                self._save()
        if not self.schedule_validated:
            self._keep_if_best(self._validated())
        self._save()
        self.log.say(f"ended after {self.step} steps: {reason or 'all steps are done'}")

    def _loader(self) -> DataLoader:
        settings, ranks = self.settings, self.ranks
        sampler = StepSampler(
            self.step,
            self.last_step,
            settings.batch,
            ranks.rank,
            ranks.world,
            self.steps_per_epoch,
            len(self.crops),
        )
        return DataLoader(
            self.crops,
            batch_sampler=sampler,
            num_workers=settings.workers,
            pin_memory=ranks.device.type == "cuda",
            worker_init_fn=leave_stopping_to_the_training,
            multiprocessing_context="spawn" if settings.workers else None,
        )

    schedule_validated = False

    def _one_step(self, thick: torch.Tensor, thin: torch.Tensor, places: list[str]) -> None:
        settings, device = self.settings, self.ranks.device
        thick, thin = thick.to(device, non_blocking=True), thin.to(device, non_blocking=True)
        self.objective.train()
        # Stochastic depth then depends on the step alone, not on what was drawn before an interruption.
        torch.manual_seed(hash((settings.seed, self.step, self.ranks.rank)) & 0x7FFFFFFF)
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            loss, prediction = self.objective(thick, thin, self._stage())
        cubic = decibels(self.cubic(thick), thin)
        measured = torch.stack([loss.detach(), decibels(prediction, thin), cubic]).tolist()
        measured = self.ranks.mean(measured)
        self._check_finite("the loss", measured[0], places)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm or math.inf)
        if not self.scaler.is_enabled():  # which leaves such steps out and lowers its scale
            self._check_finite("the gradient", float(norm), places)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            for key, value in self.network.state_dict().items():
                self.average[key].lerp_(value.detach(), 1 - settings.average)
        self.step += 1
        self.taken += settings.batch * self.ranks.world
        self.schedule_validated = False
        self.sums = [total + value for total, value in zip(self.sums, measured, strict=True)]
        self.log.step(measured[0], measured[1], self._rate())

    def _check_finite(self, what: str, value: float, places: list[str]) -> None:
        if not math.isfinite(value):
            raise UserError(
                f"{what} became {value} at step {self.step + 1} ({'; '.join(places)}); what was saved before "
                "is untouched: try a lower learning_rate, clip_norm=1 or precision=float32"
            )

    def _rate(self) -> float:
        return self.taken / max(1e-9, time.monotonic() - self.started)

    def _end_of_epoch(self) -> None:
        settings = self.settings
        epoch = self.step // self.steps_per_epoch
        loss, psnr, cubic = (total / self.steps_per_epoch for total in self.sums)
        self.sums = [0.0] * 3
        found = None
        if epoch % settings.validate_every == 0:
            if loss < settings.validate_below:
                found = self._validated()
                self._keep_if_best(found)
            value = loss if settings.plateau_on == "training" else found and found["psnr"]
            if self._awaits_stage_two():
                value, self.schedule.best_epoch = None, epoch
            if value is not None and self.schedule.look(value, epoch, settings):
                for group in self.optimizer.param_groups:
                    group["lr"] *= settings.drop_factor
        self._count_seconds()
        line = {
            "epoch": epoch,
            "step": self.step,
            "loss": loss,
            "psnr": psnr,
            "psnr_cubic": cubic,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "crops_per_second": round(self._rate(), 3),
            "seconds": round(self.seconds, 1),
            "validation": found,
        }
        self.log.epoch(line, self.step)
        if found:
            self._save()

    def _validated(self) -> dict[str, float]:
        kept = None
        if self.average is not None:
            kept = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
            self.network.load_state_dict(self.average)
        found = validate(self.network, self.splits["val"], self.settings.validation_crop, self.ranks)
        if kept is not None:
            self.network.load_state_dict(kept)
        self._check_finite("the validation's PSNR", found["psnr"], ["validation"])
        picture = found.pop("picture")
        if picture is not None:
            self.log.picture(picture, self.step)
        self.schedule_validated = True
        return found

    def _keep_if_best(self, found: dict[str, float]) -> None:
        if self.saved_best is not None and found["psnr"] <= self.saved_best["psnr"]:
            return
        self.saved_best = {**found, "step": self.step}
        self._write(BEST, self.average or self.network.state_dict(), self.saved_best)
        self.log.say(f"step {self.step}: validation {found['psnr']:.3f} dB, the best so far")

    def _stage(self) -> int:
        return 1 if self.step < self.stage_two_from else 2

    def _awaits_stage_two(self) -> bool:
        """Whether what is validated has not begun to learn, so that the stopping rules do not count yet."""
        return self._stage() == 1 and self.settings.plateau_on == "validation"

    def _end_reason(self) -> str | None:
        if self.step >= self.last_step:
            return "all steps are done"
        if self._awaits_stage_two():
            return None
        return self.schedule.ended(self.step // self.steps_per_epoch, self.settings)

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.seconds += now - self.since
        self.since = now

    def _save(self) -> None:
        for name, weights in self.network.named_parameters():
            self._check_finite("a weight", float(weights.detach().abs().max()), [name])
        self._count_seconds()
        self.saved_at = time.monotonic()
        if not self.ranks.first:
            return
        counters: dict[str, Any] = {
            "step": self.step,
            "stage_two_from": self.stage_two_from,
            "seconds": self.seconds,
            "saved_best": self.saved_best,
            "sums": self.sums,
            "schedule": self.schedule.as_dict(),
            "scaler": self.scaler.state_dict(),
        }
        save_state(self.folder, self.network, self.optimizer, self.average, counters)
        self._write(LAST, self.network.state_dict(), None)

    def _write(self, name: str, state: dict[str, torch.Tensor], validation: dict | None) -> None:
        if not self.ranks.first:
            return
        epoch = self.step // self.steps_per_epoch
        card = model_card(self.recipe, self.splits, self.origin, self.step, epoch, self.seconds, validation)
        window = replace(self.network.window, tile=self.settings.crop)
        save_network(self.folder / name, state, self.recipe.network, self.recipe.arguments, window, card)

    def _asked_to_stop(self) -> bool:
        # All processes must stop at the same step, or the others would wait for ever.
        return self.ranks.mean([float(self.stopping.asked)])[0] > 0


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name != "auto":
        return getattr(torch, name)
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
