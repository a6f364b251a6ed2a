"""The progress of a training: a bar, one JSON line for each epoch, TensorBoard curves and planes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LOG = "log.jsonl"


class Log:
    """Progress of the first process; the others have a :class:`SilentLog`.

    Parameters
    ----------
    folder : Path
        The run's folder.
    done, total : int
        Number of finished steps, and of all steps.
    epochs : int
        Number of finished epochs. Lines of later epochs, which an interrupted run wrote after its last save,
        are removed.
    """

    def __init__(self, folder: Path, done: int, total: int, epochs: int):
        from torch.utils.tensorboard import SummaryWriter
        from tqdm import tqdm

        self.path = folder / LOG
        _remove_later_lines(self.path, epochs)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=done)
        self.bar = tqdm(total=total, initial=done, unit="step", desc="training", mininterval=1.0)

    def step(self, loss: float, psnr: float, rate: float) -> None:
        """Show loss, PSNR (dB) and crops a second of a step."""
        self.bar.set_postfix(
            loss=f"{loss:.4f}", psnr=f"{psnr:.2f} dB", crops_per_s=f"{rate:.2f}", refresh=False
        )
        self.bar.update()

    def epoch(self, line: dict, step: int) -> None:
        """Append the facts of an epoch to ``log.jsonl`` and to the curves."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for key, value in line.items():
            if isinstance(value, float):
                self.board.add_scalar(f"training/{key}", value, step)
        for key, value in (line["validation"] or {}).items():
            self.board.add_scalar(f"validation/{key}", value, step)

    def picture(self, plane: np.ndarray, step: int) -> None:
        """Add a validation's planes (rows, columns)."""
        self.board.add_image("validation/thick above prediction above truth", plane[None], step)
        self.board.flush()

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        self.bar.write(text)

    def close(self) -> None:
        try:
            self.bar.close()
        except RuntimeError:  # from a signal handler, see fit(): the error must not stand on the bar's line
            self.bar.fp.write("\n")
            raise
        finally:
            self.board.close()


class SilentLog:
    """Shows nothing."""

    def step(self, *_):
        pass

    epoch = picture = say = step

    def close(self):
        pass


def _remove_later_lines(path: Path, epochs: int) -> None:
    """Keep the lines of the first `epochs` epochs; half-written lines are removed too."""
    if not path.is_file():
        return
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["epoch"] <= epochs:
                lines.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    os.replace(temporary, path)
