"""Options: values that are not allowed, and methods that do not have them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from Testing.command_line import expect_refusal, write
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.methods.choices import check_options
from ThickToThinSRLib.settings import Settings, flag


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": -1.0}, "--minutes must be 0 or larger, not -1"),
        ({"minutes": float("nan")}, "--minutes must be 0 or larger, not nan"),
        ({"minutes": float("inf")}, "--minutes must be"),
        ({"epochs": -3}, "--epochs must be"),
        ({"minutes": 1.0, "epochs": 2}, "either --minutes or --epochs"),
        ({"spacing": 1.0, "factor": 2.0}, "either --spacing or --factor"),
        ({"planes": "axial"}, "--planes must be one of both, coronal, sagittal, not 'axial'"),
        ({"network": "resnet"}, "--network must be one of unet, msd, not 'resnet'"),
        ({"precision": "fp16"}, "--precision must be one of auto, float32, bfloat16, float16, not 'fp16'"),
        ({"tiling": "none"}, "--tiling must be one of seamless, authors, not 'none'"),
        ({"intensity": "HU"}, "--intensity must be one of auto, hu, unit, not 'HU'"),
        ({"consistency": "off"}, "--consistency must be True or False, not 'off'"),
        ({"consistency": None}, "--consistency must be True or False, not None"),
        ({"device": 3}, "--device must be a text, not 3"),
        ({"device": None}, "--device must be a text, not None"),
        ({"method": 1}, "--method must be a text, not 1"),
        ({"axis": True}, "--axis must be a whole number, not True"),
        ({"axis": 1.0}, "--axis must be a whole number, not 1.0"),
        ({"axis": "k"}, "--axis must be a whole number, not 'k'"),
        ({"thickness": "5"}, "--thickness must be a number, not '5'"),
        ({"spacing": "1"}, "--spacing must be a number, not '1'"),
        ({"factor": [2]}, "--factor must be a number, not [2]"),
        ({"minutes": "1"}, "--minutes must be a number, not '1'"),
        ({"epochs": 1.5}, "--epochs must be a whole number, not 1.5"),
        ({"checkpoint": 5}, "--checkpoint must be the path of a file, not 5"),
        ({"checkpoint": ""}, "--checkpoint must be the path of a file, not ''"),
        ({"save_weights": Path("a.pt")}, "must end in .safetensors"),
    ],
)
def test_a_bad_value_is_refused_with_what_would_do(options, message):
    with pytest.raises(UserError) as raised:
        Settings(**options)
    assert message in raised.value.worded(flag)


def test_numbers_of_numpy_and_paths_as_text_are_taken():
    settings = Settings(
        spacing=np.float32(1.5), axis=np.int64(1), epochs=np.int16(2), checkpoint="w.safetensors"
    )
    assert settings == Settings(spacing=1.5, axis=1, epochs=2, checkpoint=Path("w.safetensors"))
    assert json.loads(json.dumps(settings.for_provenance()))["spacing"] == 1.5


@pytest.mark.parametrize(
    "options",
    [
        {"minutes": 1.0},
        {"epochs": 1},
        {"planes": "both"},
        {"network": "unet"},
        {"save_weights": Path("a.safetensors")},
    ],
)
def test_a_method_without_adaptation_refuses_its_options(options):
    name = flag(next(iter(options)))
    with pytest.raises(UserError) as raised:
        check_options("consistent", Settings(**options))
    assert f"method consistent has no {name}; only " in raised.value.worded(flag)
    check_options("consistent", Settings())


def test_settings_go_through_the_command_line_unchanged(tmp_path):
    from ThickToThinSRLib.cli.arguments import build_parser
    from ThickToThinSRLib.cli.commands import _settings

    settings = Settings(
        spacing=1.25,
        method="sr4zct",
        thickness="estimate",
        axis=1,
        intensity="hu",
        checkpoint=tmp_path / "w.safetensors",
        device="cpu",
        precision="float32",
        consistency=False,
        tiling="authors",
        epochs=3,
        planes="coronal",
        network="msd",
        untilt=True,
        resample_uneven=True,
        save_weights=tmp_path / "adapted.safetensors",
    )
    options = build_parser().parse_args(["enhance", "in", "out", *settings.as_arguments()])
    assert _settings(options) == settings
    assert _settings(build_parser().parse_args(["enhance", "in", "out"])) == Settings()


def test_the_provenance_keeps_what_makes_another_result():
    settings = Settings(consistency=False, device="cuda", save_weights=Path("a.safetensors"), spacing=1.0)
    assert settings.for_provenance() == {"consistency": False, "spacing": 1.0}
    assert Settings().for_provenance() == {}


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
    message = expect_refusal(
        capfd, tmp_path, "enhance", thick, tmp_path / "thin.nii.gz", "--progress", "none",
        "--method", "consistent", *arguments,
    )  # fmt: skip
    assert arguments[0].split("=")[0] in message or "does not exist" in message
