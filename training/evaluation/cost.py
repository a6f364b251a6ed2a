"""The cost of a prediction: operations of its network, and memory."""

from __future__ import annotations

import contextlib
import copy
import ctypes
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import nn


class Work:
    """Operations of the networks that predict within a ``with`` block.

    Every call of a network of the registry is recorded with its input sizes, so that exactly the windows that
    were run are counted. Calls in training, as in an adaptation, are not recorded. If precision ``auto``
    tries a tile twice, it counts once for networks of a fixed factor, since these read the tile itself.

    PyTorch's counter counts the operations on a copy of the network without numbers (device ``meta``) at the
    true sizes, because attention over a whole tile grows with the square of its pixels. Only products are
    counted: a multiplication and an addition are two operations. Attention counts as plain products over the
    tokens of each window. On a CPU, CTH-Net's windows of 8 tokens are computed in pairs with zeros between
    them; this is not counted (0.1 % of its work).

    Parameters
    ----------
    name : str
        Name of the network's weights. Sizes that were counted for a name before are not counted again.
    """

    _known: ClassVar[dict[tuple, float]] = {}

    def __init__(self, name: str):
        self.name = name
        self.calls: Counter[tuple] = Counter()
        self.network = None
        self._last_input = None
        self._handle = None

    def __enter__(self) -> Work:
        from torch.nn.modules.module import register_module_forward_pre_hook

        self._handle = register_module_forward_pre_hook(self._record)
        return self

    def __exit__(self, *_):
        self._handle.remove()
        self._last_input = None

    def _record(self, module, inputs) -> None:
        import torch

        from ThickToThinSRLib.networks.registry import NETWORKS

        if type(module) not in {entry.module for entry in NETWORKS.values()}:
            return
        if torch.is_inference_mode_enabled() and inputs[0] is not self._last_input:
            self.network, self._last_input = module, inputs[0]
            self.calls[tuple(tuple(tensor.shape) for tensor in inputs)] += 1

    @property
    def gflop(self) -> float | None:
        """Operations of all calls together; None if no network was called."""
        if self.network is None:
            return None
        for shapes in self.calls:
            if (self.name, shapes) not in self._known:
                self._known[self.name, shapes] = _counted(self.network, shapes)
        return sum(count * self._known[self.name, shapes] for shapes, count in self.calls.items())


def _counted(network: nn.Module, shapes: tuple) -> float:
    """GFLOP of one call with inputs of these shapes."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from ThickToThinSRLib.networks.swin import SwinBlock

    network = copy.deepcopy(network).to("meta")
    for module in network.modules():
        # These only add, so they do not count; but they depend on numbers, which the copy does not have.
        if isinstance(module, SwinBlock):
            module.masked = False
        if getattr(module, "mask_tokens", None) is not None:
            module.mask_tokens = None
    inputs = [torch.zeros(shape, device="meta") for shape in shapes]
    # Gradients on and attention as plain products, because fused kernels would not be counted.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() / 1e9


class PeakMemory:
    """Peak memory within a ``with`` block, above the memory in use before it.

    On a CUDA GPU this is the memory that PyTorch allocated. On the CPU it is the resident memory of the
    process according to Linux; the peak is reset before, and free memory of the C library is returned to the
    system.

    Parameters
    ----------
    device : str
        Where the work is done.

    Attributes
    ----------
    mib : float or None
        Peak in MiB, after the block; None on systems other than Linux.
    """

    def __init__(self, device: str):
        import torch

        self.gpu = torch.cuda if device.startswith("cuda") and torch.cuda.is_available() else None
        self.device = device
        self.mib: float | None = None
        self.before: float | None = None

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
    """Start a new peak; returns the resident MiB, or None if the system cannot do that."""
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
