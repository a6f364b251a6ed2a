"""Fit the regression of `trust.uncertainty` to the errors on scans whose thin slices are known.

``python -m training.expected_error THIN [THIN ...] --checkpoint WEIGHTS --output COEFFICIENTS.py`` simulates
thick slices from a region of each thin scan, enhances them by `consistent` and by `universal`, and fits the
mean absolute error. The weights must not have seen the scans: the errors of a network are smaller on its
training data.
"""

from __future__ import annotations

import argparse
import pprint
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.acquisition import Acquisition, simulate
from ThickToThinSRLib.enhance import enhance_volume
from ThickToThinSRLib.io.reading import read_input
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.trust.uncertainty import (
    DEPARTURE,
    FEATURES,
    LEVEL,
    LEVEL_UNIT,
    LOGARITHMS,
    NOISE,
    ErrorFeatures,
    halved,
)
from ThickToThinSRLib.volume import Volume

# Thickness and spacing in thin slices.
PROTOCOLS = ((5, 5), (5, 2.5), (3, 3), (3, 2))
REGION = (51, 160, 256)  # slices, rows, columns in the middle of a scan
_HIDDEN, _STEPS, _BATCH, _RATE = 16, 1000, 4096, 3e-3
# Of each batch, the share in which tissues count alike, by the HU of the result: bone is rare. The prediction
# stays the mean error of voxels that look alike, since these HU are among what they are told from.
ALIKE = 0.3
_TISSUES = (-500.0, -200.0, 200.0)  # HU between air or lung, fat or edges of lung, soft tissue, bone
_END = 5


@dataclass(frozen=True)
class Case:
    """A scan, thick slices simulated from it, and a method's result.

    Attributes
    ----------
    name : str
        Of the scan.
    protocol : tuple of float
        Thickness and spacing in thin slices.
    method : str
    features : ndarray, shape (N, 10, h, w)
        See :class:`ErrorFeatures`.
    error : ndarray, shape (N, h, w)
        Mean absolute error of 2 x 2 pixels, HU.
    level : ndarray, shape (N, h, w)
        True HU, smoothed a little: tells lung from bone.
    """

    name: str
    protocol: tuple[float, float]
    method: str
    features: np.ndarray
    error: np.ndarray
    level: np.ndarray


def region(volume: Volume) -> Volume:
    """The middle of a scan; columns left of the middle, so that a chest's has lung, ribs and mediastinum."""
    slices, rows, columns = (min(kept, size) for kept, size in zip(REGION, volume.voxels.shape, strict=True))
    first = [
        (size - kept) // 2 for size, kept in zip(volume.voxels.shape, (slices, rows, columns), strict=True)
    ]
    first[2] = first[2] // 4
    cut = tuple(
        slice(start, start + kept) for start, kept in zip(first, (slices, rows, columns), strict=True)
    )
    return replace(volume, voxels=volume.voxels[cut].astype(np.float32), slice_axis=2, thickness=None)


def cases(thin: Volume, name: str, checkpoint: Path | None, protocols=PROTOCOLS) -> Iterator[Case]:
    """Each method's result on thick slices of each protocol."""
    step = thin.spacing[2]
    for thickness, spacing in protocols:
        acquisition = Acquisition(thickness * step, spacing * step)
        thick = simulate(thin, acquisition, axis=2)
        thick = replace(thick, voxels=np.rint(thick.voxels))
        for method in ("consistent", "universal"):
            weights = checkpoint if method == "universal" else None
            settings = Settings(method=method, spacing=step, axis=2, checkpoint=weights)
            found = enhance_volume(thick, settings)[0].voxels
            features = ErrorFeatures(thick.voxels, acquisition, len(found), step)
            inner = range(_END, len(found) - _END)
            yield Case(
                name,
                (thickness, spacing),
                method,
                np.stack([features.at(index, found[index]) for index in inner]),
                np.stack([halved(np.abs(found[index] - thin.voxels[index])) for index in inner]),
                np.stack([halved(thin.voxels[index]) for index in inner]),
            )


def fit(found: list[Case], seed: int = 0) -> dict[str, list]:
    """Coefficients that make the prediction the mean absolute error, scans weighted alike.

    The loss log(e) + error / e has its least value where e is the mean of the errors.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    rows = []
    for case in found:
        features, error = case.features.swapaxes(0, 1).reshape(FEATURES, -1), case.error.ravel()
        padding = features[DEPARTURE] <= features[DEPARTURE].min() + 1e-6
        features, error = features[:, ~padding], error[~padding]
        rows.append((features, error, by_tissue(features)))
    hidden = torch.nn.Linear(FEATURES - 1, _HIDDEN)
    direct = torch.nn.Linear(FEATURES - 1, 1)
    output = torch.nn.Linear(_HIDDEN, 1, bias=False)
    torch.nn.init.zeros_(output.weight)
    torch.nn.init.zeros_(direct.weight)
    torch.nn.init.constant_(direct.bias, 0.0)
    parameters = [p for layer in (hidden, direct, output) for p in layer.parameters()]
    optimizer = torch.optim.Adam(parameters, _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        batch = []
        for features, error, tissues in rows:
            chosen = drawn(rng, len(error), tissues, max(64, _BATCH // len(rows)))
            batch.append((features[:, chosen], error[chosen]))
        x = torch.from_numpy(np.concatenate([part for part, _ in batch], axis=1).T)
        noise = x[:, NOISE]
        x = torch.cat([x[:, :NOISE], x[:, NOISE + 1 :]], dim=1)
        y = torch.from_numpy(np.concatenate([part for _, part in batch]))
        logarithm = ((output(torch.relu(hidden(x))) + direct(x))[:, 0] + noise).clamp(*LOGARITHMS)
        loss = (logarithm + y * torch.exp(-logarithm)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    values = {
        "hidden": hidden.weight,
        "offset": hidden.bias,
        "output": output.weight[0],
        "direct": direct.weight[0],
        "constant": direct.bias[0],
    }
    return {
        name: np.round(value.detach().numpy().astype(float), 4).tolist() for name, value in values.items()
    }


def by_tissue(features: np.ndarray) -> list[np.ndarray]:
    """Indices of the voxels of each tissue that there is."""
    tissue = np.digitize(LEVEL_UNIT * features[LEVEL], _TISSUES)
    found = (np.flatnonzero(tissue == number) for number in range(len(_TISSUES) + 1))
    return [voxels for voxels in found if len(voxels)]


def drawn(rng: np.random.Generator, voxels: int, tissues: list[np.ndarray], number: int) -> np.ndarray:
    """Indices of some voxels, a share of them from each tissue alike."""
    each = round(ALIKE * number / len(tissues))
    alike = [of_tissue[rng.integers(len(of_tissue), size=each)] for of_tissue in tissues]
    return np.concatenate([rng.integers(voxels, size=number - each * len(tissues)), *alike])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("thin", nargs="+", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="weights of universal that have not seen the scans")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = []
    for path in options.thin:
        name = path.name.split(".")[0]
        found += cases(region(read_input(path)), name, options.checkpoint)
        print(name, flush=True)
    coefficients = {
        method: fit([case for case in found if case.method == method])
        for method in ("consistent", "universal")
    }
    written = pprint.pformat(coefficients, width=108, compact=True)
    options.output.write_text(
        f'"""Written by ``python -m training.expected_error``."""\n\nCOEFFICIENTS = {written}\n'
    )


if __name__ == "__main__":
    main()
