"""Recipes by name: how each published system is trained.

A recipe is a file of its own in this package with one object ``RECIPE``; it names the released settings and,
where paper and code differ, both.
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
    """The recipe of that name; UserError if there is none."""
    if name not in NAMES:
        raise UserError(f"no recipe {name!r}; there are: {', '.join(NAMES)}")
    return import_module(f"{__name__}.{name}").RECIPE
