"""The whole job: a thick volume in a file or DICOM folder to a thin volume in a file, with its provenance."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import __version__, consistency
from .acquisition import Acquisition
from .errors import Cancelled, UserError
from .inference.memory import available_memory
from .inspection.thickness_estimate import estimate_thickness
from .inspection.warnings import find_warnings
from .intensity import resolve_intensity, to_hu, to_unit
from .io.dicom.derived_series import wants_series
from .io.results import asked_for, check_target, write_result
from .io.volume_files import check_finite, check_free, read_volume, replacing
from .methods.registry import (
    ADAPTATION_OPTIONS,
    METHODS,
    Options,
    acquisition_of,
    check_adaptation,
    methods_of,
)
from .volume import Volume, cast, check_target_spacing, through_plane_axis

DEFAULT_METHOD = "universal"
DEFAULT_SPACING = 1.0
# Slice thickness over slice spacing: 1 mm every 20 mm, and slabs of 10 mm every 1 mm, are about the extremes.
_THICKNESS_SHARES = (0.01, 20.0)


@dataclass(frozen=True)
class Settings:
    """What `enhance` can be told; every default is what a first click should do.

    Attributes
    ----------
    method : str, optional
        A name of :data:`~ThickToThinSRLib.methods.registry.METHODS`; by default what `checkpoint` implies.
    spacing : float, optional
        Target slice spacing in mm. By default `factor` decides, else the network, else 1 mm.
    factor : float, optional
        Input spacing divided by the target spacing.
    thickness : float or "estimate", optional
        Slice thickness of the input in mm, or that which the scan itself shows; by default DICOM's, else the
        spacing.
    axis : int, optional
        Through-plane index axis (0, 1, 2 = i, j, k).
    checkpoint, tiling, consistency, device, precision
        See :class:`~ThickToThinSRLib.methods.registry.Options`.
    intensity : {"auto", "hu", "unit"}
        Scale of the input's voxels.
    minutes, epochs, planes, network, save_weights : optional
        For methods that adapt to the scan, see :class:`~ThickToThinSRLib.methods.registry.Options`.
    """

    method: str | None = None
    checkpoint: Path | None = None
    spacing: float | None = None
    factor: float | None = None
    thickness: float | str | None = None
    axis: int | None = None
    tiling: str = "seamless"
    intensity: str = "auto"
    consistency: bool = True
    device: str = "auto"
    precision: str = "auto"
    minutes: float | None = None
    epochs: int | None = None
    planes: str | None = None
    network: str | None = None
    save_weights: Path | None = None


def read_input(path: Path, series: str | None = None) -> Volume:
    """Read a volume file, or a folder with a DICOM series."""
    if Path(path).is_dir():
        from .io.dicom.series import read_series

        return read_series(path, series)
    if series is not None:
        raise UserError(f"{path}: --series chooses within a DICOM folder, but this is not a folder")
    return read_volume(path)


def enhance_file(
    source: Path,
    target: Path,
    settings: Settings,
    series: str | None = None,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> dict:
    """Enhance `source` into `target` and write ``<target>.provenance.json`` beside it.

    `target` is a volume file or, where `source` is a DICOM folder, a new folder for a derived series.

    Returns
    -------
    dict
        The provenance: what was done, with what, in how many seconds, and how consistent the result is.

    Raises
    ------
    UserError
        For anything the user can mend; then nothing was written.
    Cancelled
        If `cancelled` said so; then nothing was written either.
    """
    target = Path(target)
    check_target(source, target, overwrite)
    weights, asked = settings.save_weights, asked_for(settings, Settings())
    if weights is not None:
        check_free(weights, overwrite, source)
    try:
        volume = read_input(source, series)
        modality = volume.source.get("modality")
        if wants_series(source, target) and modality != "CT":
            raise UserError(
                f"{source}: a derived DICOM series can be made of CT only, not of {modality}: "
                "write a file (.nii.gz, .nrrd)"
            )
        # Adapted weights appear with the result or not at all.
        with nullcontext() if weights is None else replacing(weights, ".safetensors") as kept:
            settings = replace(settings, save_weights=kept)
            thin, report = enhance_volume(volume, settings, progress, cancelled, say)
            if cancelled():
                raise Cancelled
            report = {"input": str(source), "output": str(target), "asked": asked, **report}
            if weights is not None:
                report["adapted_weights"] = str(weights)
            write_result(thin, source, target, report, progress, cancelled)
    except MemoryError as error:
        raise UserError(f"{source}: not enough memory for the result; choose a larger --spacing") from error
    return report


def enhance_volume(
    volume: Volume,
    settings: Settings,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Volume, dict]:
    """Enhance a volume in memory; the result and its provenance. See :func:`enhance_file`."""
    started = time.monotonic()
    check_finite(volume.voxels, "input")
    if settings.device not in ("auto", "cpu"):
        # One that is not there is a mistake even if the method would not use it.
        from .inference.runner import resolve_device

        resolve_device(settings.device)
    axis = through_plane_axis(volume, settings.axis)
    name, card = choose_method(settings.method, settings.checkpoint, settings.network)
    adaptation = {option: getattr(settings, option) for option in ADAPTATION_OPTIONS}
    check_adaptation(name, **adaptation)
    scale = resolve_intensity(settings.intensity, volume.voxels)
    hu = volume if scale == "hu" else replace(volume, voxels=to_hu(volume.voxels.astype(np.float32)))
    acquisition, thickness_from, advice = choose_thickness(hu, axis, settings.thickness)
    _check_thickness(acquisition, thickness_from)
    factor = card["window"]["factor"] if card else None
    target_spacing = choose_spacing(settings, acquisition.spacing, factor)
    _check_memory(volume, axis, acquisition, target_spacing, card)
    described = describe(volume, axis, acquisition, thickness_from, scale)
    warnings = list(find_warnings(hu, scale, acquisition, card))
    say(f"input: {described}")
    if advice:
        say(advice)
    say(f"method: {name}, to slices every {target_spacing:g} mm")
    for warning in warnings:
        say(f"warning: {warning}")
    notes = list(filter(None, [advice]))
    used: dict = {}

    def note(line: str) -> None:
        notes.append(line)
        say(line)

    options = Options(
        axis=axis,
        checkpoint=card and Path(card["path"]),
        tiling=settings.tiling,
        consistency=settings.consistency,
        device=settings.device,
        precision=settings.precision,
        **adaptation,
        say=note,
        record=used.update,
    )
    thin = METHODS[name].enhance(hu, target_spacing, acquisition, options, progress, cancelled)
    measured = consistency.measure(
        thin.slices_first(axis), hu.slices_first(axis), acquisition, target_spacing
    )
    if scale == "unit":
        thin = _to_unit_in_place(thin, volume.voxels.dtype)
    if measured is not None:
        say(
            f"consistency with the input: mean {measured.mean:.2f} HU, 99.9 % under "
            f"{measured.percentile_99_9:.1f} HU, worst slice {measured.worst_slice:.2f} HU"
        )
    report = {
        "method": name,
        "program": f"thicktothin {__version__}",
        "checkpoint": card and {key: card[key] for key in ("path", "sha256", "title", "version")},
        "input_description": described,
        "through_plane_axis": axis,
        "spacing_mm": acquisition.spacing,
        "target_spacing_mm": target_spacing,
        "thickness_mm": acquisition.thickness,
        "thickness_from": thickness_from,
        "intensity": scale,
        "tiling": settings.tiling if card else None,
        "device": used.get("device", "cpu"),
        "precision": used.get("precision"),
        "adaptation": used.get("adaptation"),
        "made_consistent": settings.consistency and settings.tiling != "authors" if card else None,
        "consistency_hu": measured and measured.as_dict(),
        "warnings": warnings,
        "notes": notes,
        "seconds": round(time.monotonic() - started, 2),
    }
    return thin, report


def choose_method(
    method: str | None, checkpoint: Path | None, network: str | None = None
) -> tuple[str, dict | None]:
    """The method to use and the card of its weights; a checkpoint alone implies its method.

    Without a checkpoint a method takes the weights that come with the program, or else those that the user
    added; the card is None if none come for the asked `network` and the method can train it from the start.

    Raises
    ------
    UserError
        For an unknown method, missing weights, or weights of another method.
    """
    if method is not None and method not in METHODS:
        raise UserError(f"method {method!r} is not one of {', '.join(METHODS)}")
    from .weights.added import added_for
    from .weights.checkpoints import bundled_checkpoint, checksum, read_card

    if checkpoint is None:
        method = method or DEFAULT_METHOD
        if METHODS[method].network is None:
            return method, None
        wanted = network if network in METHODS[method].untrained else METHODS[method].network
        checkpoint = bundled_checkpoint(wanted)
        if checkpoint is None and wanted in METHODS[method].untrained:
            return method, None
        checkpoint = checkpoint or added_for(wanted)
        if checkpoint is None:
            raise UserError(
                f"method {method} needs weights: give --checkpoint FILE.safetensors, or add them once by "
                "`models --add`"
            )
    card = read_card(checkpoint)
    implied = methods_of(card["network"])
    if not implied:
        raise UserError(f"{checkpoint}: holds weights of {card['network']!r}, which no method here uses")
    if method not in (None, *implied):
        raise UserError(f"{checkpoint}: holds weights of {implied[0]}, not of {method}")
    if network not in (None, card["network"]):
        raise UserError(f"{checkpoint}: holds weights of {card['network']}, not of --network {network}")
    factor = card["window"].get("factor")
    if factor is not None and (not isinstance(factor, int) or factor < 1):
        raise UserError(f"{checkpoint}: its upsampling factor is damaged: {factor!r}")
    return implied[0], {**card, "path": str(checkpoint), "sha256": checksum(checkpoint)}


def choose_spacing(settings: Settings, spacing: float, network_factor: int | None) -> float:
    """Target spacing in mm: the option's, by the factor, the network's own, or 1 mm."""
    if settings.spacing is not None and settings.factor is not None:
        raise UserError("give either --spacing or --factor, not both")
    if settings.spacing is not None:
        return check_target_spacing(settings.spacing, spacing)
    if settings.factor is not None:
        if not (math.isfinite(settings.factor) and settings.factor >= 1):
            raise UserError(f"the factor must be a number of at least 1, not {settings.factor:g}")
        return spacing / settings.factor
    if network_factor is not None:
        return spacing / network_factor
    if spacing <= DEFAULT_SPACING:
        raise UserError(f"the input has slices every {spacing:g} mm already: choose a finer --spacing")
    return DEFAULT_SPACING


def choose_thickness(
    volume: Volume, axis: int, thickness: float | str | None
) -> tuple[Acquisition, str, str | None]:
    """Acquisition of a volume in HU, where its thickness comes from, and what the user may be told of it."""
    if thickness not in (None, "estimate"):
        return (*acquisition_of(volume, axis, thickness), None)
    known, source = acquisition_of(volume, axis, None)
    if thickness is None and source == "DICOM":
        return known, source, None
    found = estimate_thickness(volume, axis)
    if thickness is None:
        advice = f"the scan itself suggests slices of {found}: --thickness says how thick they are"
        return known, source, None if found is None else advice
    if found is None:
        raise UserError("the scan does not show how thick its slices are: give --thickness in mm")
    width = round(found.thickness, 1)
    return Acquisition(width, known.spacing), f"estimated, {found}", None


def describe(volume: Volume, axis: int, acquisition: Acquisition, thickness_from: str, scale: str) -> str:
    """What was understood of the input, in a line."""
    z, y, x = volume.voxels.shape
    spacing = " x ".join(f"{value:.3f}" for value in volume.spacing)
    return (
        f"{x} x {y} x {z} voxels of {spacing} mm, slices along {'ijk'[axis]}, slice thickness "
        f"{acquisition.thickness:g} mm ({thickness_from}), intensity {'HU' if scale == 'hu' else '[0, 1]'}"
    )


def _check_thickness(acquisition: Acquisition, thickness_from: str) -> None:
    """Refuse thicknesses that no scanner gives: centimetres or micrometres taken for millimetres."""
    least, most = (share * acquisition.spacing for share in _THICKNESS_SHARES)
    if not least <= acquisition.thickness <= most:
        raise UserError(
            f"a slice thickness of {acquisition.thickness:g} mm ({thickness_from}) does not go with slices "
            f"every {acquisition.spacing:g} mm: give it in mm by --thickness"
        )


def _check_memory(
    volume: Volume, axis: int, acquisition: Acquisition, target_spacing: float, card: dict | None
) -> None:
    """Refuse a result that cannot fit, before any work is done."""
    slices = volume.voxels.shape[2 - axis]
    pixels = volume.voxels.size // slices
    # In floating point, where an absurd spacing gives infinity.
    thin = (slices - 1) * acquisition.spacing / target_spacing + 1
    # A network's result is float32 until the end; the writer needs a copy in the input's type.
    itemsize = volume.voxels.dtype.itemsize
    needed = thin * pixels * (max(itemsize, 4 if card else 0) + itemsize)
    if card:
        # The network's own slices before resampling, or the interpolation that it reads.
        factor = card["window"]["factor"] or 4
        if abs(acquisition.spacing / target_spacing / factor - 1) > 1e-6 or card["window"]["factor"] is None:
            needed += ((slices - 1) * factor + 1) * pixels * 4
    # Maps along the slices are matrices, of which several are alive while they are made.
    extended = thin + 3 * acquisition.thickness / target_spacing
    needed += 4 * 8 * extended * extended
    there = available_memory()
    if not needed < (math.inf if there is None else there):
        free = "" if there is None else f", but {there / 2**30:.1f} GiB are free"
        raise UserError(
            f"{thin:.4g} slices every {target_spacing:g} mm need {needed / 2**30:.3g} GiB of memory{free}: "
            "choose a larger --spacing"
        )


def _to_unit_in_place(thin: Volume, dtype: np.dtype) -> Volume:
    for plane in thin.voxels:
        plane[...] = to_unit(plane)
    return replace(thin, voxels=cast(thin.voxels, dtype))
