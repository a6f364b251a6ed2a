"""What is measured: methods and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ThickToThinSRLib.enhance import choose_method
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.registry import METHODS, check_adaptation
from ThickToThinSRLib.weights.header import read_header

from ..recipes import NAMES, Recipe, find_recipe

_NETWORK_TITLES = {"unet": "U-Net", "msd": "MS-D network"}


@dataclass(frozen=True)
class System:
    """One method with its weights.

    Attributes
    ----------
    name : str
        In files: the recipe or method, then what tells it from another of them.
    title : str
        In tables and figures.
    method : str
        In the library's registry.
    card : dict, optional
        Model card of the weights, with their ``path`` and ``sha256``.
    epochs, minutes, network
        For methods that adapt to the scan.
    """

    name: str
    title: str
    method: str
    card: dict[str, Any] | None = None
    epochs: int | None = None
    minutes: float | None = None
    network: str | None = None

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of a published system."""
        name = self.name.split()[0]
        return find_recipe(name) if name in NAMES else None

    @property
    def tiled(self) -> bool:
        """Whether the authors' tiling differs from the seamless one: networks of a fixed factor."""
        return self.card is not None and self.card["window"]["factor"] is not None

    @property
    def decides(self) -> dict[str, Any]:
        """All of it that its numbers depend on."""
        weights = self.card["sha256"] if self.card else None
        return {"system": self.name, "method": self.method, "weights": weights, **self.adaptation}

    @property
    def adaptation(self) -> dict[str, Any]:
        """What it was told for an adaptation to the scan."""
        told = {"epochs": self.epochs, "minutes": self.minutes, "network": self.network}
        return {name: value for name, value in told.items() if value is not None}

    @cached_property
    def weights(self) -> int:
        """Number of weights."""
        if self.card is not None:
            header = read_header(Path(self.card["path"]))
            return sum(int(np.prod(e["shape"])) for key, e in header.items() if key != "__metadata__")
        if self.network is not None:
            from ThickToThinSRLib.networks.registry import build

            return sum(weights.numel() for weights in build(self.network).parameters())
        return 0


def find_systems(
    methods: list[str],
    checkpoints: list[Path],
    epochs: int | None = None,
    minutes: float | None = None,
    network: str | None = None,
) -> list[System]:
    """Systems of method names and weights files, each with a name of its own.

    Parameters
    ----------
    epochs, minutes
        For those among them that adapt to the scan.
    network : {"unet", "msd"}, optional
        Which network methods adapt that have several; files of weights say it themselves.

    Raises
    ------
    UserError
        For an unknown method, a file that holds no weights, or an option that no system takes.
    """
    asked = {"epochs": epochs, "minutes": minutes, "network": network}
    asked = {name: value for name, value in asked.items() if value is not None}
    found = [_of_method(name, asked) for name in methods] + [_of_file(path, asked) for path in checkpoints]
    for option in asked:
        if not any(option in system.adaptation for system in found):
            taking = [name for name, method in METHODS.items() if option in method.options]
            raise UserError(f"--{option}: none of the chosen systems takes it; {', '.join(taking)} would")
    names = [system.name for system in found]
    for index, system in enumerate(found):
        if names.count(system.name) > 1 and system.card:
            path = Path(system.card["path"])
            mark = f"{path.parent.name}/{path.stem}"
            found[index] = replace(system, name=f"{system.name} {mark}", title=f"{system.title} ({mark})")
    if len({system.name for system in found}) < len(found):
        raise UserError("a system is named twice")
    return found


def _of_method(name: str, asked: dict[str, Any]) -> System:
    told = {option: value for option, value in asked.items() if option in METHODS[name].options}
    check_adaptation(name, **told)
    method, card = choose_method(name, None, told.get("network"))
    title = find_recipe(name).title if name in NAMES else name.capitalize()
    if "network" in told:
        name, title = f"{name} {told['network']}", f"{title}, {_NETWORK_TITLES[told['network']]}"
    return System(name, title, method, card, **told)


def _of_file(path: Path, asked: dict[str, Any]) -> System:
    method, card = choose_method(None, path)
    taking = METHODS[method].options - {"network"}
    told = {option: value for option, value in asked.items() if option in taking}
    check_adaptation(method, **told)
    return System(card.get("recipe", {}).get("name", method), card["title"], method, card, **told)
