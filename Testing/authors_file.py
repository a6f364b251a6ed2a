"""Checkpoints as the authors' ``torch.save`` writes them, honest and hostile, for tests."""

from __future__ import annotations

import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.weights.authors_file import read_authors

CONFIG = {"c_y": 64, "c_x": 64, "T3dE_w": (2.0, 2.0, 2.0), "T_mask": False, "path": None, "name": "x"}


def save(network, path, **options):
    """Save a network as the authors do; returns `path`."""
    torch.save({"net": network, "config_dict": CONFIG}, path, **options)
    return path


def expect_error(path) -> str:
    """The one-line message with which reading `path` is refused."""
    with pytest.raises(UserError) as caught:
        read_authors(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def authors_network(monkeypatch):
    """A small network whose classes seem to come from the authors' packages ``net`` and ``timm``."""
    net, timm = types.ModuleType("net.model_TransSR"), types.ModuleType("timm.models.layers")

    class DropPath(nn.Module):
        def forward(self, x):
            return x

    class TVSRN(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(1, 2, 3, bias=False)
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 3), DropPath()), nn.BatchNorm1d(3)])
            self.register_buffer("attn_mask", torch.arange(6).reshape(2, 3).t())
            self.register_buffer("scratch", torch.ones(2), persistent=False)
            self.weight_16 = nn.Parameter(torch.randn(5).half())
            self.mask_token = torch.zeros(3)

    for package in ("net", "timm", "timm.models"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    for module, kind in ((net, TVSRN), (timm, DropPath)):
        kind.__module__, kind.__qualname__ = module.__name__, kind.__name__
        setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return TVSRN()


def rewritten(source: Path, target: Path, change) -> Path:
    """Copy a zip file; ``change(name, content)`` gives each entry's new content, None to leave it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def torch_zip(path: Path, pickled: bytes, extra: dict[str, bytes] | None = None) -> Path:
    """A file in torch's zip format around the given pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path
