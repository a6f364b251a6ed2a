"""What a method is asked to do with a volume."""

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
        How the thick slices were made.
    weights : Weights, optional
        For methods that run a network.
    settings : Settings
        What else was asked for; the fields that this class has too are resolved here and not read there.
    tile : int, optional
        Side of the tiles in the authors' tiling, pixels; by default that of the crops in training.
    """

    axis: int
    target_spacing: float
    acquisition: Acquisition
    weights: Weights | None = None
    settings: Settings = field(default_factory=Settings)
    tile: int | None = None
