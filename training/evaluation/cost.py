"""What a prediction costs: operations of its network and memory."""

from __future__ import annotations

import contextlib
import copy
import ctypes
from collections import Counter
from pathlib import Path
from typing import ClassVar


class Work:
    """Operations of the networks that predict within a ``with`` block.

    Every call of a network of the registry is noted with the sizes that it read, so that the windows are
    those that the tiling really ran; training, as in an adaptation, is not noted. A tile that precision
    ``auto`` tries both ways counts once where the network reads it as it is: those of a fixed factor.

    The operations are counted by PyTorch's counter on a copy of the network without numbers (device
    ``meta``), at the true sizes: attention over a whole tile grows with the square of its pixels. Products
    alone count, a multiplication and an addition are two. Attention counts as plain products over the tokens
    of each window. That CTH-Net's windows of 8 tokens are taken two at a time on a CPU, with zeros between
    them, is not counted (0.1 % of its work).

    Parameters
    ----------
    name : str
        Of the network's weights: what was counted for them is not counted again.
    """

    _known: ClassVar[dict[tuple, float]] = {}

    def __init__(self, name: str):
        self.name = name
        self.calls: Counter[tuple] = Counter()
        self.network = None
        self._last = None

    def __enter__(self) -> Work:
        from torch.nn.modules.module import register_module_forward_pre_hook

        self._handle = register_module_forward_pre_hook(self._note)
        return self

    def __exit__(self, *_):
        self._handle.remove()
        self._last = None

    def _note(self, module, inputs) -> None:
        import torch

        from ThickToThinSRLib.networks.registry import NETWORKS

        if type(module) not in {entry.module for entry in NETWORKS.values()}:
            return
        if torch.is_inference_mode_enabled() and inputs[0] is not self._last:
            self.network, self._last = module, inputs[0]
            self.calls[tuple(tuple(tensor.shape) for tensor in inputs)] += 1

    @property
    def gflop(self) -> float | None:
        """All calls together; None where no network was called."""
        if self.network is None:
            return None
        for shapes in self.calls:
            if (self.name, shapes) not in self._known:
                self._known[self.name, shapes] = _counted(self.network, shapes)
        return sum(count * self._known[self.name, shapes] for shapes, count in self.calls.items())


def _counted(network, shapes: tuple) -> float:
    """GFLOP of one call with inputs of these shapes."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from ThickToThinSRLib.networks.swin import SwinBlock

    network = copy.deepcopy(network).to("meta")
    for module in network.modules():
        # Sums, which are not counted, but whose places depend on numbers.
        if isinstance(module, SwinBlock):
            module.masked = False
        if getattr(module, "mask_tokens", None) is not None:
            module.mask_tokens = None
    inputs = [torch.zeros(shape, device="meta") for shape in shapes]
    # With gradients on and attention as plain products: fused kernels would not be counted.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() / 1e9


class PeakMemory:
    """Highest use of memory within a ``with`` block above that before it, MiB.

    On a CUDA GPU what PyTorch allocated there. On the CPU the resident memory of the process, as Linux tells
    it (the peak is reset before, and what the C library holds ready is given back); None elsewhere.
    """

    def __init__(self, device: str):
        import torch

        self.gpu = torch.cuda if device.startswith("cuda") and torch.cuda.is_available() else None
        self.device = device
        self.mib: float | None = None

    def __enter__(self) -> PeakMemory:
        if self.gpu:
            self.gpu.reset_peak_memory_stats(self.device)
            self.before = self.gpu.memory_allocated(self.device) / 2**20
        else:
            self.before = _reset_resident_peak()
        return self

    def __exit__(self, *_):
        if self.gpu:
            self.mib = self.gpu.max_memory_allocated(self.device) / 2**20 - self.before
        elif self.before is not None:
            self.mib = max(0.0, _resident("VmHWM") - self.before)


def _reset_resident_peak() -> float | None:
    """Resident MiB from which on the peak counts anew; None where the system does not do that."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _resident("VmRSS")
    except (OSError, ValueError):
        return None


def _resident(kind: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(kind)
