"""A small U-Net for coronal and sagittal planes: the fast network of SR4ZCT.

After Ronneberger et al., MICCAI 2015, without normalisation. It predicts the correction of interpolated
planes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .window_spec import WindowSpec

# The second input channel is the difference from the local mean over this many pixels, amplified: the
# differences to be corrected are some ten HU, small compared with the range from air to bone.
_AROUND, _DETAIL = 9, 20.0


class UNet(nn.Module):
    """Predicts the correction of interpolated planes (B, channels, H, W).

    Parameters
    ----------
    channels : int
        Input channels: the interpolated plane on [0, 1], then constant channels that describe the
        acquisition.
    width : int
        Features at full resolution; they double at every level.
    levels : int
        Number of times the resolution is halved.
    mean, deviation : float
        Mean and standard deviation of the planes' intensity, to normalise the first channel.
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 16,
        levels: int = 3,
        mean: float = 0.25,
        deviation: float = 0.15,
    ):
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.window = window_for(channels, width, levels)
        widths = [width << level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            _block(before, after) for before, after in zip([channels + 1, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[:-1])
        self.merge = nn.ModuleList(_block(2 * w, w) for w in widths[:-1])
        self.head = nn.Conv2d(width, 1, 1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                # Without normalisation, default weights would attenuate the signal over some fourteen layers.
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        # The untrained network predicts no correction (its output is zero).
        nn.init.zeros_(self.head.weight)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to (B, 1, H, W); any H and W."""
        height, width = planes.shape[2:]
        multiple = self.window.multiple
        intensity = planes[:, :1].contiguous()
        # First along rows, then along columns: a two-dimensional mean would take as long as the rest of the
        # network on a CPU.
        around = F.avg_pool2d(intensity, (1, _AROUND), 1, (0, _AROUND // 2), count_include_pad=False)
        around = F.avg_pool2d(around, (_AROUND, 1), 1, (_AROUND // 2, 0), count_include_pad=False)
        detail = ((intensity - around) * _DETAIL).clamp(-6.0, 6.0)
        x = torch.cat([(intensity - self.mean) / self.deviation, detail, planes[:, 1:]], dim=1)
        x = F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        skips = []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for level in reversed(range(len(skips))):
            x = self.merge[level](torch.cat([skips.pop(), self.up[level](x)], dim=1))
        return self.head(x)[:, :, :height, :width]


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def window_for(channels: int = 1, width: int = 16, levels: int = 3, **_) -> WindowSpec:
    """Window specification: planes of any size (padded inside); pixels beyond the margin have no influence.

    At each level, two convolutions on the way down and two on the way up reach one pixel of that level each;
    at the lowest level there are only two. The alignment of the pooling grid adds up to one pixel of the
    lowest level.
    """
    margin = _AROUND // 2 + sum(4 << level for level in range(levels)) + (3 << levels)
    return WindowSpec(None, channels, 1, 0, 1, multiple=1 << levels, tile=96, margin=margin)
