"""Planes in torch: acquisition and interpolation as for volumes, and the description of the acquisition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ThickToThinSRLib.acquisition import Acquisition, sampling_matrix
from ThickToThinSRLib.consistency import ConsistentInterpolation
from ThickToThinSRLib.intensity import HU_WINDOW
from ThickToThinSRLib.methods.sr4zct.planes import (
    CONDITIONS,
    acquisition_channels,
    along_rows,
    plane_input,
    thick_matrix,
    thin_matrix,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("thickness", [5.0, 10.0])
@pytest.mark.parametrize("target", [1.0, 1.3, 5.0])
def test_planes_are_interpolated_as_volumes_are(thickness, target):
    acquisition = Acquisition(thickness, 5.0)
    thick = np.random.default_rng(0).normal(0, 300, (3, 9, 6)).astype(np.float32)
    count = int(8 * 5 / target) + 1
    solve = ConsistentInterpolation(acquisition, 9, count, target)
    found = solve(torch.from_numpy(thick))
    assert found.shape == (3, count, 6)
    for plane, expected in zip(found.numpy(), map(solve, thick), strict=True):
        np.testing.assert_allclose(plane, expected, atol=1e-2)


def test_rows_are_degraded_as_the_scanner_degrades_slices():
    image = torch.from_numpy(np.random.default_rng(0).normal(0, 300, (2, 40, 7)))
    acquisition = Acquisition(5.0, 2.5, "gaussian")
    result = along_rows(thick_matrix(40, 0.7, acquisition), image)
    expected = sampling_matrix(Acquisition(5.0, 2.5, "gaussian"), 11, 40, 0.7) @ image.numpy()
    np.testing.assert_allclose(result.numpy(), expected)


@pytest.mark.parametrize("spacing", [0.5, 0.7, 1.0])
def test_a_ramp_stays_a_ramp_at_whatever_spacing_it_is_taught(spacing):
    rows = 0.7 * np.arange(60)
    result = thin_matrix(60, 0.7, spacing) @ rows
    expected = spacing * np.arange(len(result))
    assert len(result) == int(59 * 0.7 / spacing + 1e-6) + 1
    np.testing.assert_allclose(result[8:-8], expected[8:-8], atol=0.05)


def test_a_network_is_told_the_phase_between_slices_and_the_acquisition():
    result = acquisition_channels(11, Acquisition(5.0, 2.5), 0.5, 0.5)
    assert result.shape == (CONDITIONS, 11)
    torch.testing.assert_close(result[:2, 0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(result[:, 0], result[:, 5], atol=1e-6, rtol=0)
    torch.testing.assert_close(result[2:, 3], torch.tensor([1.0, float(np.log2(5.0)) - 2, 0.0]))


def test_a_network_sees_the_window_as_zero_to_one_and_the_description_beside_it():
    planes = torch.tensor([[[-3000.0, HU_WINDOW[0], 512.0], [HU_WINDOW[1], 5000.0, 512.0]]])
    inputs = plane_input(planes, torch.tensor([[3.0, 4.0]]))
    assert inputs.tolist() == [[[[0, 0, 0.5], [1, 1, 0.5]], [[3, 3, 3], [4, 4, 4]]]]
    assert plane_input(planes, None).shape == (1, 1, 2, 3)
