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
        Thickness and spacing of the thick slices, with the box profile that networks assume.
    profiled : Acquisition, optional
        The same with the profile that the slices have: what results are made consistent with. By default
        `acquisition`.
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
    profiled: Acquisition | None = None
    weights: Weights | None = None
    settings: Settings = field(default_factory=Settings)
    tile: int | None = None

    def __post_init__(self):
        if self.profiled is None:
            object.__setattr__(self, "profiled", self.acquisition)
