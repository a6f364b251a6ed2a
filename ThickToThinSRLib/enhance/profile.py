"""The slice profile that a result is made consistent with: as the user says, or as the noise says."""

from __future__ import annotations

from dataclasses import replace

from ..inspection.slice_profile import with_rounding
from ..methods.registry import METHODS
from ..monitor import Monitor
from .plan import Plan


def with_profile(plan: Plan, monitor: Monitor) -> Plan:
    """The plan with the profile of the slices, told to the user where it is found not to be a box."""
    request = plan.request
    acquisition, profile = request.acquisition, request.settings.profile
    if profile != "auto":
        profiled = replace(acquisition, profile=profile)
    elif METHODS[plan.method].uses_profile:
        profiled = with_rounding(acquisition, plan.hu.slices_first(request.axis))
    else:
        return plan
    if profiled.rounding:
        monitor.note(
            f"by the noise of neighbouring slices, the slice profile is not a box of "
            f"{acquisition.thickness:g} mm, but rounded off by a Gaussian of {profiled.rounding:.2f} of "
            "that; the option profile can be set to box"
        )
    return replace(plan, request=replace(request, profiled=profiled))
