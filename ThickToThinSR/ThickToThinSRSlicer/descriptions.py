"""Texts of the panel: input, expected result, progress, errors."""

import numpy as np
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.choices import acquisition_of
from ThickToThinSRLib.volume import slice_count


def _planes():
    """The plane perpendicular to each patient axis (L, P, S), straight and oblique."""
    return (
        (_("sagittal"), _("oblique sagittal")),
        (_("coronal"), _("oblique coronal")),
        (_("axial"), _("oblique axial")),
    )


def _optionNames():
    """The panel's names for the options in errors."""
    return {
        "spacing": _("target spacing"),
        "thickness": _("slice thickness (under Advanced)"),
        "checkpoint": _("weights file"),
        "add_weights": _("Add weights (under Advanced)"),
        "overwrite": _("removing the earlier one"),
        "device": _("device (under Advanced)"),
        "precision": _("precision (under Advanced)"),
        "tiling": _("tiling (under Advanced)"),
        "nifti": _("--nifti in a terminal"),
        "untilt": _("--untilt in a terminal"),
        "resample_uneven": _("--resample-uneven in a terminal"),
    }


def ofInput(volume, axis, thickness=None):
    """The input, such as "512 x 512 x 64, 0.84 x 0.84 x 5.00 mm, axial; slice thickness 5.0 mm (DICOM)"."""
    size = " x ".join(str(count) for count in volume.voxels.shape[::-1])
    spacing = " x ".join(f"{value:.2f}" for value in volume.spacing)
    acquisition, thicknessFrom = acquisition_of(volume, axis, thickness)
    return _("{size}, {spacing} mm, {plane}; slice thickness {thickness:.1f} mm ({origin})").format(
        size=size,
        spacing=spacing,
        plane=plane(volume, axis),
        thickness=acquisition.thickness,
        origin=thicknessOrigin(thicknessFrom),
    )


def thicknessOrigin(thicknessFrom):
    """Where a slice thickness comes from; `thicknessFrom` is the library's word for it."""
    return {"DICOM": _("DICOM"), "option": _("as you set it")}.get(thicknessFrom, _("assumed"))


def plane(volume, axis):
    """The plane of the slices; "oblique" if it is tilted by more than 5 degrees."""
    normal = np.abs(volume.direction[:, axis])
    nearest = int(np.argmax(normal))
    return _planes()[nearest][int(normal[nearest] < np.cos(np.deg2rad(5)))]


def resultSize(volume, axis, spacing):
    """Number of thin slices, and size of the result in bytes."""
    count = slice_count(volume.voxels.shape[2 - axis], volume.spacing[axis], spacing)
    pixels = volume.voxels.size // volume.voxels.shape[2 - axis]
    return count, count * pixels * volume.voxels.dtype.itemsize


def ofResult(volume, axis, spacing):
    """The expected result, such as "316 slices every 1.00 mm, 165 MB"."""
    count, size = resultSize(volume, axis, spacing)
    text = _("{count} slices every {spacing:.2f} mm, {megabytes} MB")
    return text.format(count=count, spacing=spacing, megabytes=int(size / 1e6))


def ofProgress(event):
    """A progress event, such as "network, 40 %, about 3 min left"."""
    percent = round(100 * event["done"] / max(1, event["total"]))
    seconds = event["seconds_left"]
    if seconds is None:
        return _("{stage}, {percent} %").format(stage=event["stage"], percent=percent)
    text = _("{stage}, {percent} %, about {time} left")
    return text.format(stage=event["stage"], percent=percent, time=ofSeconds(seconds))


def ofSeconds(seconds):
    """A duration, such as "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return _("{count} s").format(count=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("{count} min").format(count=minutes)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)


def inPanelWords(error):
    """The text of an error, with the panel's names for options."""
    if isinstance(error, UserError):
        names = _optionNames()
        return error.worded(lambda option: names.get(option, option.replace("_", " ")))
    return getattr(error, "summary", str(error))
