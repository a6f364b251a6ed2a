"""A small U-Net for planes that hold the through-plane axis: the fast network of SR4ZCT.

After Ronneberger et al., MICCAI 2015, without normalisation; it predicts what an interpolated plane lacks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .window_spec import WindowSpec

# The network also sees what stands out from the mean of this many pixels around, magnified: differences of
# some ten HU, which it is to correct, are small against the range from air to bone.
_AROUND, _DETAIL = 9, 20.0


class UNet(nn.Module):
    """Correction of planes (B, channels, H, W).

    Parameters
    ----------
    channels : int
        Input channels: the interpolated plane in [0, 1], then what describes its acquisition.
    width : int
        Features at full resolution; they double at every level.
    levels : int
        Times the resolution is halved.
    mean, deviation : float
        Of the planes' intensity, to normalise the first channel.
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
                # Without normalisation, signals would fade on their way through some fourteen layers.
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        # Untrained, it corrects nothing.
        nn.init.zeros_(self.head.weight)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to (B, 1, H, W); any H and W."""
        height, width = planes.shape[2:]
        multiple = self.window.multiple
        intensity = planes[:, :1].contiguous()
        # Along rows, then along columns: at once it takes as long as the rest of the network on a CPU.
        around = F.avg_pool2d(intensity, (1, _AROUND), 1, (0, _AROUND // 2), count_include_pad=False)
        around = F.avg_pool2d(around, (_AROUND, 1), 1, (_AROUND // 2, 0), count_include_pad=False)
        detail = ((intensity - around) * _DETAIL).clamp(-6.0, 6.0)
        x = torch.cat([(intensity - self.mean) / self.deviation, detail, planes[:, 1:]], dim=1)
        x = F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        kept = []
        for block in self.down[:-1]:
            x = block(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for level in reversed(range(len(kept))):
            x = self.merge[level](torch.cat([kept.pop(), self.up[level](x)], dim=1))
        return self.head(x)[:, :, :height, :width]


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def window_for(channels: int = 1, width: int = 16, levels: int = 3, **_) -> WindowSpec:
    """Its planes: any size (it pads); what lies further than the margin away has no influence.

    On each level 2 convolutions down and 2 up reach a pixel of that level each, the lowest level's only 2;
    where the cells of that level lie adds up to one of them.
    """
    margin = _AROUND // 2 + sum(4 << level for level in range(levels)) + (3 << levels)
    return WindowSpec(None, channels, 1, 0, 1, multiple=1 << levels, tile=96, margin=margin)
