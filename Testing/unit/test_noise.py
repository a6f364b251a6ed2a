"""Noise restored to thin slices: as strong as theirs, of their spectrum, invisible to the thick slices."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from scipy import fft
from scipy.ndimage import gaussian_filter

from Testing.make_dicom import ct_series, write_series
from ThickToThinSRLib.acquisition import Acquisition
from ThickToThinSRLib.enhance import enhance_file, enhance_volume
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.trust.noise import restore_noise
from ThickToThinSRLib.trust.noise_estimate import estimate_noise, noise_amplitude
from ThickToThinSRLib.volume import Volume, slice_count

PROTOCOLS = [(5.0, 5.0), (5.0, 2.5), (3.0, 2.0), (2.0, 5.0)]
SIGMA = 20.0


def noisy(slices=61, side=160, seed=0) -> np.ndarray:
    """Thin slices of water, twice as noisy on the right; the kernel damps low and high frequencies."""
    rng = np.random.default_rng(seed)
    white = gaussian_filter(rng.standard_normal((slices, side, side)), [0.6, 0, 0])
    blurred = gaussian_filter(white, [0, 0.8, 0.8]) - 0.7 * gaussian_filter(white, [0, 2.0, 2.0])
    strength = np.where(np.arange(side) < side // 2, SIGMA, 2 * SIGMA)
    return (strength * blurred / blurred.std()).astype(np.float32)


def pair(thickness, spacing):
    thin = noisy()
    acquisition = Acquisition(thickness, spacing)
    count = int((len(thin) - 1) / spacing) + 1
    thick = np.tensordot(acquisition.matrix(count, len(thin), 1.0), thin, axes=1).astype(np.float32)
    return thin[: slice_count(count, spacing, 1.0)], thick, acquisition


def plain(thick, acquisition):
    volume = Volume(thick, (0.7, 0.7, acquisition.spacing), slice_axis=2, thickness=acquisition.thickness)
    return enhance_volume(volume, Settings(method="consistent", axis=2))[0].voxels


def restored(start, thick, acquisition, seed=0):
    result = start.copy()
    told = restore_noise(result, thick, acquisition, 1.0, seed, Monitor())
    return result, told


@pytest.mark.parametrize(("thickness", "spacing"), PROTOCOLS)
def test_the_thick_slices_cannot_tell(thickness, spacing):
    _, thick, acquisition = pair(thickness, spacing)
    start = plain(thick, acquisition)
    result, _ = restored(start, thick, acquisition)
    weights = acquisition.matrix(len(thick), len(start), 1.0)
    seen = np.abs(np.tensordot(weights, result - start, axes=1))[
        acquisition.inside(len(thick), len(start), 1.0)
    ]
    assert seen.mean() < 0.01
    assert (result - start).std() > 3 or spacing < thickness


def test_the_same_seed_gives_the_same_voxels_and_another_seed_others():
    _, thick, acquisition = pair(5.0, 5.0)
    start = plain(thick, acquisition)
    first, again, other = (restored(start, thick, acquisition, seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef((first - start).ravel(), (other - start).ravel())[0, 1]) < 0.02


def test_the_noise_becomes_that_of_thin_slices_here_and_there():
    truth, thick, acquisition = pair(5.0, 5.0)
    start = plain(thick, acquisition)
    result, told = restored(start, thick, acquisition)
    inner = slice(5, -5)
    for half in (slice(0, 60), slice(100, 160)):
        true, before, after = (v[inner, :, half].std() for v in (truth, start, result))
        assert before < 0.7 * true
        assert after == pytest.approx(true, rel=0.15)
    assert told.thick_hu < told.thin_hu and told.seed == 0


def test_its_spectrum_is_that_of_the_scan():
    truth, thick, acquisition = pair(5.0, 5.0)
    start = plain(thick, acquisition)
    added = restored(start, thick, acquisition)[0] - start
    frequency = np.hypot(fft.fftfreq(160)[:, None], fft.fftfreq(80)[None])
    rings = [(frequency >= low) & (frequency < low + 0.05) for low in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)]

    def shape(slices):
        power = np.square(np.abs(fft.fft2(slices[5:-5, :, :80]))).mean(axis=0)
        means = np.array([power[ring].mean() for ring in rings])
        return means / means.sum()

    assert np.abs(shape(added) - shape(truth)).max() < 0.05
    # White noise would be at an equal sixth everywhere.
    assert shape(truth).max() > 4 * shape(truth).min()


def test_the_estimate_is_not_fooled_by_vessels():
    thin = noisy()[::5]
    crowded = thin.copy()
    rng = np.random.default_rng(1)
    for index, row, column in zip(*(rng.integers(0, size, 900) for size in (13, 156, 156)), strict=True):
        crowded[index, row : row + 3, column : column + 3] += 200
    clear, crossed = estimate_noise(thin), estimate_noise(crowded)
    assert np.median(crossed.strength / clear.strength) < 1.15
    amplitude = noise_amplitude(clear.spectrum, 64, 64)
    assert amplitude[0, 1] > 3 * amplitude[0, -1]


def test_padding_stays_as_it_is():
    _, thick, acquisition = pair(5.0, 5.0)
    thick[:, :40] = -2000
    start = plain(thick, acquisition)
    result, _ = restored(start, thick, acquisition)
    assert np.array_equal(result[:, :40], start[:, :40])
    assert not np.array_equal(result[:, 60:], start[:, 60:])


def test_without_smooth_tissue_nothing_is_added_and_that_is_said():
    thick = pair(5.0, 5.0)[1]
    bone = np.rint(thick + 800).astype(np.int16)
    monitor = Monitor()
    volume = Volume(bone, (0.7, 0.7, 5.0), slice_axis=2)
    thin, report = enhance_volume(volume, Settings(method="consistent", noise="restore"), monitor)
    assert np.array_equal(thin.voxels, enhance_volume(volume, Settings(method="consistent"))[0].voxels)
    assert report["synthetic_noise"] is None
    assert any("no noise was added" in line for line in report["warnings"])


def test_the_provenance_says_it_and_consistency_stays():
    thick = pair(5.0, 5.0)[1]
    volume = Volume(np.rint(thick).astype(np.int16), (0.7, 0.7, 5.0), slice_axis=2)
    settings = Settings(method="consistent", noise="restore", noise_seed=7)
    thin, report = enhance_volume(volume, settings)
    assert thin.voxels.dtype == np.int16
    assert report["synthetic_noise"]["seed"] == 7
    assert any("noise synthesised (seed 7)" in line for line in report["notes"])
    # All that is left is the rounding of five thin values, twice.
    assert report["consistency_hu"]["mean"] < 0.2
    assert settings.for_provenance() == {"method": "consistent", "noise": "restore", "noise_seed": 7}


def test_a_dicom_series_says_it_in_its_description(tmp_path):
    hu = np.rint(noisy(8, 64)).astype(np.int16)
    write_series(ct_series(hu, (0.7, 0.7, 5.0)), tmp_path / "thick")
    enhance_file(tmp_path / "thick", tmp_path / "thin", Settings(method="consistent", noise="restore"))
    header = dcmread(tmp_path / "thin" / "0001.dcm")
    assert "synthetic noise" in header.SeriesDescription
    assert "not for diagnosis" in header.SeriesDescription
    assert "Synthetic noise was added (seed 0)" in header.DerivationDescription
    assert "synthetic noise" in header.ImageComments


def test_a_negative_seed_is_refused():
    with pytest.raises(UserError, match="noise_seed"):
        Settings(noise_seed=-1)
