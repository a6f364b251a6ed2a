"""SR4ZCT on a test set: the bundled U-Net (recipe sr4zct_unet) as it is, or adapted to each scan.

``python -m training.benchmark --method sr4zct`` with ``--epochs N`` or ``--minutes M`` adapts it. With
``--network msd`` as well it trains the paper's MS-D network on each scan alone. ``thicktothin enhance`` takes
the same options.

The released code trains for a fixed 200 epochs on all slices: Adam with a constant 1e-3, MSE, batch 1. Ours
begins with the same rate, loss and batch for the MS-D network. Otherwise it deviates: an eighth of the slices
is held out, and the weights that are best on them are used; the training stops early when nothing improves on
them; the rate warms up and falls as a cosine; gradients are clipped to a norm of 1; pairs are flipped.
"""

from .base import Recipe

RECIPE = Recipe("sr4zct", "SR4ZCT", "sr4zct")
