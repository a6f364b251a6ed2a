"""Finds PyTorch and other packages, and installs missing ones with the user's consent."""

import importlib.metadata
import importlib.util
import pathlib
import shutil
import subprocess

import slicer

from ThickToThinSRLib.errors import UserError

WITHOUT = "the methods interpolation and consistent work without it"
_EXTENSION = "install the extension PyTorch in the Extensions Manager and restart Slicer"
_REQUIREMENTS = pathlib.Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"


def torchInstalled():
    """Whether PyTorch is installed; does not import it, which would take seconds."""
    return importlib.util.find_spec("torch") is not None


def torchObstacle():
    """Why PyTorch is missing and cannot be installed by this module; empty if it can be used or installed."""
    if torchInstalled() or importlib.util.find_spec("PyTorchUtils") is not None:
        return ""
    return f"A network needs PyTorch: {_EXTENSION}; {WITHOUT}"


def cpuOnlyHint():
    """A line if PyTorch cannot use the computer's graphics card, else an empty string."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
    if version.endswith("+cpu") and shutil.which("nvidia-smi"):
        return (
            f"PyTorch {version} is built for the CPU only, though there is an NVIDIA card: uninstall it in "
            "the module PyTorch Utils, then install it with the computation backend of your card"
        )
    return ""


def advice(error):
    """What to do if a worker failed because of the PyTorch installation, else an empty string."""
    text = "\n".join([str(error), *(getattr(error, "last_words", None) or [])])
    broken = ("ImportError", "ModuleNotFoundError", "OSError", "DLL load failed", "undefined symbol")
    if "torch" in text and any(word in text for word in broken):
        return (
            "PyTorch is installed but cannot be loaded: uninstall it in the module PyTorch Utils and install "
            f"it again (on Windows, a long path to Slicer can break it); {WITHOUT}"
        )
    if "CUDA" in text and "no kernel image" in text:
        return (
            "This PyTorch is older than the graphics card: install it again in the module PyTorch Utils, or "
            "choose the device cpu under Advanced"
        )
    return ""


def installDependencies():
    """Install the packages that a network needs, with the user's consent; UserError if that fails."""
    if not torchInstalled():
        try:
            import PyTorchUtils
        except ModuleNotFoundError as error:
            raise UserError(f"A network needs PyTorch: {_EXTENSION}; {WITHOUT}") from error
        try:
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=">=2.5"
            )
        except Exception as error:  # pip and the extension raise many types
            raise UserError(
                f"PyTorch could not be installed ({' '.join(str(error).split())[:200]}): see the Python "
                f"console, check the network connection and the free disk space; {WITHOUT}"
            ) from error
        if torch is None:
            raise UserError(f"A network needs PyTorch, which was not installed; {WITHOUT}")
    try:
        _installRequirements(_REQUIREMENTS)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise UserError(f"A network needs {_REQUIREMENTS.read_text().strip()}: {error}") from error


def _installRequirements(path):
    """Ask the user and install the packages listed in a file; RuntimeError if the user declines."""
    names = [line.split(">=")[0] for line in path.read_text().split()]
    if all(importlib.util.find_spec(name) for name in names):
        return  # without a network connection
    try:
        import slicer.packaging as packaging
    except ImportError:  # Slicer before 5.12
        if not slicer.util.confirmOkCancelDisplay(f"Install the Python packages {', '.join(names)}?"):
            raise RuntimeError("the installation was declined") from None
        slicer.util.pip_install(["-r", str(path)])
    else:
        packaging.pip_ensure(packaging.load_requirements(path), requester="Thick To Thin SR")
