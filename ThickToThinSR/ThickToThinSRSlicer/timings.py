"""Expected duration of a run on the processor and on a GPU."""

import slicer
from slicer.i18n import tr as _

from ThickToThinSRLib.methods.registry import METHODS

from .descriptions import ofSeconds

CPU, GPU = "cpu", "gpu"
# Seconds for a million voxels of the result on two cores, from docs/performance.md.
_MEASURED_ELSEWHERE = {"interpolation": 0.08, "consistent": 0.15, "universal": 0.5, "sr4zct": 2.0}


def _key(method, processor):
    return f"ThickToThinSR/secondsPerMillionVoxels/{method}/{processor}"


def remember(method, device, seconds, voxels):
    """Save the duration of a run.

    :param device: what ran the network: "cpu", "cuda", ...
    :param seconds: duration.
    :param voxels: number of voxels of the result.
    """
    processor = CPU if device.startswith(CPU) else GPU
    slicer.app.userSettings().setValue(_key(method, processor), f"{1e6 * seconds / voxels:.6g}")


def expectation(method, device, voxels):
    """How long a run will take, for the user; empty if nothing is known.

    :param device: the chosen device: "auto", "cpu", "cuda", ...
    :param voxels: number of voxels of the result.
    """
    here = {processor: _seconds(method, processor, voxels) for processor in (CPU, GPU)}
    texts = []
    if device in ("auto", "cpu"):
        if here[CPU] is not None:
            texts.append(_("about {time} on the CPU, as in the last run").format(time=ofSeconds(here[CPU])))
        elif method in _MEASURED_ELSEWHERE:
            time = ofSeconds(_MEASURED_ELSEWHERE[method] * voxels / 1e6)
            texts.append(_("about {time} on a CPU with two cores").format(time=time))
    if device != "cpu" and METHODS[method].learns:
        if here[GPU] is not None:
            texts.append(_("about {time} on the GPU, as in the last run").format(time=ofSeconds(here[GPU])))
        else:
            texts.append(_("faster on a GPU"))
    return ", ".join(texts)


def _seconds(method, processor, voxels):
    rate = slicer.app.userSettings().value(_key(method, processor))
    try:
        return float(rate) * voxels / 1e6
    except (TypeError, ValueError):
        return None
