"""Whether Slicer shows what the NIfTI file of a volume says.

Slicer's reader chooses between positions that contradict each other, and interprets illegal headers, without
a word. The library's reader refuses them or chooses by the standard.
"""

import itertools
import pathlib

import numpy as np
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.io.volume_files import read_volume

_ENDINGS = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
_APART = 0.1  # mm


def check(node, volume):
    """Raise UserError if the NIfTI file that `node` shows says otherwise; `volume` is the node's Volume.

    A node that was changed since it was loaded is what the user made of it, and is not checked.
    """
    storage = node.GetStorageNode()
    path = pathlib.Path((storage.GetFileName() if storage else None) or "")
    if not path.name.lower().endswith(_ENDINGS) or not path.is_file() or node.GetModifiedSinceRead():
        return
    try:
        stated = read_volume(path)
    except UserError as error:
        raise UserError(_wayOut(node, str(error))) from error
    if not _sameGrid(volume, stated):
        spacings = [" x ".join(f"{mm:.4g}" for mm in one.spacing) for one in (stated, volume)]
        text = _("{path} says voxels of {stated} mm, Slicer shows {shown} mm, or elsewhere")
        raise UserError(_wayOut(node, text.format(path=path, stated=spacings[0], shown=spacings[1])))
    if not np.allclose(_values(volume), _values(stated), rtol=1e-4, atol=0.5):
        text = _("{path} says values from {stated}, Slicer shows {shown}")
        ranges = [f"{low:g} to {high:g}" for low, high, mean in map(_values, (stated, volume))]
        raise UserError(_wayOut(node, text.format(path=path, stated=ranges[0], shown=ranges[1])))


def _wayOut(node, text):
    return _(
        "{name}: {text}. Mend the file; or, if the volume is right in Slicer, save it as NRRD and enhance it "
        "then"
    ).format(name=node.GetName(), text=text)


def _sameGrid(one, other):
    """Whether the corners are in the same places; Slicer turns left-handed volumes over."""
    first, second = _corners(one), _corners(other)
    distances = np.linalg.norm(first[:, None] - second[None], axis=-1)
    return sorted(one.voxels.shape) == sorted(other.voxels.shape) and distances.min(axis=0).max() <= _APART


def _corners(volume):
    last = np.array(volume.voxels.shape[::-1]) - 1
    return np.array([volume.position(*(last * part)) for part in itertools.product((0, 1), repeat=3)])


def _values(volume):
    return (
        float(volume.voxels.min()),
        float(volume.voxels.max()),
        float(volume.voxels.mean(dtype=np.float64)),
    )
