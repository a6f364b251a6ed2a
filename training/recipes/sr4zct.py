"""SR4ZCT: trained anew on every scan it is given, here on each of a test set; nothing is trained beforehand.

``python -m training.benchmark --method sr4zct --epochs N`` (or ``--minutes M``) runs it over a split; the
released code takes 200 epochs a scan, Adam with 1e-3, MSE and batch 1.
"""

from .base import Recipe

RECIPE = Recipe("sr4zct", "SR4ZCT", "sr4zct")
