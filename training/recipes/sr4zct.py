"""SR4ZCT on a test set: the bundled U-Net (recipe sr4zct_unet) as it is, or adapted to each scan.

``python -m training.benchmark --method sr4zct`` with ``--epochs N`` or ``--minutes M`` adapts it. With
``--network msd`` as well it trains the paper's MS-D network on each scan alone (released code: 200 epochs,
Adam with 1e-3, MSE, batch 1). ``thicktothin enhance`` takes the same options.
"""

from .base import Recipe

RECIPE = Recipe("sr4zct", "SR4ZCT", "sr4zct")
