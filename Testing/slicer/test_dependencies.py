"""PyTorch and other packages are needed only if a network is chosen; a refusal is explained."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest

from Testing.shared_data import CHECKOUT
from Testing.volumes import ct_voxels
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.weights.bundled import bundled_for

from .scenes import add_volume, is_clean


@pytest.fixture
def without_packages(monkeypatch):
    """As in a new Slicer: without torch, safetensors and the extension PyTorch."""
    find_spec, missing = importlib.util.find_spec, {"torch", "safetensors"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in missing else find_spec(name, *rest)
    )
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    return missing


def offer_pytorch(monkeypatch, missing, accepted):
    """Install a stand-in for the extension PyTorch, in whose dialog the user accepts or declines."""
    calls = []

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation, torchVersionRequirement):
            calls.append((askConfirmation, torchVersionRequirement))
            if not accepted:
                return None
            missing.discard("torch")
            return types.ModuleType("torch")

    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    return calls


def answer(monkeypatch, slicer, yes, missing=frozenset()):
    """Set the user's answer to the dialog of Slicer before 5.12; returns pip's arguments."""
    installed = []

    def pip_install(arguments):
        installed.append(arguments)
        missing.discard("safetensors")

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: yes)
    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    return installed


@pytest.mark.parametrize("method", ["interpolation", "consistent"])
def test_methods_without_a_network_need_nothing(slicer, logic, without_packages, method):
    logic.enhance(add_volume(slicer, ct_voxels()), method=method)


@pytest.mark.parametrize("method", [None, "universal"])
def test_weights_need_pytorch_before_a_worker_is_started(slicer, logic, without_packages, method):
    weights = bundled_for("universal").path
    with pytest.raises(UserError, match="needs PyTorch"):
        logic.enhance(add_volume(slicer, ct_voxels()), method=method, checkpoint=weights)
    assert is_clean(slicer)


def test_a_missing_pytorch_extension_is_named(logic, without_packages):
    with pytest.raises(UserError, match=r"install the extension PyTorch in the Extensions Manager.*restart"):
        logic.installDependencies()


def test_a_declined_pytorch_is_explained(logic, without_packages, monkeypatch):
    offer_pytorch(monkeypatch, without_packages, accepted=False)
    with pytest.raises(
        UserError, match=r"needs PyTorch, which was not installed.*interpolation and consistent"
    ):
        logic.installDependencies()


def test_everything_is_installed_with_consent(slicer, logic, without_packages, monkeypatch):
    calls = offer_pytorch(monkeypatch, without_packages, accepted=True)
    installed = answer(monkeypatch, slicer, yes=True, missing=without_packages)
    logic.installDependencies()
    assert calls == [(True, ">=2.5")]
    assert installed == [["-r", str(CHECKOUT / "ThickToThinSR" / "Resources" / "requirements.txt")]]


def test_a_declined_package_is_explained(slicer, logic, without_packages, monkeypatch):
    without_packages.discard("torch")
    installed = answer(monkeypatch, slicer, yes=False)
    with pytest.raises(UserError, match=r"A network needs safetensors.*declined"):
        logic.installDependencies()
    assert not installed


def test_nothing_is_asked_when_everything_is_there(slicer, logic, monkeypatch):
    pytest.importorskip("torch")
    installed = answer(monkeypatch, slicer, yes=False)
    logic.installDependencies()
    assert not installed


def test_newer_slicers_install_by_their_own_packaging(slicer, logic, without_packages, monkeypatch):
    without_packages.discard("torch")
    calls = []
    packaging = types.ModuleType("slicer.packaging")
    packaging.load_requirements = lambda path: path.read_text().split()
    packaging.pip_ensure = lambda requirements, requester: calls.append((requirements, requester))
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(slicer, "packaging", packaging, raising=False)
    logic.installDependencies()
    assert calls == [(["safetensors>=0.4"], "Thick To Thin SR")]


def test_torch_is_not_among_the_requirements():
    text = (CHECKOUT / "ThickToThinSR" / "Resources" / "requirements.txt").read_text()
    assert "torch" not in text
    assert ">=" in text
