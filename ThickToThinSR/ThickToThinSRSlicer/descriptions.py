"""Texts of the panel: input, expected result, progress, errors."""

import numpy as np

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.choices import acquisition_of
from ThickToThinSRLib.volume import slice_count

# The plane perpendicular to each patient axis (L, P, S).
_PLANES = ("sagittal", "coronal", "axial")
# The panel's names for the options in errors.
_OPTIONS = {
    "spacing": "target spacing",
    "thickness": "slice thickness (under Advanced)",
    "checkpoint": "weights file",
    "add_weights": "Add weights (under Advanced)",
    "overwrite": "removing the earlier one",
    "device": "device (under Advanced)",
    "precision": "precision (under Advanced)",
    "tiling": "tiling (under Advanced)",
    "nifti": "--nifti in a terminal",
    "untilt": "--untilt in a terminal",
    "resample_uneven": "--resample-uneven in a terminal",
}


def ofInput(volume, axis, thickness=None):
    """The input, such as "512 x 512 x 64, 0.84 x 0.84 x 5.00 mm, axial; slice thickness 5.0 mm (DICOM)"."""
    size = " x ".join(str(count) for count in volume.voxels.shape[::-1])
    spacing = " x ".join(f"{value:.2f}" for value in volume.spacing)
    acquisition, thicknessFrom = acquisition_of(volume, axis, thickness)
    origin = {"DICOM": "DICOM", "option": "as you set it"}.get(thicknessFrom, "assumed")
    return (
        f"{size}, {spacing} mm, {plane(volume, axis)}; "
        f"slice thickness {acquisition.thickness:.1f} mm ({origin})"
    )


def plane(volume, axis):
    """The plane of the slices; "oblique" if it is tilted by more than 5 degrees."""
    normal = np.abs(volume.direction[:, axis])
    nearest = int(np.argmax(normal))
    oblique = "oblique " if normal[nearest] < np.cos(np.deg2rad(5)) else ""
    return oblique + _PLANES[nearest]


def resultSize(volume, axis, spacing):
    """Number of thin slices, and size of the result in bytes."""
    count = slice_count(volume.voxels.shape[2 - axis], volume.spacing[axis], spacing)
    pixels = volume.voxels.size // volume.voxels.shape[2 - axis]
    return count, count * pixels * volume.voxels.dtype.itemsize


def ofResult(volume, axis, spacing):
    """The expected result, such as "316 slices every 1.00 mm, 165 MB"."""
    count, size = resultSize(volume, axis, spacing)
    return f"{count} slices every {spacing:.2f} mm, {int(size / 1e6)} MB"


def ofProgress(event):
    """A progress event, such as "network, 40 %, about 3 min left"."""
    percent = round(100 * event["done"] / max(1, event["total"]))
    seconds = event["seconds_left"]
    timeLeft = "" if seconds is None else f", about {ofSeconds(seconds)} left"
    return f"{event['stage']}, {percent} %{timeLeft}"


def ofSeconds(seconds):
    """A duration, such as "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def inPanelWords(error):
    """The text of an error, with the panel's names for options."""
    if isinstance(error, UserError):
        return error.worded(lambda option: _OPTIONS.get(option, option.replace("_", " ")))
    return getattr(error, "summary", str(error))
