"""Recipes by name: how each published system is trained.

Each recipe is one file in this package with one object ``RECIPE``. It has the settings of the released code;
where paper and code differ, its docstring names both.
"""

from __future__ import annotations

from importlib import import_module

from ThickToThinSRLib.errors import UserError

from .base import Recipe

NAMES = (
    "interpolation",
    "tvsrn",
    "tvsrn_mask_tokens",
    "tvsrn_vit",
    "tvsrn_encoder_only",
    "tvsrn_without_tab",
    "cthnet",
    "saint",
    "resvox",
    "mpunet",
    "davsr",
    "sr4zct",
)


def find_recipe(name: str) -> Recipe:
    """The recipe of this name; raises UserError if there is none."""
    if name not in NAMES:
        raise UserError(f"no recipe {name!r}; there are: {', '.join(NAMES)}")
    return import_module(f"{__name__}.{name}").RECIPE
