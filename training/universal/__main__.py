"""Train the universal network: ``python -m training.universal RUN --data FOLDER [--leave-out NAME ...]``.

The learning rate stays level while the mean absolute error falls, then goes down by a cosine over the last
steps, where the squared error counts. Every batch is drawn by a generator of its own number, so a run that
was interrupted (killed too) goes on as if it had not been; its state is saved every minute. At the end
RUN/universal.safetensors holds the weights' running mean with their model card.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ThickToThinSRLib.weights.checkpoints import save_network
from torch.utils.data import DataLoader, Dataset

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import replacing
from ThickToThinSRLib.methods.universal.pairs import collate, errors, mean_square
from ThickToThinSRLib.networks.universal import Universal

from ..command import run
from .card import card
from .draw import draw_pair
from .scans import Scan, read_scan

# What each scan counts (1 by default): phantoms have no tissue texture, and some teach in-plane alone.
WEIGHTS = {"phantom": 0.3, "2mm_every_1mm": 0.4, "2p5mm": 0.3, "5mm_sharp": 0.4}
OVERLAPPING = "2mm_every_1mm"
BATCH = 8


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="training.universal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of this run; goes on where it stopped")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="thin scans (.nii.gz)")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="NAME", help="parts of file names")
    parser.add_argument("--steps", type=int, default=18_000, metavar="N")
    parser.add_argument("--stop", type=int, metavar="N", help="interrupt the run at this step")
    parser.add_argument("--settling", type=int, default=3500, metavar="N", help="steps of falling rate")
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    return parser.parse_args()


def main() -> None:
    options = parse()
    paths = [
        path
        for path in sorted(options.data.glob("*.nii.gz"))
        if not any(name in path.name for name in options.leave_out)
    ]
    if not paths:
        raise UserError(f"{options.data}: no .nii.gz file to learn from")
    options.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    network = Universal().to(memory_format=torch.channels_last)
    mean = train(network, paths, options)
    if options.stop is not None:
        return
    halves = {key: value.half() for key, value in mean.items()}
    save_network(
        options.run / "universal.safetensors", halves, "universal", {}, network.window, card(paths, options)
    )
    print(f"written: {options.run / 'universal.safetensors'}")


def scans_of(paths: list[Path]) -> list[Scan]:
    return [
        read_scan(
            path,
            next((weight for key, weight in WEIGHTS.items() if key in path.name), 1.0),
            OVERLAPPING in path.name,
        )
        for path in paths
    ]


def train(network: Universal, paths: list[Path], options: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Up to ``options.steps``; the running mean of the weights."""
    state = options.run / "state.pt"
    optimiser = torch.optim.AdamW(network.parameters(), options.rate, weight_decay=1e-4)
    mean = {key: value.detach().clone() for key, value in network.state_dict().items()}
    first = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        mean, first = saved["mean"], saved["step"]
    settled_from = options.steps - options.settling
    last = min(options.steps, options.stop or options.steps)
    clock = saved_at = time.monotonic()
    before = after = 0.0
    steps = range(first, last)
    drawn = Batches(scans_of(paths), options.seed, settled_from)
    # One process beside this one draws; a third of a core's work.
    batches = DataLoader(drawn, batch_size=None, sampler=steps, num_workers=1, prefetch_factor=8)
    for step, batch in zip(steps, batches, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = options.rate * relative_rate(step, options.steps, settled_from)
        error = errors(network, batch, options.precision)
        found = mean_square(error, batch)
        base = mean_square(batch["correction"], batch)
        optimiser.zero_grad()
        if step < settled_from:
            loss = error.abs().sum() / (batch["valid"].sum() * error[0, 0].numel())
        else:
            # Squares, so that the mean is learned; divided so that hard acquisitions do not outweigh all.
            loss = (found / (base + 0.01).sqrt()).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        keep = min(0.998, step / (step + 10))
        for key, value in network.state_dict().items():
            mean[key].lerp_(value, 1 - keep)
        before, after = before + float(base.sum()), after + float(found.detach().sum())
        if not math.isfinite(after):
            raise UserError(f"step {step}: the loss is not a number; {state} holds the last good weights")
        if (step + 1) % 100 == 0:
            seconds = time.monotonic() - clock
            print(f"step {step + 1}: {10 * math.log10(before / after):+.2f} dB, {seconds:.0f} s", flush=True)
            before = after = 0.0
        if time.monotonic() - saved_at > 60 or step + 1 == last:
            saved_at = time.monotonic()
            saved = {
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "mean": mean,
                "step": step + 1,
            }
            with replacing(state, ".pt") as temporary:
                torch.save(saved, temporary)
    return mean


def relative_rate(step: int, steps: int, settled_from: int) -> float:
    """Learning rate over its level: up in 100 steps, level, then down by a cosine to a hundredth."""
    if step < settled_from:
        return min(1.0, (step + 1) / 100)
    return 0.01 + 0.5 * (1 + math.cos(math.pi * (step - settled_from) / (steps - settled_from)))


class Batches(Dataset):
    """Batch number `step`, drawn by a generator of its own."""

    def __init__(self, scans: list[Scan], seed: int, settled_from: int):
        self.scans, self.seed, self.settled_from = scans, seed, settled_from

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        generator = np.random.default_rng([self.seed, step])
        settled = step >= self.settled_from
        return collate([draw_pair(self.scans, generator, settled) for _ in range(BATCH)])


if __name__ == "__main__":
    sys.exit(run(main))
