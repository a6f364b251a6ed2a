"""What a user chooses: every method turns a thick Volume in HU into a thin one.

The registry :data:`METHODS` maps names to methods. All have the same signature::

    enhance(volume, target_spacing, acquisition, options, progress, cancelled) -> Volume

with the volume in HU, ``progress(stage, done, total)`` called as the work goes on and ``cancelled()`` polled;
the result has the input's type, axis order and directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..acquisition import Acquisition
from ..consistency import ConsistencyProjection, ConsistentInterpolation
from ..errors import Cancelled, UserError
from ..inference.sliding_window import TILINGS, predict
from ..intensity import HU_WINDOW, outside_window, to_hu
from ..interpolation import interpolation_matrix, linear_matrix, slab_columns, slabs
from ..volume import Volume, cast, cast_in_place, refined, slice_count
from .universal.enhance import enhance_universally

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
# What only methods that adapt to the scan can be told; see `Options`.
ADAPTATION_OPTIONS = ("minutes", "epochs", "planes", "network", "save_weights")
PLANES = ("both", "coronal", "sagittal")
ADAPTED_NETWORKS = ("unet", "msd")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be set for a method.

    Attributes
    ----------
    axis : int
        Through-plane index axis of the volume.
    checkpoint : Path, optional
        Weights, for methods that run a network.
    tiling : {"seamless", "authors"}
        How windows lie.
    tile : int, optional
        Side of the tiles in the authors' tiling, pixels; by default that of the crops in training.
    consistency : bool
        Whether a network's result is made consistent with the input.
    device, precision : str
        Where and how exactly a network runs.
    minutes : float, optional
        How long a method that adapts its network to the scan may take for that; 0: not at all.
    epochs : int, optional
        The same in passes over the scan's slices.
    planes : {"both", "coronal", "sagittal"}, optional
        Whose result to give, where a network works on these planes: the mean by default.
    network : {"unet", "msd"}, optional
        Which network to adapt.
    save_weights : Path, optional
        Where to write the adapted weights.
    say : callable
        Takes a line for the user: what was assumed or had to give way.
    record : callable
        Takes facts for the provenance, a dict: the device and precision that were used in the end.
    """

    axis: int = 2
    checkpoint: Path | None = None
    tiling: str = "seamless"
    tile: int | None = None
    consistency: bool = True
    device: str = "auto"
    precision: str = "auto"
    minutes: float | None = None
    epochs: int | None = None
    planes: str | None = None
    network: str | None = None
    save_weights: Path | None = None
    say: Callable[[str], None] = lambda line: None
    record: Callable[[dict], None] = lambda facts: None


@dataclass(frozen=True)
class Method:
    """One way to make thin slices.

    Attributes
    ----------
    name, description : str
        For the user.
    enhance : callable
        See the module's docstring.
    network : str, optional
        The architecture whose weights it uses.
    untrained : frozenset of str
        Architectures that it can also train from the start, without weights.
    options : frozenset of str
        Those of :data:`ADAPTATION_OPTIONS` that it takes.
    """

    name: str
    description: str
    enhance: Callable[..., Volume]
    network: str | None = None
    untrained: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()


def enhance_by_interpolation(volume, target_spacing, acquisition, options, progress, cancelled) -> Volume:
    """Cubic B-spline interpolation along the through-plane axis, the yardstick."""
    thick = volume.slices_first(options.axis)
    thin = slice_count(len(thick), acquisition.spacing, target_spacing)
    matrix = interpolation_matrix(len(thick), acquisition.spacing, thin, target_spacing).astype(np.float32)
    out = _columnwise(lambda columns: matrix @ columns, thick, thin, "interpolation", progress, cancelled)
    return refined(volume, options.axis, target_spacing, out)


def enhance_consistently(volume, target_spacing, acquisition, options, progress, cancelled) -> Volume:
    """The smoothest volume whose slices, averaged over a box of the slice thickness, are the input."""
    thick = volume.slices_first(options.axis)
    thin = slice_count(len(thick), acquisition.spacing, target_spacing)
    solve = ConsistentInterpolation(acquisition, len(thick), thin, target_spacing)
    out = _columnwise(solve, thick, thin, "consistent interpolation", progress, cancelled)
    return refined(volume, options.axis, target_spacing, out)


