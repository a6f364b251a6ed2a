"""Whether the card computes what the CPU does, and recovers when its memory runs out."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch

from ThickToThinSRLib.inference.devices import arithmetic, free_memory
from ThickToThinSRLib.inference.runner import Runner
from ThickToThinSRLib.inference.sliding_window import predict
from ThickToThinSRLib.intensity import HU_WINDOW, to_unit
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.networks.registry import NETWORKS

from . import authors
from .report import Report, Step
from .scans import FIXED, WITH_WEIGHTS, body, network_of, run

_HU = HU_WINDOW[1] - HU_WINDOW[0]
# What half precision may change on average: some units of its last bit at 3072 HU.
_HALF_HU = {"bfloat16": 15.0, "float16": 2.0}
_TRANSFORMERS = ("tvsrn", "cthnet", "saint")


def steps(report: Report, device: torch.device, dry: bool) -> Iterator[Step]:
    """Names and functions of the checks."""
    side = 32 if dry else 64
    yield from authors.steps(report, device)
    for name in _TRANSFORMERS:
        yield f"{name}, float32 on the card", lambda name=name: card_and_cpu(report, name, device, side)
        yield f"{name}, half precision", lambda name=name: half_precision(report, name, device, side)
    volume = body(4, 64) if dry else body(12, 128)
    for name in (*WITH_WEIGHTS, *(FIXED[:1] if dry else FIXED)):
        yield f"{name}, a whole scan", lambda name=name: whole_scan(report, name, volume, device)
    yield "memory runs out (injected)", lambda: out_of_memory(report, device, injected=True)
    if device.type == "cuda":
        yield "memory runs out (really)", lambda: out_of_memory(report, device, injected=False)


def card_and_cpu(report: Report, name: str, device: torch.device, side: int) -> None:
    """A network in float32, on the card and on the CPU, where tests compare it with released outputs."""
    network = network_of(name)
    x = _input(network, side)
    there = _output(copy.deepcopy(network).to(device), x, "float32").cpu()
    worst = float((there - _output(network, x, "float32")).abs().max())
    report.add("right", f"{name}, float32, card and CPU, largest difference", f"{worst:.1e}", worst < 1e-4)


def half_precision(report: Report, name: str, device: torch.device, side: int) -> None:
    """Outputs in HU and gradients in half precision, beside float32."""
    network = network_of(name).to(device).train()
    x = _input(network, side).to(device)
    for module in network.modules():
        if hasattr(module, "drop_path"):
            module.drop_path = 0.0
    exact, exact_gradient = _with_gradient(network, x, "float32")
    for precision in ("bfloat16", "float16") if device.type == "cuda" else ("bfloat16",):
        found, gradient = _with_gradient(network, x, precision)
        hu = float((found - exact).abs().mean()) * _HU
        passed = hu < _HALF_HU[precision]
        report.add("right", f"{name}, {precision}, mean difference from float32", f"{hu:.2f} HU", passed)
        near = float(torch.nn.functional.cosine_similarity(gradient, exact_gradient, dim=0))
        finite = bool(torch.isfinite(gradient).all())
        report.add("right", f"{name}, {precision}, gradient's cosine", f"{near:.4f}", finite and near > 0.9)


def whole_scan(report: Report, name: str, volume, device: torch.device) -> None:
    """A method on the card and on the CPU."""
    there = run(name, volume, str(device), "float32").astype(np.float32)
    worst = float(np.abs(there - run(name, volume, "cpu", "float32")).max())
    # The results are whole HU: the roundings may differ.
    report.add("right", f"{name}, whole scan, card and CPU, largest difference", f"{worst:g} HU", worst <= 1)


def out_of_memory(report: Report, device: torch.device, injected: bool) -> None:
    """A prediction whose memory runs out ends with the same result."""
    network, lines = network_of("mpunet"), []  # the quickest one
    thick = body(6, 160).voxels
    entry, window = NETWORKS["mpunet"], network.window
    expected = predict(thick, window, "seamless", Runner(network, window, entry, "cpu", "float32"), Monitor())
    tried = copy.deepcopy(network)
    if injected:
        tried.register_forward_pre_hook(_fail_on_large)
    runner = Runner(tried, window, entry, str(device), "float32", Monitor(say=lines.append))
    hog = None if injected else _hog(device)
    found = predict(thick, window, "seamless", runner, Monitor())
    del hog
    worst = float(np.abs(found - expected).max()) * _HU
    told = f"{len(lines)} notes, {worst:.2f} HU"
    name = f"memory runs out ({'injected' if injected else 'really'})"
    # Smaller tiles see less around them.
    report.add("right", name, told, bool(lines) and worst < 5)


def _fail_on_large(module: torch.nn.Module, inputs: tuple) -> None:
    if inputs[0].shape[-1] > 112:
        raise torch.OutOfMemoryError("injected")


def _hog(device: torch.device) -> torch.Tensor:
    """All memory of the card but 64 MiB."""
    return torch.empty(max(1, int(free_memory(device)) - (64 << 20)), dtype=torch.uint8, device=device)


def _input(network: torch.nn.Module, side: int) -> torch.Tensor:
    """A crop of a body, on [0, 1]."""
    thick = to_unit(body(network.window.depth, 2 * side).voxels.astype(np.float32))
    middle = slice(side // 2, side // 2 + side)
    return torch.from_numpy(thick[:, middle, middle].clip(0, 1))[None, None]


def _output(network: torch.nn.Module, x: torch.Tensor, precision: str) -> torch.Tensor:
    device = next(network.parameters()).device
    with torch.inference_mode(), arithmetic(device, precision):
        return network(x.to(device)).float()


def _with_gradient(network: torch.nn.Module, x: torch.Tensor, precision: str) -> tuple:
    """Output and the gradient of a mean square over all weights; float16 as training scales it."""
    network.zero_grad(set_to_none=True)
    scale = 1024.0
    with arithmetic(x.device, precision):
        y = network(x).float()
        (scale * y.square().mean()).backward()
    parts = [p.grad.flatten().float() / scale for p in network.parameters() if p.grad is not None]
    return y.detach(), torch.cat(parts)
