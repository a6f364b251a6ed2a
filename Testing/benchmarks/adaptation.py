"""Seconds a step of SR4ZCT's learning, and of the paper's whole recipe: ``python -m ...adaptation``.

On 60 slices of random pixels: the U-Net on crops, the mixed-scale dense network on whole slices.
Seconds are processor time over the number of threads, so that they hold on a shared machine.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.inference.runner import native_bfloat16
from ThickToThinSRLib.methods.adaptation import Budget
from ThickToThinSRLib.methods.sr4zct.adaptation import adapt
from ThickToThinSRLib.methods.sr4zct.pairs import PlanePairs
from ThickToThinSRLib.methods.sr4zct.planes import CONDITIONS
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import build

PAPER_EPOCHS = 200
SLICES = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=4, help="that are timed, after one that warms up")
    parser.add_argument("--side", type=int, default=512, help="of the slices, pixels")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    if options.steps < 1:
        parser.error("--steps must be 1 or larger")
    torch.set_num_threads(options.threads)
    voxels = np.random.default_rng(0).normal(0, 200, (SLICES, options.side, options.side)).astype(np.float32)
    for name, channels in (("unet", 1 + CONDITIONS), ("msd", 1)):
        network = build(name, channels=channels).to(memory_format=torch.channels_last)
        whole = name == "msd"
        precision = "bfloat16" if native_bfloat16() and not whole else "float32"
        pairs = PlanePairs(
            voxels, (0.7, 0.7), Acquisition(5.0, 5.0), 1.0, torch.device("cpu"), channels > 1, whole
        )
        an_epoch = pairs.steps_per_epoch()
        marks = []
        monitor = Monitor(lambda *_, marks=marks: marks.append(time.process_time()))
        adapt(network, pairs, Budget(steps=options.steps + 1), precision, monitor)
        seconds = (marks[-1] - marks[0]) / options.steps / options.threads
        total = PAPER_EPOCHS * an_epoch * seconds / 3600
        print(
            f"{name}, {precision}, {options.threads} threads: {seconds:.2f} s a step, {an_epoch} steps an "
            f"epoch of {SLICES} slices, {PAPER_EPOCHS} epochs {total:.1f} h",
            flush=True,
        )


if __name__ == "__main__":
    main()
