"""Goes on with recipes of bundled weights on packed data for as long as there is time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ThickToThinSRLib.weights.bundled import bundled_for
from ThickToThinSRLib.weights.checkpoint import Weights, save_network
from training.bundled.recipe import BundledRecipe
from training.bundled.recipes import RECIPES
from training.bundled.trainer import update_mean
from training.pack import unpack

from .report import Report

RECIPE_OF = {"tvsrn": "tvsrn_warm", "cthnet": "cthnet_warm", "universal": "universal_first"}
_SAVE_SECONDS, _READ_EVERY = 30.0, 20
_LARGEST_GRADIENT = 1.0
# Of a file. Larger weights are cut into parts, to be joined by `cat FILE.1 FILE.2 > FILE`.
_LARGEST_FILE = 15 << 20


def learn(
    report: Report,
    device: torch.device,
    data: Path,
    shares: dict[str, float],
    given: dict[str, Path],
    seconds: float,
) -> None:
    """Train each recipe for its share of some seconds.

    Parameters
    ----------
    data : Path
        What training.pack wrote.
    shares : dict
        Name of the network to its share of the time.
    given : dict
        Name of the network to the weights to go on from; else the bundled ones, else the recipe's start.
    """
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        names = unpack(data, Path(folder))
        report.add("learn", f"unpacking {len(names)} scans", f"{time.monotonic() - started:.1f} s")
        whole, used = sum(shares.values()), 0.0
        beginning, seconds = time.monotonic(), min(seconds, report.left())
        for name, share in shares.items():
            used += share
            until = beginning + seconds * used / whole
            report.attempt(
                "learn",
                name,
                lambda name=name, until=until: _train(
                    report, device, RECIPES[RECIPE_OF[name]], Path(folder), given.get(name), until
                ),
            )


def _train(
    report: Report, device: torch.device, recipe: BundledRecipe, data: Path, given: Path | None, until: float
) -> None:
    source = recipe.source(data, [])
    network, origin = _first_weights(recipe, source, given)
    network = network.train().to(device)
    optimizers = recipe.optimizers(network, recipe.rate)
    mean = {key: value.detach().clone() for key, value in network.state_dict().items()}
    began = saved = time.monotonic()
    step, before, after = 0, [], []
    # A slow start may have used up the time: one step is always made.
    while not step or time.monotonic() < until:
        report.check()
        share = min(1.0, (time.monotonic() - began) / max(until - began, 1e-3))
        # The rate falls in the last half, so that the time ends with settled weights.
        optimizers.set_relative_rate(min(1.0, (step + 1) / 50, 2.02 * (1 - share) + 0.01))
        batch = source.batch(np.random.default_rng([1, step]), step, share > 0.5)
        batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        objective = recipe.objective(network, batch, share > 0.5, "bfloat16")
        network.zero_grad(set_to_none=True)
        objective.loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT, error_if_nonfinite=False)
        optimizers.step()
        update_mean(mean, network, min(recipe.average, step / (step + 10)))
        before.append(objective.before.detach())
        after.append(objective.after.detach())
        step += 1
        if step % _READ_EVERY == 0:
            _check(objective.loss, step)
            if time.monotonic() - saved > _SAVE_SECONDS:
                _save(report.folder, recipe, network, mean, origin, step)
                saved = time.monotonic()
    _check(objective.loss, step)
    _save(report.folder, recipe, network, mean, origin, step)
    half = len(after) // 2
    gain = 10 * float(torch.log10(torch.stack(before[half:]).mean() / torch.stack(after[half:]).mean()))
    told = f"{step} steps, {step / (time.monotonic() - began):.2f} a second, {gain:+.2f} dB in the last half"
    report.add("learn", recipe.name, told)


def _first_weights(recipe: BundledRecipe, source, given: Path | None) -> tuple[torch.nn.Module, str]:
    """The network to go on with, and where its weights come from."""
    weights = Weights.open(given) if given else bundled_for(recipe.network)
    if weights is not None:
        return weights.load(), weights.path.name
    from ThickToThinSRLib.networks.registry import build

    network = build(recipe.network, **recipe.arguments)
    recipe.start(network, source)
    return network, "the recipe's start"


def _check(loss: torch.Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise ArithmeticError(f"the loss is NaN or infinite at step {step}; the weights saved before stay")


def _save(
    folder: Path, recipe: BundledRecipe, network: torch.nn.Module, mean: dict, origin: str, step: int
) -> None:
    """Write the running mean of the weights, in half precision."""
    card = {
        "title": f"{recipe.name}, {step} more steps",
        "version": "0",
        "licence": recipe.card["licence"],
        "origin": f"{origin}, trained on a GPU for some minutes by Testing.gpu",
        "limits": "not evaluated; not a medical device",
        "trained": recipe.card["trained"],
    }
    halves = {key: value.half().cpu() for key, value in mean.items()}
    path = folder / f"{recipe.name}.safetensors"
    save_network(path, halves, recipe.network, recipe.arguments, network.window, card)
    content = path.read_bytes()
    if len(content) > _LARGEST_FILE:
        for number, start in enumerate(range(0, len(content), _LARGEST_FILE), 1):
            path.with_name(f"{path.name}.{number}").write_bytes(content[start : start + _LARGEST_FILE])
        path.unlink()