def enhance_by_network(
    volume, target_spacing, acquisition, options, progress, cancelled, adapt=None
) -> Volume:
    """A network with a fixed factor over sliding windows, then made consistent with the input.

    The network gives slices at the input's spacing divided by its factor; another target spacing is reached
    from these by cubic B-spline interpolation. `adapt(network, thick)` may change the network before.
    """
    from ..inference.runner import Runner
    from ..networks import NETWORKS
    from ..weights.checkpoints import load_network

    if options.tiling not in TILINGS:
        raise UserError(f"tiling must be one of {', '.join(TILINGS)}, not {options.tiling!r}")
    network = load_network(options.checkpoint)
    window, thick = network.window, volume.slices_first(options.axis)
    if options.tile is not None:
        window = replace(window, tile=options.tile)
    native = acquisition.spacing / window.factor
    released = options.tiling == "authors"
    resampled = abs(target_spacing / native - 1) > 1e-6
    if released and resampled:
        raise UserError(
            f"the authors' tiling makes slices every {native:g} mm (factor {window.factor}), not every "
            f"{target_spacing:g} mm: use --tiling seamless"
        )
    if adapt is not None:
        adapt(network, thick)
    runner = Runner(
        network,
        window,
        NETWORKS[network.name].bytes_per_pixel,
        options.device,
        options.precision,
        options.say,
    )
    thin = predict(thick, window, options.tiling, runner, progress, cancelled)
    options.record({"device": str(runner.device), "precision": runner.precision})
    if resampled:
        count = slice_count(len(thick), acquisition.spacing, target_spacing)
        matrix = interpolation_matrix(len(thin), native, count, target_spacing).astype(np.float32)
        thin = _columnwise(lambda columns: matrix @ columns, thin, count, "resampling", progress, cancelled)
    _finish(thin, thick, acquisition, target_spacing, released, options.consistency, progress, cancelled)
    return refined(volume, options.axis, target_spacing, cast_in_place(thin, volume.voxels.dtype))


def enhance_by_sr4zct(volume, target_spacing, acquisition, options, progress, cancelled) -> Volume:
    """A network adapted to the scan itself corrects its coronal and sagittal planes."""
    from .sr4zct import enhance as sr4zct

    return sr4zct.enhance(volume, target_spacing, acquisition, options, progress, cancelled)


def enhance_by_davsr(volume, target_spacing, acquisition, options, progress, cancelled) -> Volume:
    """DA-VSR: adapted to the scan's own axial slices, then as any network."""
    from .davsr import adapt

    def adapted(network, thick):
        adapt(network, thick, options.device, options.epochs, options.minutes, progress, cancelled)

    return enhance_by_network(volume, target_spacing, acquisition, options, progress, cancelled, adapted)


def _columnwise(solve, slices, count: int, stage: str, progress, cancelled) -> np.ndarray:
    """Apply `solve`, thick columns to thin columns, slab by slab; the result has the type of `slices`."""
    _, rows, columns = slices.shape
    out = np.empty((count, rows, columns), slices.dtype)
    for band in slabs(max(count, len(slices)), rows, columns):
        if cancelled():
            raise Cancelled
        solved = solve(slab_columns(slices, band))
        out[:, band] = cast(solved.reshape(count, -1, columns), out.dtype)
        progress(stage, band.stop, rows)
    return out


def _finish(thin, thick, acquisition, target_spacing, released, consistent, progress, cancelled) -> None:
    """Take a network's output `thin` to HU, in place; mend what its window clipped; make it consistent.

    The released test loop (`released`) ends with the clipped HU of the network.
    """
    count, rows, columns = thin.shape
    interpolate = interpolation_matrix(len(thick), acquisition.spacing, count, target_spacing)
    spread = linear_matrix(len(thick), acquisition.spacing, count, target_spacing)
    project = ConsistencyProjection(acquisition, len(thick), count, target_spacing) if consistent else None
    for band in slabs(count, rows, columns):
        if cancelled():
            raise Cancelled
        hu = to_hu(thin[:, band].reshape(count, -1))
        if released:
            np.clip(hu, *HU_WINDOW, out=hu)
        else:
            measured = slab_columns(thick, band)
            if project is not None:
                # Against what the network saw: metal must not pull at its surroundings.
                hu = project(hu, np.clip(measured, *HU_WINDOW))
            hu = _outside_window_interpolated(hu, measured, interpolate, spread)
        thin[:, band] = hu.reshape(count, -1, columns)
        progress("consistency", band.stop, rows)


