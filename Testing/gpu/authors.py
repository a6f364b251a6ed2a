"""Networks in float32 against arrays that their authors' code wrote.

TVSRN's and SAINT's arrays are in ``Testing/parity/arrays``. CTH-Net's weights are too large for the
repository: where the shared folder of the tests holds them (see :mod:`Testing.shared_data`) its arrays are
used, elsewhere the plain formulation on the CPU, which the tests compare with those arrays.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from Testing.plain_networks import plain_cthnet
from Testing.released_saint import released_state
from Testing.shared_data import CHECKOUT, SHARED
from ThickToThinSRLib.inference.devices import arithmetic
from ThickToThinSRLib.networks.registry import NETWORKS, build
from ThickToThinSRLib.networks.saint import distance_maps
from ThickToThinSRLib.weights.authors_file import read_authors

from .report import Report, Step
from .scans import network_of

ARRAYS = CHECKOUT / "Testing" / "parity" / "arrays"
TOLERANCE = 1e-4


def steps(report: Report, device: torch.device) -> Iterator[Step]:
    """Names and functions of the checks."""
    yield "TVSRN against its authors' arrays", lambda: released(report, device, "tvsrn", ARRAYS)
    if (SHARED / "parity" / "cthnet_authors_64.pkl.xz").exists():
        folder = SHARED / "parity"
        yield "CTH-Net against its authors' arrays", lambda: released(report, device, "cthnet", folder)
    else:
        yield "CTH-Net against its plain formulation", lambda: plain(report, device)
    yield "SAINT against its authors' arrays", lambda: saint(report, device)


def released(report: Report, device: torch.device, name: str, folder: Path) -> None:
    """A network with the weights and the output of its authors' code."""
    with lzma.open(folder / f"{name}_authors_64.pkl.xz") as file:
        state, _, _ = read_authors(file)
    network = build(name)
    network.load_state_dict(NETWORKS[name].from_authors_state(state))
    network.eval().to(device)
    with np.load(folder / f"{name}_authors_64_io.npz") as arrays, torch.inference_mode():
        with arithmetic(device, "float32"):
            found = network(torch.from_numpy(arrays["x"]).to(device))
        worst = _difference(found, arrays["y"])
    what = {"tvsrn": "TVSRN", "cthnet": "CTH-Net"}[name]
    report.add("right", f"{what}, its authors' arrays, largest difference", f"{worst:.1e}", worst < TOLERANCE)


def plain(report: Report, device: torch.device) -> None:
    """CTH-Net with the weights of the program, beside the plain formulation on the CPU."""
    network = network_of("cthnet")
    x = torch.rand(1, 1, network.window.depth, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = plain_cthnet(network, x)
        with arithmetic(device, "float32"):
            found = network.to(device)(x.to(device))
    worst = _difference(found, expected.numpy())
    name = "CTH-Net, its plain formulation, largest difference"
    report.add("right", name, f"{worst:.1e}", worst < TOLERANCE)


def saint(report: Report, device: torch.device) -> None:
    """Both stages of SAINT; its values are HU + 1024, so differences count relative to the largest one."""
    network = build("saint")
    network.load_state_dict(NETWORKS["saint"].from_authors_state(released_state()))
    network.eval().to(device)
    with np.load(ARRAYS / "saint_released.npz") as arrays, torch.inference_mode():
        given = {key: torch.from_numpy(arrays[key]).to(device) for key in arrays.files}
        for factor in (4, 5):
            distances = distance_maps(factor, *arrays[f"spacing_{factor}"].tolist()).to(device)
            with arithmetic(device, "float32"):
                found = network.interpolate(given[f"planes_{factor}"], distances)
            _relative(report, f"SAINT, stage one, factor {factor}", found, arrays[f"stage_one_{factor}"])
        with arithmetic(device, "float32"):
            found = network.fuse_images(given["views"])
        _relative(report, "SAINT, fusion", found, arrays["fused"])


def _relative(report: Report, what: str, found: torch.Tensor, expected: np.ndarray) -> None:
    worst = _difference(found, expected) / float(np.abs(expected).max())
    name = f"{what}, its authors' arrays, relative difference"
    report.add("right", name, f"{worst:.1e}", worst < TOLERANCE)


def _difference(found: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(found.cpu().numpy() - expected).max())
