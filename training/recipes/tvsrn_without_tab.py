"""TVSRN's ablation without the through-plane attention block (Table 1)."""

from dataclasses import replace

from . import tvsrn

RECIPE = replace(
    tvsrn.RECIPE,
    name="tvsrn_without_tab",
    title="TVSRN without TAB",
    arguments={"variant": "without_tab"},
    published="38.497 / 0.935",
    parameters="1.56 M",
)
