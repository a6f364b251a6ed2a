"""The training loop: one system, one run folder, one process or many."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from ThickToThinSRLib.errors import Cancelled, UserError
from ThickToThinSRLib.inference.devices import set_tf32
from ThickToThinSRLib.weights.checkpoint import save_network

from .card import model_card
from .job import Beginning, TrainingJob, remaining_batches
from .logs import Log, SilentLog
from .one_step import OneStep, check_finite
from .stopping import Stopping
from .validation import validate

LAST, BEST = "last.safetensors", "best.safetensors"
# Steps after which the scores are read from a GPU, which would have to wait for the processor otherwise.
_READ_EVERY = 20


def fit(job: TrainingJob, beginning: Beginning) -> None:
    """Train to the end.

    Raises
    ------
    UserError
        If the loss is NaN or infinite, a case cannot be read, or a process that reads crops is killed; the
        state saved before stays.
    Cancelled
        If a signal asked the process to stop; the state is saved first.
    """
    step, length = beginning.state.step, beginning.length
    log = Log(job.folder, step, length.last_step, length.epoch(step)) if job.ranks.first else SilentLog()
    stopping = Stopping()
    settings = job.recipe.settings
    set_tf32(settings.precision != "float32")
    try:
        # PyTorch reports a killed process of its loader from a signal handler: also while the log is closed.
        with contextlib.closing(log), stopping:
            Fit(job, beginning, remaining_batches(job, beginning), log, stopping).run()
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{job.ranks.device} has too little memory for a batch of {settings.batch} crops of "
            f"{settings.crop} pixels: set gradient_checkpointing=true, a smaller crop or a smaller batch; "
            "the state saved before is unchanged"
        ) from error
    except (RuntimeError, ConnectionError) as error:
        # The text of an error that a case caused in such a process begins with "Caught".
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        # It may come in the middle of a step, so nothing is saved now.
        if stopping.requested:  # whoever stops the training may have stopped each of its processes
            raise Cancelled from error
        raise UserError(
            f"a process that reads crops was killed, perhaps for lack of memory ({error}); the state saved "
            "before is unchanged: continue with --resume, and fewer workers"
        ) from error


class Fit:
    """The loop over steps and epochs.

    Parameters
    ----------
    job : TrainingJob
        What is trained on which data.
    beginning : Beginning
        State, crops and length.
    loader : DataLoader
        Batches (thick, thin, places) of the steps from the state's on.
    log : Log or SilentLog
        Takes the progress.
    stopping : Stopping
        Says whether a signal asked the training to stop.
    """

    def __init__(
        self,
        job: TrainingJob,
        beginning: Beginning,
        loader: DataLoader,
        log: Log | SilentLog,
        stopping: Stopping,
    ):
        self.job, self.settings, self.ranks = job, job.recipe.settings, job.ranks
        self.state, self.length = beginning.state, beginning.length
        self.loader, self.log, self.stopping = loader, log, stopping
        self.one_step = OneStep(job.recipe, self.state, job.ranks)
        self.started = self.counted_at = self.saved_at = time.monotonic()
        self.first_step = self.state.step
        self.validated_step: int | None = None
        self.unread: list[tuple[int, torch.Tensor, list[str]]] = []
        self.read_every = _READ_EVERY if job.ranks.device.type == "cuda" else 1
        # What a step that the scaler of float16 skipped counts as.
        self.last_scores = [0.0] * 3

    def run(self) -> None:
        """Train, validate and save."""
        reason = self._end_reason() or self._train()
        if self.validated_step != self.state.step:
            self._validate()
        self._save()
        self.log.say(f"ended after {self.state.step} steps: {reason}")

    def _train(self) -> str:
        """Train until the run ends; returns why it ended."""
        for thick, thin, places in self.loader:
            self.unread.append((self.state.step, self.one_step(thick, thin), places))
            epoch_ends = self.state.step % self.length.steps_per_epoch == 0
            if not epoch_ends and len(self.unread) < self.read_every:
                continue
            self._read_scores()
            if epoch_ends:
                self._end_epoch()
                if reason := self._end_reason():
                    return reason
            if self._stop_requested():
                self._save()
                raise Cancelled
            if time.monotonic() - self.saved_at > self.settings.save_seconds:
                self._save()
        self._read_scores()
        return "all steps are done"

    def _read_scores(self) -> None:
        """Read the scores of the last steps, as means over all processes; check and add them."""
        if not self.unread:
            return
        values = torch.stack([scores for _, scores, _ in self.unread]).flatten().tolist()
        values = self.ranks.mean(values)
        skips = self.state.scaler.is_enabled()  # steps whose loss or gradient is infinite
        for number, (step, _, places) in enumerate(self.unread):
            *scores, norm = values[4 * number : 4 * number + 4]
            if not skips:
                check_finite("the loss", scores[0], step, places)
                check_finite("the gradient", norm, step, places)
            if all(math.isfinite(value) for value in scores):
                self.last_scores = scores
            state = self.state
            state.sums = [total + value for total, value in zip(state.sums, self.last_scores, strict=True)]
            self.log.step(self.last_scores[0], self.last_scores[1], self._crops_per_second())
        self.unread = []

    def _end_epoch(self) -> None:
        state, settings = self.state, self.settings
        epoch = self.length.epoch(state.step)
        loss, psnr, cubic = (total / self.length.steps_per_epoch for total in state.sums)
        state.sums = [0.0] * 3
        scores = None
        if (epoch - 1) % settings.validate_every == 0:
            if loss < settings.validate_below:
                scores = self._validate()
            self._update_schedule(loss, scores, epoch)
        self._count_seconds()
        line = {
            "epoch": epoch,
            "step": state.step,
            "loss": loss,
            "psnr": psnr,
            "psnr_cubic": cubic,
            "learning_rate": state.optimizer.param_groups[0]["lr"],
            "crops_per_second": round(self._crops_per_second(), 3),
            "seconds": round(state.seconds, 1),
            "validation": scores,
        }
        self.log.epoch(line, state.step)
        if scores:
            self._save()

    def _update_schedule(self, loss: float, scores: dict[str, float] | None, epoch: int) -> None:
        """Give the schedule the value that must improve; lower the learning rate if it says so."""
        schedule = self.state.schedule
        if self._waits_for_stage_two():
            schedule.best_epoch = epoch
            return
        value = loss if self.settings.plateau_on == "training" else scores and scores["psnr"]
        if value is not None and schedule.update(value, epoch, self.settings):
            for group in self.state.optimizer.param_groups:
                group["lr"] *= self.settings.drop_factor

    def _validate(self) -> dict[str, float]:
        """Validate, and save the weights if they are the best so far; returns the scores."""
        state = self.state
        with _weights_replaced(state.network, state.average):
            scores = validate(
                state.network,
                self.job.splits["val"],
                self.settings.validation_crop,
                self.ranks,
                str(self.one_step.precision).removeprefix("torch."),
            )
        check_finite("the validation's PSNR", scores["psnr"], state.step, ["validation"])
        picture = scores.pop("picture")
        if picture is not None:
            self.log.picture(picture, state.step)
        self.validated_step = state.step
        if state.best is None or scores["psnr"] > state.best["psnr"]:
            state.best = {**scores, "step": state.step}
            self._export(BEST, state.best_weights, state.best)
            self.log.say(f"step {state.step}: validation {scores['psnr']:.3f} dB, the best so far")
        return scores

    def _waits_for_stage_two(self) -> bool:
        """Whether the part that is validated is not trained yet, so that the stopping rules do not count."""
        return self.state.stage == 1 and self.settings.plateau_on == "validation"

    def _end_reason(self) -> str | None:
        if self.state.step >= self.length.last_step:
            return "all steps are done"
        if self._waits_for_stage_two():
            return None
        return self.state.schedule.end_reason(self.length.epoch(self.state.step), self.settings)

    def _stop_requested(self) -> bool:
        # All processes must stop at the same step, or the others would wait forever.
        return self.ranks.mean([float(self.stopping.requested)])[0] > 0

    def _crops_per_second(self) -> float:
        crops = (self.state.step - self.first_step) * self.settings.batch * self.ranks.world
        return crops / max(1e-9, time.monotonic() - self.started)

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self.counted_at
        self.counted_at = now

    def _save(self) -> None:
        for name, weights in self.state.network.named_parameters():
            check_finite("a weight", float(weights.detach().abs().max()), self.state.step, [name])
        self._count_seconds()
        self.saved_at = time.monotonic()
        if self.ranks.first:
            self.state.save(self.job.folder)
        self._export(LAST, self.state.network.state_dict(), None)

    def _export(self, name: str, weights: dict[str, torch.Tensor], validation: dict[str, Any] | None) -> None:
        """Write weights with their model card."""
        if not self.ranks.first:
            return
        job, state = self.job, self.state
        results = {
            "validation": validation,
            "epochs": self.length.epoch(state.step),
            "hours": round(state.seconds / 3600, 3),
        }
        card = model_card(job.recipe, job.splits["train"], job.origin, state.step, results)
        window = replace(state.network.window, tile=self.settings.crop)
        save_network(job.folder / name, weights, job.recipe.network, job.recipe.arguments, window, card)


@contextlib.contextmanager
def _weights_replaced(network: torch.nn.Module, weights: dict[str, torch.Tensor] | None):
    """Within the block the network has other weights, unless these are None."""
    if weights is None:
        yield
        return
    own = {key: value.detach().clone() for key, value in network.state_dict().items()}
    network.load_state_dict(weights)
    try:
        yield
    finally:
        network.load_state_dict(own)
