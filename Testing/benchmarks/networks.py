"""Speed and memory of the networks, beside what the machine can do and beside the plain formulation.

``python -m Testing.benchmarks.networks`` measures in one run, taking turns, so that the ratios hold on a busy
machine too: the rate of large float32 matrix products, a tile of each network, and the same tile by the plain
written-out formulation. Before that the peak memory and the time of one window of whole 512 x 512 slices,
each in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from Testing.plain_networks import plain_cthnet, plain_tvsrn
from ThickToThinSRLib.networks.registry import build

PLAIN = {"tvsrn": plain_tvsrn, "cthnet": plain_cthnet}
PRODUCT_SIDES = (1024, 2048)
COUNTED_SIDE = 64  # pixels; the work grows with the number of pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=PLAIN, default=list(PLAIN))
    parser.add_argument("--size", type=int, default=256, help="side of the tile, pixels")
    parser.add_argument("--whole", type=int, default=512, help="side of a whole slice, pixels")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, of which the fastest counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(machine(device, arguments.threads), flush=True)
    # First, as a new process starts with the highest memory use that its parent had.
    for name in arguments.networks:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(whole_slices, (name, arguments.whole, device, arguments.threads)), flush=True)
    for name in arguments.networks:
        compare(name, arguments.size, arguments.rounds, device, arguments.threads)


def machine(device: torch.device, threads: int) -> str:
    """One line: processor, threads, instruction set, PyTorch; the GPU if there is one."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}, float32 without TF32"
    instructions = torch.backends.cpu.get_cpu_capability()
    return (
        f"{threads} threads of {platform.machine()} with {instructions}, PyTorch {torch.__version__}, float32"
    )


def compare(name: str, size: int, rounds: int, device: torch.device, threads: int) -> None:
    """Print the rates of the product, the network and the plain formulation on one tile."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = build(name).eval().to(device)
    gflop = counted(name) * (size / COUNTED_SIDE) ** 2
    x = torch.rand(1, 1, network.depth, size, size, device=device)
    seconds: dict[str, list[float]] = {"product": [], "network": [], "plain": []}
    with torch.inference_mode(), torch.device(device):
        for _ in range(rounds):
            seconds["product"] += [timed(product(side), device) / (2 * side**3) for side in PRODUCT_SIDES]
            seconds["network"].append(timed(lambda: network(x), device))
            seconds["plain"].append(timed(lambda: PLAIN[name](network, x), device))
    product_rate, best = 1e-9 / min(seconds["product"]), min(seconds["network"])
    rate, plain = gflop / best, min(seconds["plain"])
    print(
        f"{name}, tile {network.depth} x {size} x {size}, {gflop:.0f} GFLOP\n"
        f"  matrix product     {product_rate:8.1f} GFLOP/s\n"
        f"  network            {rate:8.1f} GFLOP/s {best:8.3f} s, {rate / product_rate:.0%} of the product\n"
        f"  plain formulation  {gflop / plain:8.1f} GFLOP/s {plain:8.3f} s, {plain / best:.1f} times as long",
        flush=True,
    )


def whole_slices(name: str, side: int, device: torch.device, threads: int) -> str:
    """Peak memory, which is counted by process, and seconds of one window of whole slices."""
    torch.set_num_threads(threads)
    network = build(name).eval().to(device)
    x = torch.rand(1, 1, network.depth, side, side, device=device)
    before = peak_memory(device)
    with torch.inference_mode():
        seconds = timed(lambda: network(x), device, warm_up=False)
    used = peak_memory(device) - before
    return (
        f"{name}, whole slices, {network.depth} x {side} x {side}: {seconds:.2f} s, "
        f"{seconds / network.window.stride:.2f} s a thick slice,\n"
        f"  peak memory {used / 2**30:.2f} GiB ({used / side**2:.0f} bytes a pixel)"
    )


def counted(name: str) -> float:
    """GFLOP of the plain formulation on a small tile; a multiplication and an addition are two operations."""
    network = build(name).eval()
    x = torch.rand(1, 1, network.depth, COUNTED_SIDE, COUNTED_SIDE)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        PLAIN[name](network, x)
    return counter.get_total_flops() / 1e9


def product(side: int) -> Callable[[], torch.Tensor]:
    a, b = torch.randn(side, side), torch.randn(side, side)
    return lambda: a @ b


def timed(work: Callable[[], torch.Tensor], device: torch.device, warm_up: bool = True) -> float:
    """Seconds of one call, after one that is not counted."""
    if warm_up and device.type == "cuda":
        work()
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: highest use of this process so far; of the GPU's memory if `device` is one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
