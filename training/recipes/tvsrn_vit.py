"""TVSRN's ablation with a ViT encoder (Table 1). Its code was not released, see ``tvsrn_ablations.py``."""

from dataclasses import replace

from . import tvsrn

RECIPE = replace(
    tvsrn.RECIPE,
    name="tvsrn_vit",
    title="TVSRN, ViT encoder",
    arguments={"variant": "vit_encoder"},
    published="35.537 / 0.918",
    parameters="17.15 M",
)
