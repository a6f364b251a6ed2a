"""TVSRN with learned mask tokens, as its paper says; the released code never registered them."""

from dataclasses import replace

from . import tvsrn

RECIPE = replace(
    tvsrn.RECIPE,
    name="tvsrn_mask_tokens",
    title="TVSRN, learned mask tokens",
    arguments={"learned_mask_tokens": True},
)
