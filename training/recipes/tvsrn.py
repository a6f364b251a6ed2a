"""TVSRN (Yu et al., MICCAI 2022) as its released code trains it.

Paper and code differ. The paper names Adam with 1e-4 and learned mask tokens. The code has AdamW with 3e-4
and weight decay 1e-4, and mask tokens that stay zero (:mod:`.tvsrn_mask_tokens` learns them). In the code, an
epoch has one crop of 4 x 256 x 256 of each case; batch 1, L1, no flips by default (p = 0.3 if switched on),
stochastic depth up to 0.1. It validates after epochs 1, 6, 11, ... when the training loss is below 0.012.
After 15 validations without a better PSNR (by 1e-6 at least, relative) the learning rate drops to a tenth.
The training ends after 4 drops, or 200 epochs without any gain.

Not as released: on a GPU we compute in bfloat16, the released code in float32 (``--set precision=float32``);
and a training whose loss never falls below 0.012 leaves its weights here, there it ends without any.
"""

from .base import Recipe

RECIPE = Recipe(
    "tvsrn", "TVSRN", "tvsrn", "tvsrn", published="38.609 +- 1.721 / 0.936 +- 0.024", parameters="1.73 M"
)
