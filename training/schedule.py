"""When the learning rate drops and when a training ends: the rules of the released code."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .recipes.base import TrainingSettings

# Relative. A smaller gain does not count for the learning rate; for the end of the training any gain counts.
_LEAST_GAIN = 1e-6


@dataclass
class Schedule:
    """Follows a value that should rise (PSNR) or fall (loss).

    Attributes
    ----------
    best : float, optional
        Value of the last gain that counts for the learning rate.
    bad_looks : int
        Values without such a gain since `best` or the last drop.
    record : float, optional
        Best value of all.
    best_epoch : int
        Epoch of `record`.
    drops : int
        Drops of the learning rate so far.
    """

    best: float | None = None
    bad_looks: int = 0
    record: float | None = None
    best_epoch: int = 0
    drops: int = 0

    def update(self, value: float, epoch: int, settings: TrainingSettings) -> bool:
        """Take the value after `epoch` epochs; returns whether the learning rate should drop."""
        sign = 1 if settings.plateau_on == "validation" else -1
        if self.record is None or sign * value > sign * self.record:
            self.record, self.best_epoch = value, epoch
        if self.best is None or sign * value > sign * self.best * (1 + sign * _LEAST_GAIN):
            self.best, self.bad_looks = value, 0
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
