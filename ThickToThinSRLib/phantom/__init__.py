"""A digital thorax phantom: anatomy from a random seed, scanned at any slice spacing and thickness.

`thorax` makes a scan; `anatomy` describes the person in it, for example the positions of the nodules. All
shapes are analytic, in millimetres; no patient data is used.
"""

from .person import anatomy
from .scan import thorax

__all__ = ["anatomy", "thorax"]
