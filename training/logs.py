"""What a training tells: a progress bar, a JSON line an epoch, TensorBoard curves and planes."""

from __future__ import annotations

import json
import os
from pathlib import Path

LOG = "log.jsonl"


class Log:
    """Of the first process; the others have a :class:`SilentLog`.

    Parameters
    ----------
    folder : Path
        The run's folder.
    done, total : int
        Steps done before and steps to be done at most.
    epochs : int
        Epochs done before; what an interrupted run wrote beyond them is taken back.
    """

    def __init__(self, folder: Path, done: int, total: int, epochs: int):
        from torch.utils.tensorboard import SummaryWriter
        from tqdm import tqdm

        self.path = folder / LOG
        _keep_lines(self.path, epochs)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=done)
        self.bar = tqdm(total=total, initial=done, unit="step", desc="training", mininterval=1.0)

    def step(self, loss: float, psnr: float, rate: float) -> None:
        self.bar.set_postfix(
            loss=f"{loss:.4f}", psnr=f"{psnr:.2f} dB", crops_per_s=f"{rate:.2f}", refresh=False
        )
        self.bar.update()

    def epoch(self, line: dict, step: int) -> None:
        """Append the line to ``log.jsonl`` and to the curves."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for key, value in line.items():
            if isinstance(value, float):
                self.board.add_scalar(f"training/{key}", value, step)
        for key, value in (line["validation"] or {}).items():
            self.board.add_scalar(f"validation/{key}", value, step)

    def picture(self, plane, step: int) -> None:
        self.board.add_image("validation/thick above prediction above truth", plane[None], step)
        self.board.flush()

    def say(self, text: str) -> None:
        self.bar.write(text)

    def close(self) -> None:
        self.bar.close()
        self.board.close()


class SilentLog:
    """Says nothing."""

    def step(self, *_):
        pass

    epoch = picture = say = step

    def close(self):
        pass


def _keep_lines(path: Path, epochs: int) -> None:
    """Keep the lines of the first `epochs` epochs; a half-written last line goes too."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["epoch"] <= epochs:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(temporary, path)
