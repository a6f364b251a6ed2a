"""Options of methods that adapt to the scan: bad values, and methods that do not take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from Testing.command_line import expect_refusal, write
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.registry import check_adaptation


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"minutes": -1.0}, "--minutes must be a number of at least 0, not -1"),
        ({"minutes": float("nan")}, "--minutes must be a number of at least 0, not nan"),
        ({"minutes": float("inf")}, "--minutes must be"),
        ({"epochs": -3}, "--epochs must be"),
        ({"minutes": 1.0, "epochs": 2}, "either --minutes or --epochs"),
        ({"planes": "axial"}, "--planes must be one of both, coronal, sagittal, not 'axial'"),
        ({"network": "resnet"}, "--network must be one of unet, msd, not 'resnet'"),
        ({"save_weights": Path("a.pt")}, "must end in .safetensors"),
    ],
)
def test_a_bad_value_is_refused_with_what_would_do(option, said):
    with pytest.raises(UserError, match=said):
        check_adaptation("consistent", **option)


@pytest.mark.parametrize(
    "option",
    [
        {"minutes": 1.0},
        {"epochs": 1},
        {"planes": "both"},
        {"network": "unet"},
        {"save_weights": Path("a.safetensors")},
    ],
)
def test_a_method_without_adaptation_refuses_its_options(option):
    name = next(iter(option)).replace("_", "-")
    with pytest.raises(UserError, match=f"method consistent does not take --{name}"):
        check_adaptation("consistent", **option)
    check_adaptation("consistent")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--minutes", "1"),
        ("--minutes=-1",),
        ("--minutes", "nan"),
        ("--minutes", "1", "--epochs", "1"),
        ("--epochs", "1.5"),
        ("--network", "vgg"),
        ("--planes", "axial"),
        ("--save-weights", "weights.safetensors"),
        ("--save-weights", "no_such_folder/weights.safetensors"),
    ],
)
def test_the_command_line_refuses_in_one_line_and_writes_nothing(arguments, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thick = write(tmp_path / "thick.nii.gz")
    said = expect_refusal(
        capfd, tmp_path, "enhance", thick, tmp_path / "thin.nii.gz", "--progress", "none",
        "--method", "consistent", *arguments,
    )  # fmt: skip
    assert arguments[0].split("=")[0] in said or "does not exist" in said
