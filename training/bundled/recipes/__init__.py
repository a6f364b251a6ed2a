"""A recipe for each set of weights that ships, and `universal_first`, with which `universal` begins."""

from __future__ import annotations

from . import (
    cthnet_warm,
    davsr_warm,
    mpunet_warm,
    resvox_warm,
    saint_warm,
    sr4zct_unet,
    tvsrn_warm,
    universal,
    universal_first,
)

_MODULES = (
    universal,
    universal_first,
    sr4zct_unet,
    tvsrn_warm,
    cthnet_warm,
    saint_warm,
    resvox_warm,
    mpunet_warm,
    davsr_warm,
)
RECIPES = {module.RECIPE.name: module.RECIPE for module in _MODULES}
