"""TVSRN (Yu et al., MICCAI 2022) as its released code trains it.

Paper and code differ: the paper names Adam with 1e-4 and learned mask tokens, the code has AdamW with 3e-4
and weight decay 1e-4, and mask tokens that stay zero (:mod:`.tvsrn_mask_tokens` learns them). Code: one crop
of 4 x 256 x 256 a case and epoch, batch 1, L1, no flip by default (p = 0.3 where switched on), stochastic
depth up to 0.1; validation every 5 epochs once the training loss is under 0.012; the learning rate drops by
0.1 after 15 validations without a better PSNR; the end comes after 4 drops or 200 epochs without gain.
"""

from .base import Recipe

RECIPE = Recipe(
    "tvsrn", "TVSRN", "tvsrn", "tvsrn", published=(38.609, 0.936), parameters="1.73 M (code 2.387 M)"
)
