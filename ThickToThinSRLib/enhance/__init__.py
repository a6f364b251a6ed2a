"""The whole enhancement of one scan: choose and check (:mod:`.plan`), then do it (:mod:`.run`)."""

from .plan import Plan, Understood, describe_input, plan_for, understand
from .run import NOT_A_CHEST, enhance_file, enhance_volume, repairs_of

__all__ = [
    "NOT_A_CHEST",
    "Plan",
    "Understood",
    "describe_input",
    "enhance_file",
    "enhance_volume",
    "plan_for",
    "repairs_of",
    "understand",
]
