"""SR4ZCT over a test set: the bundled U-Net (``training.warmstart``), as it is or adapted to each scan.

``python -m training.benchmark --method sr4zct`` with ``--epochs N`` or ``--minutes M`` adapts it. The paper's
dense network, which learns from a scan alone (200 epochs, Adam with 1e-3, MSE and batch 1 in the released
code), runs with ``--network msd`` beside; ``thicktothin enhance`` takes the same options.
"""

from .base import Recipe

RECIPE = Recipe("sr4zct", "SR4ZCT", "sr4zct")
