"""Cubic B-spline interpolation, the baseline: nothing is trained."""

from .base import Recipe

RECIPE = Recipe("interpolation", "Cubic interpolation", "interpolation")
