"""The task of a method: one enhancement with all choices made."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..acquisition import Acquisition
from ..settings import Settings
from ..weights.checkpoint import Weights


@dataclass(frozen=True, kw_only=True)
class Request:
    """One enhancement, with everything chosen.

    Attributes
    ----------
    axis : int
        Through-plane index axis of the volume.
    target_spacing : float
        Slice spacing of the result, mm.
    acquisition : Acquisition
        Thickness, spacing and profile of the thick slices.
    weights : Weights, optional
        For methods that run a network.
    settings : Settings
        The user's options. Methods read axis, spacing, thickness and checkpoint from this class instead.
    tile : int, optional
        Side of the tiles in the authors' tiling, pixels; by default that of the crops in training.
    """

    axis: int
    target_spacing: float
    acquisition: Acquisition
    weights: Weights | None = None
    settings: Settings = field(default_factory=Settings)
    tile: int | None = None
