"""SAINT's released state dict with weights by formula, which the parity arrays were made with."""

from __future__ import annotations

import numpy as np
import torch


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the released state dict, in its order."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inputs: int, outputs: int, side: int = 3) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, side, side), (outputs,)

    def rdn(prefix: str, inputs: int, blocks: int, layers: int, growth: int) -> None:
        conv(f"{prefix}SFENet1", inputs, 64)
        conv(f"{prefix}SFENet2", 64, 64)
        for block in range(blocks):
            for layer in range(layers):
                name = f"{prefix}RDBs.{block}.convs.{layer}.conv.0"
                conv(name, 64 + layer * growth, growth)
            conv(f"{prefix}RDBs.{block}.LFF", 64 + layers * growth, 64, 1)
        conv(f"{prefix}GFF.0", 64 * blocks, 64, 1)
        conv(f"{prefix}GFF.1", 64, 64)

    rdn("", 3, 6, 8, 32)
    for number, (inputs, outputs) in enumerate([(1, 32), (32, 64), (64, 64), (64, 64), (64, 64)]):
        conv(f"GW.meta_block.{2 * number}", inputs, outputs)
    rdn("RFN.", 2, 4, 6, 12)
    conv("RFN.UPNet.0", 64, 1)
    return shapes


def released_state() -> dict[str, torch.Tensor]:
    """A released state dict with weights by formula, as the arrays were made with."""
    state = {}
    for number, (name, shape) in enumerate(released_shapes().items()):
        index = np.arange(np.prod(shape), dtype=np.float64)
        wave = np.abs(np.sin((index + 1) * 12.9898 + (number + 1) * 78.233)) * 43758.5453
        spread = 2 * (wave - np.floor(wave)) - 1
        scale = np.sqrt(3 / np.prod(shape[1:])) if len(shape) > 1 else 0.05
        state[name] = torch.from_numpy((scale * spread).reshape(shape).astype(np.float32))
    return state
