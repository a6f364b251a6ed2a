"""When the learning rate drops and when a training ends: the released codes' rules."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .recipes.base import Settings

_LEAST_GAIN = 1e-4  # relative; smaller improvements do not count, as in PyTorch's ReduceLROnPlateau


@dataclass
class Schedule:
    """Follows a value that should rise (PSNR) or fall (loss).

    Attributes
    ----------
    best : float, optional
        Best value so far.
    best_epoch : int
        Epoch of it.
    bad_looks, drops : int
        Looks without improvement since the best or the last drop; drops so far.
    """

    best: float | None = None
    best_epoch: int = 0
    bad_looks: int = 0
    drops: int = 0

    def look(self, value: float, epoch: int, settings: Settings) -> bool:
        """Take a new value; returns whether the learning rate is to drop."""
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

    def ended(self, epoch: int, settings: Settings) -> str | None:
        """Why to stop after `epoch` epochs, if so."""
        if self.drops >= settings.most_drops:
            return f"the learning rate dropped {self.drops} times"
        if epoch - self.best_epoch >= settings.most_idle_epochs:
            return f"no improvement in {settings.most_idle_epochs} epochs"
        return None

    def as_dict(self) -> dict:
        return asdict(self)
