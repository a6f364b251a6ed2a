"""Train the warm start of `sr4zct`: ``python -m training.warmstart STATE.pt VOLUME [VOLUME ...]``.

Deterministic with --seed, whatever the interruptions: every step draws from a generator of its own number.
The state (weights, their running mean, optimiser) is saved every minute; the same command goes on from it. In
the end it writes the weights beside the state, as they ship but for their measured results.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ThickToThinSRLib.weights.checkpoints import save_network

from ThickToThinSRLib.methods.sr4zct.planes import CONDITIONS
from ThickToThinSRLib.networks.unet import UNet

from ..command import run
from .card import card
from .pairs import batch, read_scan

# A phantom has vessels and bone but no tissue texture.
_WEIGHTS = {"phantom": 0.3}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("state", type=Path)
    parser.add_argument("volumes", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--stop", type=int, help="interrupt at this step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="do not tell the network of the acquisition")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    scans = [
        read_scan(path, next((w for key, w in _WEIGHTS.items() if key in path.name), 1.0))
        for path in options.volumes
    ]
    channels = 1 if options.plain else 1 + CONDITIONS
    network = UNet(channels).to(memory_format=torch.channels_last)
    mean = train(network, scans, options)
    if options.stop is None:
        halves = {key: value.half() for key, value in mean.items()}
        path = options.state.with_name("sr4zct_unet.safetensors")
        save_network(path, halves, "unet", {"channels": channels}, network.window, card(options))
        print(f"written: {path}")


def train(network: UNet, scans: list, options: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Up to ``options.steps``, from the saved state if there is one; the running mean of the weights."""
    optimiser = torch.optim.AdamW(network.parameters(), options.rate, weight_decay=1e-4)
    mean = {key: value.detach().clone() for key, value in network.state_dict().items()}
    first = 0
    if options.state.exists():
        state = torch.load(options.state, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        mean, first = state["mean"], state["step"]
    saved = told = time.monotonic()
    before = after = 0.0
    last = min(options.steps, options.stop or options.steps)
    for step in range(first, last):
        for group in optimiser.param_groups:
            group["lr"] = options.rate * learning_rate(step, options.steps)
        x, difference = batch(scans, np.random.default_rng([options.seed, step]))
        if options.plain:
            x = x[:, :1]
        with torch.autocast("cpu", torch.bfloat16):
            predicted = network(x.contiguous(memory_format=torch.channels_last))
        error = predicted.float() - difference
        optimiser.zero_grad()
        error.abs().mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        decay = min(0.999, step / (step + 10))
        for key, value in network.state_dict().items():
            mean[key].lerp_(value, 1 - decay)
        before += float(difference.square().mean())
        after += float(error.detach().square().mean())
        now = time.monotonic()
        if (step + 1) % 100 == 0:
            gain = 10 * math.log10(before / after)
            print(f"step {step + 1}: {gain:.3f} dB over 100 steps, {now - told:.0f} s", flush=True)
            before, after, told = 0.0, 0.0, now
        if now - saved > 60 or step + 1 == last:
            save(options.state, network, optimiser, mean, step + 1)
            saved = now
    return mean


def learning_rate(step: int, steps: int) -> float:
    """Share of the full rate: up over 100 steps, level, down to a hundredth over the last 40 percent."""
    left = (steps - step) / (0.4 * steps)
    return min(1.0, (step + 1) / 100, 0.01 + 0.99 * left)


def save(path: Path, network, optimiser, mean: dict, step: int) -> None:
    """Replace the state at once, so that an interruption leaves a whole one."""
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "mean": mean, "step": step}
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(run(main))
