"""The systems that are measured: methods and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.choices import check_options, choose_method
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.weights.checkpoint import Weights
from ThickToThinSRLib.weights.importing import AS_PUBLISHED

from ..recipes import NAMES, Recipe, find_recipe

# Names of rows where the method's own name says too little or too much.
_TITLES = {"interpolation": "Cubic interpolation", "consistent": "Consistent interpolation"}
_SR4ZCT = {"unet": "SR4ZCT with this project's U-Net", "msd": "SR4ZCT with the paper's MS-D network"}


@dataclass(frozen=True)
class System:
    """One method with its weights.

    Attributes
    ----------
    name : str
        Name in files: that of the recipe or method, with an addition if several systems share it.
    title : str
        Name in tables and figures: what was measured, whoever trained it.
    method : str
        Name in the library's registry of methods.
    checkpoint : Weights, optional
        The weights.
    epochs, minutes : int, float, optional
        How long the method adapts to the scan.
    network : str, optional
        Which network it adapts.
    recipe : Recipe, optional
        The published system that the weights are: trained by its recipe, or imported from its authors.
    """

    name: str
    title: str
    method: str
    checkpoint: Weights | None = None
    epochs: int | None = None
    minutes: float | None = None
    network: str | None = None
    recipe: Recipe | None = None

    @property
    def tiled(self) -> bool:
        """Whether the authors' tiling differs from the seamless one: only for networks of a fixed factor."""
        return self.checkpoint is not None and self.checkpoint.factor is not None

    @property
    def identity(self) -> dict[str, Any]:
        """Everything about the system that decides its numbers."""
        weights = self.checkpoint.sha256 if self.checkpoint else None
        return {"system": self.name, "method": self.method, "weights": weights, **self.adaptation}

    @property
    def adaptation(self) -> dict[str, Any]:
        """The options for the adaptation to the scan that are set."""
        return _given(epochs=self.epochs, minutes=self.minutes, network=self.network)

    @cached_property
    def weights(self) -> int:
        """Number of weights."""
        if self.checkpoint is not None:
            return self.checkpoint.count
        if self.network is not None:
            from ThickToThinSRLib.networks.registry import build

            return sum(weights.numel() for weights in build(self.network).parameters())
        return 0


def find_systems(
    methods: Sequence[str],
    checkpoints: Sequence[Path],
    epochs: int | None = None,
    minutes: float | None = None,
    network: str | None = None,
) -> list[System]:
    """Systems of methods and weights files, each with its own name.

    Parameters
    ----------
    methods : sequence of str
        Names of methods.
    checkpoints : sequence of Path
        Weights files.
    epochs, minutes : int, float, optional
        How long systems that adapt to the scan do so.
    network : {"unet", "msd"}, optional
        Which network a method adapts; weights files say it themselves.

    Raises
    ------
    UserError
        For an unknown method, a file without weights, or an option that no system takes.
    """
    adaptation = _given(epochs=epochs, minutes=minutes, network=network)
    systems = [_of_method(name, adaptation) for name in methods]
    systems += [_of_file(path, adaptation) for path in checkpoints]
    for option in adaptation:
        if not any(option in system.adaptation for system in systems):
            taking = [name for name, method in METHODS.items() if option in method.options]
            raise UserError(f"--{option}: none of the chosen systems takes it; {', '.join(taking)} would")
    names = [system.name for system in systems]
    for index, system in enumerate(systems):
        if names.count(system.name) > 1 and system.checkpoint:
            path = system.checkpoint.path
            addition = f"{path.parent.name}/{path.stem}"
            systems[index] = replace(
                system, name=f"{system.name} {addition}", title=f"{system.title} ({addition})"
            )
    if len({system.name for system in systems}) < len(systems):
        raise UserError("a system is named twice")
    return systems


def _given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def _of_method(name: str, adaptation: dict[str, Any]) -> System:
    taken = {option: value for option, value in adaptation.items() if option in METHODS[name].options}
    check_options(name, Settings(**taken))
    method, checkpoint = choose_method(name, None, taken.get("network"))
    if name == "sr4zct":
        title = _SR4ZCT[checkpoint.network if checkpoint else taken["network"]] + _adapted(taken)
    elif checkpoint is not None:
        title = f"{checkpoint.card['title']}{_adapted(taken)}"
    else:
        title = _TITLES[name]
    if "network" in taken:
        name = f"{name} {taken['network']}"
    return System(name, title, method, checkpoint, recipe=_recipe_of(checkpoint), **taken)


def _of_file(path: Path, adaptation: dict[str, Any]) -> System:
    method, checkpoint = choose_method(None, path)
    options = METHODS[method].options - {"network"}
    taken = {option: value for option, value in adaptation.items() if option in options}
    check_options(method, Settings(**taken))
    name = checkpoint.card.get("recipe", {}).get("name", method)
    title = f"{checkpoint.card['title']}{_adapted(taken)}"
    return System(name, title, method, checkpoint, recipe=_recipe_of(checkpoint), **taken)


def _adapted(taken: dict[str, Any]) -> str:
    """How long a system adapts to each scan, for the end of its name."""
    if taken.get("epochs"):
        return f", adapted for {taken['epochs']} epochs"
    if taken.get("minutes"):
        return f", adapted for {taken['minutes']:g} min"
    return ""


def _recipe_of(checkpoint: Weights | None) -> Recipe | None:
    """The recipe of weights that are a published system: other weights must not stand beside its numbers."""
    if checkpoint is None:
        return None
    trained_by = checkpoint.card.get("recipe", {}).get("name")
    if trained_by in NAMES:
        recipe = find_recipe(trained_by)
        return recipe if checkpoint.arguments == recipe.arguments else None
    imported = checkpoint.card["version"] == AS_PUBLISHED
    return find_recipe(checkpoint.network) if imported and checkpoint.network in NAMES else None
