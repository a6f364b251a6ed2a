"""When the learning rate drops and when a training ends: the rules of the released code."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .recipes.base import TrainingSettings

_LEAST_GAIN = 1e-4  # relative; a smaller improvement does not count, as in PyTorch's ReduceLROnPlateau


@dataclass
class Schedule:
    """Follows a value that should rise (PSNR) or fall (loss).

    Attributes
    ----------
    best : float, optional
        Best value so far.
    best_epoch : int
        Epoch of the best value.
    bad_looks : int
        Values without improvement since the best one or the last drop.
    drops : int
        Drops of the learning rate so far.
    """

    best: float | None = None
    best_epoch: int = 0
    bad_looks: int = 0
    drops: int = 0

    def update(self, value: float, epoch: int, settings: TrainingSettings) -> bool:
        """Take the value after `epoch` epochs; returns whether the learning rate should drop."""
        rising = settings.plateau_on == "validation"
        threshold = None if self.best is None else self.best * (1 + _LEAST_GAIN * (1 if rising else -1))
        if threshold is None or (value > threshold if rising else value < threshold):
            self.best, self.best_epoch, self.bad_looks = value, epoch, 0
            return False
        self.bad_looks += 1
        if self.bad_looks <= settings.patience:
            return False
        self.bad_looks = 0
        self.drops += 1
        return True

    def end_reason(self, epoch: int, settings: TrainingSettings) -> str | None:
        """Why the training ends after `epoch` epochs; None if it goes on."""
        if self.drops >= settings.most_drops:
            return f"the learning rate dropped {self.drops} times"
        if epoch - self.best_epoch >= settings.most_idle_epochs:
            return f"no improvement in {settings.most_idle_epochs} epochs"
        return None

    def as_dict(self) -> dict:
        """The attributes, for the state file."""
        return asdict(self)
