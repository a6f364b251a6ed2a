"""Options of trust, applied to a result in memory: its expected error, and the noise of thin slices."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from ..io.volume_files import write_volume
from ..monitor import Monitor
from ..trust.noise import restore_noise
from ..trust.uncertainty import expected_error, in_words, mean_by_tissue
from ..volume import Volume, refined
from .plan import Plan


def stacks(thin: Volume, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Slices of result and input, in HU."""
    return thin.slices_first(plan.request.axis), plan.hu.slices_first(plan.request.axis)


def pixel(thin: Volume, plan: Plan) -> float:
    return float(np.mean([spacing for axis, spacing in enumerate(thin.spacing) if axis != plan.request.axis]))


def write_expected_error(thin: Volume, plan: Plan, monitor: Monitor) -> dict:
    """Write the expected error of each voxel; its mean by tissue, for the provenance."""
    request = plan.request
    slices, thick = stacks(thin, plan)
    error = expected_error(slices, thick, request.acquisition, request.target_spacing, plan.method, monitor)
    means = mean_by_tissue(error, slices)
    write_volume(refined(plan.hu, request.axis, request.target_spacing, error), request.settings.uncertainty)
    if means:
        monitor.say(in_words(means))
    return means


def add_noise(thin: Volume, plan: Plan, monitor: Monitor) -> dict | None:
    """Add the noise of thin slices to `thin`, in place; what was added, for the provenance."""
    request = plan.request
    restored = restore_noise(
        *stacks(thin, plan),
        request.profiled,
        request.target_spacing,
        request.settings.noise_seed,
        monitor,
    )
    if restored is None:
        monitor.warn("no noise was added: there is no smooth tissue in which to measure the input's noise")
        return None
    monitor.note(
        f"noise synthesised (seed {restored.seed}): the input's is {restored.thick_hu:g} HU, that of thin "
        f"slices {restored.thin_hu:g} HU; {restored.added_hu:g} HU were added"
    )
    return asdict(restored)
