"""TVSRN with learned mask tokens, as in its paper; the released code never registered them as parameters."""

from dataclasses import replace

from . import tvsrn

RECIPE = replace(
    tvsrn.RECIPE,
    name="tvsrn_mask_tokens",
    title="TVSRN, learned mask tokens",
    arguments={"learned_mask_tokens": True},
)
