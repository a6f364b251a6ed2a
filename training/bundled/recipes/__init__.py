"""One recipe for each set of weights that ships with the project, by name."""

from __future__ import annotations

from . import sr4zct_unet, tvsrn_warm, universal

RECIPES = {module.RECIPE.name: module.RECIPE for module in (universal, sr4zct_unet, tvsrn_warm)}
