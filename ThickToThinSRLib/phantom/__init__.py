"""A digital thorax phantom: continuous anatomy from a seed, scanned at any spacing with any slice profile.

`thorax` makes a scan; `anatomy` tells what is in it, for example where the nodules lie. Shapes are analytic
and in millimetres; nothing of it comes from a patient.
"""

from .person import anatomy
from .scan import thorax

__all__ = ["anatomy", "thorax"]
