"""What a finished training leaves is used by `enhance` and offered by `models`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from Testing.command_line import expect_refusal, write
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.io.volume_files import read_volume, write_volume
from ThickToThinSRLib.methods.registry import METHODS
from ThickToThinSRLib.volume import Volume
from ThickToThinSRLib.weights.checkpoint import Weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_finished_run_exports_weights_with_a_card_that_enhance_takes(finished, tmp_path, name):
    weights = finished / f"{name}.safetensors"
    opened = Weights.open(weights)
    card = opened.card
    assert card["title"] == "MPU-Net"
    assert opened.network in {method.network for method in METHODS.values()}
    assert card["recipe"]["name"] == "mpunet"
    assert card["recipe"]["crop"] == 16
    assert card["trained"] == {"spacing": [5.0, 5.0], "thickness": [5.0, 5.0]}
    assert "CT1, CT2" in card["data"]
    if name == "best":
        assert card["results"]["validation"]["psnr"] > 0
    thick = np.random.default_rng(0).integers(-1000, 400, (6, 20, 24)).astype(np.int16)
    write_volume(Volume(thick, (0.7, 0.7, 5.0)), tmp_path / "thick.nrrd")
    command = ["enhance", str(tmp_path / "thick.nrrd"), str(tmp_path / "thin.nrrd"), "--checkpoint"]
    assert main([*command, str(weights), "--progress", "none", "--device", "cpu"]) == 0
    assert read_volume(tmp_path / "thin.nrrd").voxels.shape == (26, 20, 24)
    provenance = json.loads((tmp_path / "thin.nrrd.provenance.json").read_text())
    assert provenance["method"] == "mpunet"


def test_models_offers_weights_after_they_were_added(finished, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("THICKTOTHIN_WEIGHTS", str(tmp_path / "kept"))
    for _ in range(2):  # the same file again does no harm
        assert main(["models", "--add", str(finished / "best.safetensors")]) == 0
    capfd.readouterr()
    assert main(["models"]) == 0
    kept = tmp_path / "kept" / "mpunet-best.safetensors"
    assert f"added: MPU-Net step 4, mpunet: {kept}" in capfd.readouterr().out
    assert kept.read_bytes() == (finished / "best.safetensors").read_bytes()
    kept.write_bytes((finished / "last.safetensors").read_bytes())
    refused = expect_refusal(capfd, tmp_path, "models", "--add", finished / "best.safetensors")
    assert "other weights with this name were added before" in refused
    assert main(["models", "--add", str(finished / "best.safetensors"), "--overwrite"]) == 0
    assert kept.read_bytes() == (finished / "best.safetensors").read_bytes()
    kept.write_bytes(kept.read_bytes()[:100])
    assert main(["models"]) == 0
    assert f"added, but unusable: {kept}" in capfd.readouterr().out


def test_a_method_takes_the_weights_that_were_added_for_it_unless_there_are_several(
    finished, tmp_path, monkeypatch, capfd, no_bundled_weights
):
    kept = tmp_path / "kept"
    monkeypatch.setenv("THICKTOTHIN_WEIGHTS", str(kept))
    write(tmp_path / "thick.nrrd")
    command = ["enhance", tmp_path / "thick.nrrd", tmp_path / "thin.nrrd", "--method", "mpunet"]
    assert "method mpunet needs weights" in expect_refusal(capfd, tmp_path, *command)
    assert main(["models", "--add", str(finished / "best.safetensors")]) == 0
    assert main([*map(str, command), "--progress", "none", "--device", "cpu"]) == 0
    provenance = json.loads((tmp_path / "thin.nrrd.provenance.json").read_text())
    assert provenance["checkpoint"]["path"] == str(kept / "mpunet-best.safetensors")
    shutil.copyfile(finished / "last.safetensors", kept / ".thicktothin-left-by-a-kill.safetensors")
    assert main([*map(str, command), "--overwrite", "--progress", "none", "--device", "cpu"]) == 0
    shutil.copyfile(finished / "last.safetensors", kept / "mpunet-last.safetensors")
    refused = expect_refusal(capfd, tmp_path, *command, "--overwrite")
    assert "2 weights files of mpunet were added: choose one (--checkpoint)" in refused


def test_a_file_that_holds_no_weights_is_not_added(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("THICKTOTHIN_WEIGHTS", str(tmp_path / "kept"))
    (tmp_path / "x.safetensors").write_bytes(b"nothing of the kind")
    expect_refusal(capfd, tmp_path, "models", "--add", tmp_path / "x.safetensors")
