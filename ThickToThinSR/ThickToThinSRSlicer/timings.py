"""How long a run will take, from the last one with the same method on the same device."""

import slicer


def _key(method, device):
    return f"ThickToThinSR/secondsPerMillionVoxels/{method}/{device}"


def remember(method, device, seconds, voxels):
    """Keep how long a run took for so many voxels of its result."""
    slicer.app.userSettings().setValue(_key(method, device), f"{1e6 * seconds / voxels:.6g}")


def expected(method, device, voxels):
    """Seconds that a run will take, or None if there was none on this device yet."""
    rate = slicer.app.userSettings().value(_key(method, device))
    try:
        return float(rate) * voxels / 1e6
    except (TypeError, ValueError):
        return None
