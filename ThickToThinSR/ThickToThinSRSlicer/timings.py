"""Expected duration of a run, from the last run with the same method on the same device."""

import slicer


def _key(method, device):
    return f"ThickToThinSR/secondsPerMillionVoxels/{method}/{device}"


def remember(method, device, seconds, voxels):
    """Save the duration of a run.

    :param seconds: duration.
    :param voxels: number of voxels of the result.
    """
    slicer.app.userSettings().setValue(_key(method, device), f"{1e6 * seconds / voxels:.6g}")


def expected(method, device, voxels):
    """Expected duration in seconds; None before the first run with this method on this device."""
    rate = slicer.app.userSettings().value(_key(method, device))
    try:
        return float(rate) * voxels / 1e6
    except (TypeError, ValueError):
        return None
