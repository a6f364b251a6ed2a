"""How long whole scans take, what the networks reach of the card's products, and training crops a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from Testing.plain_networks import plain_cthnet, plain_tvsrn
from ThickToThinSRLib.inference.devices import arithmetic, set_tf32
from ThickToThinSRLib.networks.registry import NETWORKS

from .report import Report, Step
from .scans import FIXED, WITH_WEIGHTS, body, network_of, run

_PLAIN = {"tvsrn": plain_tvsrn, "cthnet": plain_cthnet}
# Seconds that an H100 should need for a whole scan.
_AIMS = {"universal": 2.0, "tvsrn": 3.0, "cthnet": 4.0}
_TRAINED = (("float32", 64, 1), ("tf32", 64, 4), ("bfloat16", 64, 4), ("bfloat16", 128, 2))


def steps(report: Report, device: torch.device, dry: bool) -> Iterator[Step]:
    """Names and functions of the measurements."""
    yield "a large product", lambda: product(report, device, 256 if dry else 8192)
    volume = body(4, 64) if dry else body(64, 512)
    for name in ("consistent", *WITH_WEIGHTS, *(FIXED[:1] if dry else FIXED)):
        yield f"{name}, a whole scan", lambda name=name: whole(report, name, volume, device, dry)
    for name in ("tvsrn",) if dry else _PLAIN:
        yield f"{name}, plain formulation", lambda name=name: plain(report, name, device, 32 if dry else 256)
    for precision, side, batch in _TRAINED[:1] if dry else _TRAINED:
        for name in ("tvsrn",) if dry else _PLAIN:
            yield (
                f"{name}, training",
                lambda name=name, p=precision, s=side, b=batch: training(
                    report, name, device, (p, s, b), dry
                ),
            )


def product(report: Report, device: torch.device, side: int) -> None:
    """Rate of large products, which bounds that of networks."""
    for dtype in (torch.bfloat16, torch.float32):
        a = torch.randn(side, side, device=device, dtype=dtype)
        seconds = timed(lambda a=a: a @ a, device)
        report.add(
            "fast", f"product of {side} x {side}, {dtype}", f"{2 * side**3 / seconds / 1e9:.0f} GFLOP/s"
        )


def whole(report: Report, name: str, volume, device: torch.device, dry: bool) -> None:
    """Seconds of a scan by stage, and memory; the first run warms up."""
    if not dry:
        run(name, volume, str(device))
    stages: dict[str, float] = {}
    last = [time.perf_counter()]

    def progress(stage: str, done: int, total: int) -> None:
        if done == total:
            _wait(device)
        now = time.perf_counter()
        stages[stage] = stages.get(stage, 0.0) + now - last[0]
        last[0] = now

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = last[0]
    run(name, volume, str(device), progress=progress)
    seconds = time.perf_counter() - started
    told = ", ".join(f"{stage} {took:.2f}" for stage, took in stages.items())
    if device.type == "cuda":
        told += f"; {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"
    aim = _AIMS.get(name) if device.type == "cuda" else None
    passed = None if aim is None else seconds < aim
    report.add(
        "fast", f"{name}, {'x'.join(map(str, volume.voxels.shape))}", f"{seconds:.2f} s ({told})", passed
    )


def plain(report: Report, name: str, device: torch.device, side: int) -> None:
    """A tile of a network beside the plain formulation, and its rate."""
    network = network_of(name)
    x = torch.rand(1, 1, network.window.depth, side, side)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        _PLAIN[name](network, x[..., :32, :32])
    flop = counter.get_total_flops() * (side / 32) ** 2
    network, x = network.to(device), x.to(device)
    for precision in ("float32", "bfloat16"):
        with torch.inference_mode(), arithmetic(device, precision):
            own = timed(lambda: network(x), device)
            other = timed(lambda: _PLAIN[name](network, x), device)
        told = f"{flop / own / 1e9:.0f} GFLOP/s, {other / own:.1f} times the plain formulation"
        report.add("fast", f"{name}, {side} x {side}, {precision}", told)


def training(report: Report, name: str, device: torch.device, how: tuple[str, int, int], dry: bool) -> None:
    """Crops a second of whole training steps."""
    precision, side, batch = how
    side = 32 if dry else side
    network = network_of(name).train().to(device)
    window = NETWORKS[name].window()
    x = torch.rand(batch, 1, window.depth, side, side, device=device)
    y = torch.rand(batch, 1, window.outputs, side, side, device=device)
    optimizer = torch.optim.AdamW(network.parameters(), fused=device.type == "cuda")

    def step() -> None:
        set_tf32(precision == "tf32")
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = (network(x).float() - y).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    rate = batch / timed(step, device)
    set_tf32(False)
    report.add("fast", f"{name}, training, {precision}, {batch} crops of {side}", f"{rate:.2f} crops/s")


def timed(work: Callable[[], object], device: torch.device, times: int = 3) -> float:
    """Seconds of the fastest of some calls, after one that warms up."""
    work()
    best = float("inf")
    for _ in range(times):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