def _outside_window_interpolated(hu, measured, interpolate, spread) -> np.ndarray:
    """Blend to the interpolated input where the input lies outside the networks' window.

    There (metal, dense contrast, padding values) the network saw clipped values. The blend fades linearly
    from each thick slice towards the next one.
    """
    outside = outside_window(measured)
    touched = (outside > 0).any(axis=0)
    if not touched.any():
        return hu
    share = spread.astype(np.float32) @ outside[:, touched]
    interpolated = interpolate.astype(np.float32) @ measured[:, touched]
    hu[:, touched] += share * (interpolated - hu[:, touched])
    return hu


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "interpolation",
            "cubic B-spline interpolation between the slices: the yardstick; needs no weights",
            enhance_by_interpolation,
        ),
        Method(
            "consistent",
            "the smoothest volume whose thick slices are the input's: sharper than interpolation, above all "
            "where slices overlap; needs no weights",
            enhance_consistently,
        ),
        Method(
            "universal",
            "a network that corrects the consistent interpolation, for any spacing and overlap; its weights "
            "come with the program",
            enhance_universally,
            network="universal",
            options=frozenset({"minutes"}),
        ),
        Method(
            "sr4zct",
            "SR4ZCT: a network corrects coronal and sagittal planes, for any spacing and overlap; its "
            "weights come with the program, and it can learn from the scan's own slices",
            enhance_by_sr4zct,
            network="unet",
            untrained=frozenset(ADAPTED_NETWORKS),
            options=frozenset(ADAPTATION_OPTIONS),
        ),
        Method(
            "tvsrn",
            "TVSRN, the transformer of the RPLHR-CT paper; needs weights",
            enhance_by_network,
            network="tvsrn",
        ),
        Method(
            "cthnet",
            "CTH-Net, three-dimensional transformer and convolutions; needs weights",
            enhance_by_network,
            network="cthnet",
        ),
        Method(
            "saint",
            "SAINT, sagittal and coronal interpolation and their fusion; needs weights",
            enhance_by_network,
            network="saint",
        ),
        Method(
            "resvox",
            "ResVox, a residual voxel network; needs weights",
            enhance_by_network,
            network="resvox",
        ),
        Method(
            "mpunet",
            "MPU-Net, progressive upsampling; needs weights",
            enhance_by_network,
            network="mpunet",
        ),
        Method(
            "davsr",
            "DA-VSR, which adapts to the scan's own axial slices before it predicts; needs weights",
            enhance_by_davsr,
            network="davsr",
            options=frozenset({"minutes", "epochs"}),
        ),
    )
}


def methods_of(network: str) -> list[str]:
    """Names of the methods that use weights of this architecture."""
    return [name for name, entry in METHODS.items() if network in {entry.network, *entry.untrained}]


def check_adaptation(
    method: str,
    minutes: float | None = None,
    epochs: int | None = None,
    planes: str | None = None,
    network: str | None = None,
    save_weights: Path | None = None,
) -> None:
    """Raise UserError if an adaptation option has a bad value, or was given to a method without it."""
    for name in ("minutes", "epochs"):
        value = locals()[name]
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UserError(f"--{name} must be a number of at least 0, not {value:g}")
    if minutes is not None and epochs is not None:
        raise UserError("give either --minutes or --epochs, not both")
    for name, known in (("planes", PLANES), ("network", ADAPTED_NETWORKS)):
        value = locals()[name]
        if value is not None and value not in known:
            raise UserError(f"--{name} must be one of {', '.join(known)}, not {value!r}")
    if save_weights is not None and save_weights.suffix != ".safetensors":
        raise UserError(f"{save_weights}: the name of a weights file must end in .safetensors")
    for name in ADAPTATION_OPTIONS:
        if locals()[name] is not None and name not in METHODS[method].options:
            taking = [entry.name for entry in METHODS.values() if name in entry.options]
            those = f"only {' and '.join(taking)} do" if taking else "none does"
            raise UserError(f"method {method} does not take --{name.replace('_', '-')}; {those}")


def acquisition_of(volume: Volume, axis: int, thickness: float | None) -> tuple[Acquisition, str]:
    """How the volume was acquired, and where its thickness comes from: option, DICOM or assumption."""
    spacing = volume.spacing[axis]
    if thickness is not None:
        return Acquisition(thickness, spacing), "option"
    if volume.thickness is not None and axis == (2 if volume.slice_axis is None else volume.slice_axis):
        return Acquisition(volume.thickness, spacing), "DICOM"
    return Acquisition(spacing, spacing), "assumed equal to the spacing"
