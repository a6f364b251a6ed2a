"""Finds PyTorch and other packages, and installs missing ones with the user's consent."""

import importlib.metadata
import importlib.util
import pathlib
import shutil
import subprocess

import slicer
from slicer.i18n import tr as _

from ThickToThinSRLib.errors import UserError

_REQUIREMENTS = pathlib.Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"


def _without():
    return _("the methods interpolation and consistent work without it")


def _extension():
    return _("install the extension PyTorch in the Extensions Manager and restart Slicer")


def torchInstalled():
    """Whether PyTorch is installed; does not import it, which would take seconds."""
    return importlib.util.find_spec("torch") is not None


def torchObstacle():
    """Why PyTorch is missing and cannot be installed by this module; empty if it can be used or installed."""
    if torchInstalled() or importlib.util.find_spec("PyTorchUtils") is not None:
        return ""
    return _("A network needs PyTorch: {extension}; {without}").format(
        extension=_extension(), without=_without()
    )


def cpuOnlyHint():
    """A line if PyTorch cannot use the computer's graphics card, else an empty string."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
    if version.endswith("+cpu") and shutil.which("nvidia-smi"):
        return _(
            "PyTorch {version} is built for the CPU only, though there is an NVIDIA card: "
            "uninstall it in the module PyTorch Utils, then install it with the computation "
            "backend of your card"
        ).format(version=version)
    return ""


def advice(error):
    """What to do if a worker failed because of the PyTorch installation, else an empty string."""
    text = "\n".join([str(error), *(getattr(error, "last_words", None) or [])])
    broken = ("ImportError", "ModuleNotFoundError", "OSError", "DLL load failed", "undefined symbol")
    if "torch" in text and any(word in text for word in broken):
        return _(
            "PyTorch is installed but cannot be loaded: uninstall it in the module PyTorch "
            "Utils and install it again (on Windows, a long path to Slicer can break it); "
            "{without}"
        ).format(without=_without())
    if "CUDA" in text and "no kernel image" in text:
        return _(
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
            raise UserError(
                _("A network needs PyTorch: {extension}; {without}").format(
                    extension=_extension(), without=_without()
                )
            ) from error
        try:
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=">=2.5"
            )
        except Exception as error:  # pip and the extension raise many types
            raise UserError(
                _(
                    "PyTorch could not be installed ({reason}): see the Python console, check the "
                    "network connection and the free disk space; {without}"
                ).format(reason=" ".join(str(error).split())[:200], without=_without())
            ) from error
        if torch is None:
            raise UserError(
                _("A network needs PyTorch, which was not installed; {without}").format(without=_without())
            )
    try:
        _installRequirements(_REQUIREMENTS)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise UserError(
            _("A network needs {packages}: {error}").format(
                packages=_REQUIREMENTS.read_text().strip(), error=error
            )
        ) from error


def _installRequirements(path):
    """Ask the user and install the packages listed in a file; RuntimeError if the user declines."""
    names = [line.split(">=")[0] for line in path.read_text().split()]
    if all(importlib.util.find_spec(name) for name in names):
        return  # without a network connection
    try:
        import slicer.packaging as packaging
    except ImportError:  # Slicer before 5.12
        if not slicer.util.confirmOkCancelDisplay(
            _("Install the Python packages {packages}?").format(packages=", ".join(names))
        ):
            raise RuntimeError(_("the installation was declined")) from None
        slicer.util.pip_install(["-r", str(path)])
    else:
        packaging.pip_ensure(packaging.load_requirements(path), requester="Thick To Thin SR")
