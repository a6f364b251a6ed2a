"""The slice profile, read from the noise of the slices, and what a result gains by it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from Testing.command_line import run
from ThickToThinSRLib.acquisition import LARGEST_ROUNDING, Acquisition, simulate
from ThickToThinSRLib.consistency import measure
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.evaluation.metrics import report
from ThickToThinSRLib.inspection.slice_profile import measured_rounding, with_rounding
from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.phantom import thorax
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.volume import Volume

COARSE = 128  # from this column on, there is structure between the slices
PROTOCOLS = [(5, 5), (5, 2.5), (6, 3), (5, 4), (8, 8)]


@pytest.fixture(scope="module")
def noisy():
    """Soft tissue, smooth and coarse, beside air, and noise that is blurred along z, too: 1 mm slices."""
    random = np.random.default_rng(0)
    white = random.normal(size=(2, 128, 160, 160)).astype(np.float32)
    tissue = 40 + 400 * gaussian_filter(white[0], 6.0)
    tissue[:, :, COARSE:] += 1500 * gaussian_filter(white[0], 1.6)[:, :, COARSE:]
    tissue[:, :8] = -800
    noise = gaussian_filter(white[1], 0.5)
    return Volume(tissue + 20 * noise / noise.std(), (0.7, 0.7, 1.0), slice_axis=2)


def thick_of(volume, thickness, spacing, profile, **changes):
    thick = simulate(volume, Acquisition(thickness, spacing, profile), axis=2)
    return Volume(np.rint(thick.voxels), thick.spacing, slice_axis=2, thickness=thickness, **changes)


@pytest.mark.parametrize(("thickness", "spacing"), PROTOCOLS)
def test_a_box_is_left_a_box(noisy, thickness, spacing):
    thick = thick_of(noisy, thickness, spacing, "box")
    assumed = Acquisition(thickness, spacing)
    assert with_rounding(assumed, thick.voxels) == assumed


@pytest.mark.parametrize(("thickness", "spacing"), PROTOCOLS)
def test_a_gaussian_is_found(noisy, thickness, spacing):
    thick = thick_of(noisy, thickness, spacing, "gaussian")
    assert with_rounding(Acquisition(thickness, spacing), thick.voxels).rounding > 0.25


@pytest.mark.parametrize(("thickness", "spacing"), PROTOCOLS)
def test_more_rounding_is_found_as_more(noisy, thickness, spacing):
    found = [
        measured_rounding(
            simulate(noisy, Acquisition(thickness, spacing, rounding=rounding), axis=2).voxels,
            Acquisition(thickness, spacing),
        )
        for rounding in (0.12, 0.22, 0.32)
    ]
    assert np.all(np.diff(found) > 0.02)
    assert found == pytest.approx([0.12, 0.22, 0.32], abs=0.09)


def test_anatomy_that_every_slice_shows_is_not_taken_for_a_wide_profile(noisy):
    # Texture along the slice axis in all of the tissue, half as strong as the noise of thick slices.
    texture = np.random.default_rng(1).normal(0, 5, (1, *noisy.voxels.shape[1:]))
    thick = thick_of(noisy, 5, 2.5, "box")
    assert with_rounding(Acquisition(5, 2.5), thick.voxels + texture).rounding == 0


@pytest.mark.parametrize(
    ("shape", "thickness", "spacing"),
    [((3, 160, 160), 5, 5), ((30, 160, 160), 3, 3), ((30, 160, 160), 2, 5), ((30, 12, 160), 5, 5)],
    ids=["few slices", "thin slices", "gaps", "few rows"],
)
def test_where_nothing_can_be_said_a_box_is_taken(shape, thickness, spacing):
    slices = np.random.default_rng(0).normal(40, 20, shape)
    assert measured_rounding(slices, Acquisition(thickness, spacing)) is None
    assert with_rounding(Acquisition(thickness, spacing), slices).rounding == 0


def test_scans_without_noise_without_tissue_or_of_one_repeated_slice_are_taken_for_boxes():
    without = thorax(spacing=(1.4, 1.4, 5.0)).voxels
    same = np.random.default_rng(0).normal(40, 20, (1, 160, 160)).repeat(20, axis=0)
    for slices in (without, same, np.full((20, 160, 160), -1000, np.int16)):
        assert with_rounding(Acquisition(5, 5), slices).rounding == 0


def test_a_result_of_gaussian_slices_is_nearer_to_the_truth_and_consistent_with_them(noisy):
    thick = thick_of(noisy, 5, 2.5, "gaussian")
    truth = noisy.voxels[10:-10]
    errors, monitor = {}, Monitor()
    for profile in ("box", "auto", "gaussian"):
        settings = Settings(method="sr4zct", spacing=1.0, profile=profile, precision="float32")
        found, facts = enhance_volume(thick, settings, monitor if profile == "auto" else None)
        errors[profile] = np.square(found.voxels[10 : 10 + len(truth)] - truth)[..., COARSE:].mean()
        assert facts["consistency_hu"]["mean"] < 0.05
    assert errors["auto"] < 0.8 * errors["box"]
    assert errors["gaussian"] < 0.8 * errors["box"]
    assert any("not a box of 5 mm" in note for note in monitor.notes)


def test_the_provenance_names_the_profile_and_interpolation_reads_none(noisy):
    thick = thick_of(noisy, 5, 5, "gaussian")
    monitor = Monitor()
    _, facts = enhance_volume(thick, Settings(method="interpolation", spacing=1.0), monitor)
    assert facts["profile"] == "box" and facts["profile_rounding"] == 0 and not monitor.notes
    _, facts = enhance_volume(thick, Settings(method="consistent", spacing=1.0, profile="trapezoid"))
    assert facts["profile"] == "trapezoid"
    found, facts = enhance_volume(thick, Settings(method="consistent", spacing=1.0))
    assert 0.25 < facts["profile_rounding"] <= LARGEST_ROUNDING
    rounded = Acquisition(5, 5, rounding=facts["profile_rounding"])
    assert measure(found.voxels, thick.voxels, rounded, 1.0).mean < 0.5


def test_the_metrics_take_the_profile_that_the_enhancement_took(noisy):
    thick = thick_of(noisy, 5, 2.5, "gaussian")
    found, facts = enhance_volume(thick, Settings(method="consistent", spacing=1.0))
    reference = Volume(noisy.voxels[: len(found.voxels)], noisy.spacing, slice_axis=2)
    consistency = report(reference, found, thick, profiled=with_rounding)["consistency"]
    assert consistency["profile_rounding"] == facts["profile_rounding"] > 0
    assert consistency["mean"] == pytest.approx(facts["consistency_hu"]["mean"], abs=1e-6)


def test_the_command_line_has_the_option(noisy, tmp_path):
    thick = tmp_path / "thick.nrrd"
    write_volume(thick_of(noisy, 5, 5, "gaussian"), thick)
    said = run("enhance", thick, tmp_path / "thin.nrrd", "--method", "consistent").stdout
    assert "not a box of 5 mm" in said
    given = ("--method", "consistent", "--profile", "box")
    said = run("enhance", thick, tmp_path / "other.nrrd", *given).stdout
    assert "not a box" not in said and (tmp_path / "other.nrrd").exists()


@pytest.mark.parametrize("rounding", [-0.1, 0.5, float("nan")])
def test_impossible_roundings_are_refused(rounding):
    with pytest.raises(UserError, match="rounded off"):
        Acquisition(5, 5, rounding=rounding)
    with pytest.raises(UserError, match="rounded off"):
        Acquisition(5, 5, "gaussian", rounding=0.2)
