"""A phantom of known place keeps it: file -> enhance -> file, in all axis orders and directions."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from ThickToThinSRLib.enhance import enhance_file
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume

CENTRE = np.array([12.3, -45.6, 78.9])  # LPS mm
SPHERE = np.eye(3) * 7.0**2
# A bar: 16 mm long, 6.5 mm thick, tilted against every axis.
TILT = np.linalg.qr(np.array([[1.0, 0.4, 0.1], [0.6, -1.0, 0.3], [0.3, 0.2, 1.0]]))[0]
BAR = TILT @ np.diag([16.0**2, 6.5**2, 6.5**2]) @ TILT.T


def sampled(covariance, direction, spacing, dtype=np.float32):
    """The object, with a Gaussian edge of that covariance in mm^2, as a scanner would sample it."""
    extents = [round(140 / step) for step in spacing]
    origin = CENTRE - direction @ (np.asarray(spacing) * (np.asarray(extents) - 1) / 2 + (0.31, -0.17, 0.23))
    i, j, k = np.meshgrid(*(np.arange(n) for n in extents), indexing="ij")
    index = np.stack([i, j, k], -1) * spacing
    offset = index @ direction.T + origin - CENTRE
    weight = np.exp(-0.5 * np.einsum("...a,ab,...b", offset, np.linalg.inv(covariance), offset))
    voxels = (20000 * weight).transpose(2, 1, 0)
    return Volume(voxels.astype(dtype), spacing, tuple(origin), direction)


def moments(volume):
    """Centroid (mm, LPS) and covariance (mm^2) of a volume's voxels, from its sums along each axis."""
    share = volume.voxels.transpose(2, 1, 0).astype(np.float64)
    share /= share.sum()
    along = [np.arange(n) * step for n, step in zip(share.shape, volume.spacing, strict=True)]
    mean = np.array([np.einsum("ijk->" + "ijk"[a], share) @ along[a] for a in range(3)])
    centred = [place - middle for place, middle in zip(along, mean, strict=True)]
    covariance = np.empty((3, 3))
    for a, b in product(range(3), repeat=2):
        both = np.einsum(share, [0, 1, 2], [a, b] if a != b else [a])
        covariance[a, b] = both @ centred[a] ** 2 if a == b else centred[a] @ both @ centred[b]
    turn = volume.direction
    return turn @ mean + volume.origin, turn @ covariance @ turn.T


def directions():
    """All 48 axis orders and directions, and one oblique and left-handed."""
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            yield np.eye(3)[:, list(order)] * signs
    oblique = np.linalg.qr(np.array([[1.0, 0.2, -0.3], [-0.1, 1.0, 0.25], [0.35, -0.2, 1.0]]))[0]
    yield oblique * (1, 1, -np.sign(np.linalg.det(oblique)))


@pytest.mark.parametrize("through_plane", [0, 1, 2])
@pytest.mark.parametrize("shape", [SPHERE, BAR], ids=["sphere", "bar"])
def test_objects_keep_their_place_to_a_hundredth_of_a_millimetre(tmp_path, shape, through_plane):
    spacing = [3.3, 3.3, 3.3]
    spacing[through_plane] = 5.0
    suffixes = (".nii.gz", ".nrrd", ".mha", ".nii")
    targets = (1.0, 1.25, 1.7)
    for number, direction in enumerate(directions()):
        thick = sampled(shape, direction, tuple(spacing))
        suffix, target = suffixes[number % 4], targets[number % 3]
        write_volume(thick, tmp_path / f"thick{suffix}")
        settings = Settings(method="interpolation", spacing=target)
        enhance_file(tmp_path / f"thick{suffix}", tmp_path / f"thin{suffix}", settings, overwrite=True)
        thin = read_volume(tmp_path / f"thin{suffix}")
        assert abs(thin.spacing[through_plane] - target) < 1e-6
        assert np.allclose(thin.origin, thick.origin, atol=1e-4)
        assert np.allclose(thin.direction, direction, atol=1e-6)
        centroid, covariance = moments(thin)
        assert np.abs(centroid - CENTRE).max() < 0.01
        # Twenty millimetres along the bar it must lie right, too.
        assert np.abs(covariance - shape).max() < 0.01 * 20


def test_the_first_and_last_thin_slices_are_the_first_and_last_thick_ones(tmp_path):
    thick = sampled(SPHERE, np.eye(3), (2.5, 2.5, 5.0), np.int16)
    write_volume(thick, tmp_path / "thick.nrrd")
    enhance_file(tmp_path / "thick.nrrd", tmp_path / "thin.nrrd", Settings(method="interpolation", factor=5))
    thin = read_volume(tmp_path / "thin.nrrd")
    assert thin.voxels.dtype == np.int16
    assert np.array_equal(thin.voxels[::5], thick.voxels)


def test_a_compressed_nifti_file_is_read_even_where_its_uncompressed_namesake_lies_beside_it(tmp_path):
    """ITK's NIfTI library takes the voxels of scan.nii for those of scan.nii.gz."""
    for value, name in ((1, "scan.nii"), (2, "scan.nii.gz")):
        write_volume(Volume(np.full((4, 5, 6), value, np.int16), (1, 1, 3)), tmp_path / name)
    assert (read_volume(tmp_path / "scan.nii.gz").voxels == 2).all()
    assert (read_volume(tmp_path / "scan.nii").voxels == 1).all()
