"""TVSRN's ablation without decoders (Table 1): 8 Swin blocks on 32 channels a slice, sub-pixel upsampling."""

from dataclasses import replace

from . import tvsrn

RECIPE = replace(
    tvsrn.RECIPE,
    name="tvsrn_encoder_only",
    title="TVSRN, encoder only",
    arguments={"variant": "encoder_only", "encoder_blocks": 8, "channels": 32},
    published="38.364 / 0.934",
    parameters="1.58 M",
)
