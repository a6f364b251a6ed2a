"""What may and what may not be another when a run goes on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from .runs import train, weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def begun(prepared, tmp_path):
    """A copy of the data and a run of one step on it."""
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(prepared, data)
    assert train("mpunet", data, run, "steps=1") == 0
    return data, run


def refused(data, run, capfd, *settings):
    """The one line that the run to resume ends with; its state stays."""
    before = (run / "state.safetensors").read_bytes()
    capfd.readouterr()
    assert train("mpunet", data, run, *settings, resume=True) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert (run / "state.safetensors").read_bytes() == before
    return error


def test_the_runs_file_holds_the_index_of_its_data(begun):
    data, run = begun
    facts = json.loads((run / "run.json").read_text())
    assert facts["data"] == str(data)
    assert facts["cases"] == {
        "train": {"CT1": [5, 32, 32], "CT2": [5, 32, 32]},
        "val": {"CT1": [5, 32, 32]},
    }


def test_a_run_remembers_what_it_was_told_when_it_went_on(begun):
    data, run = begun
    assert train("mpunet", data, run, "steps=3", resume=True) == 0
    facts = json.loads((run / "run.json").read_text())
    assert facts["settings"]["steps"] == 3
    assert [start["after_step"] for start in facts["starts"]] == [0, 1]


def test_a_run_goes_on_with_its_data_wherever_they_are_now(begun, tmp_path):
    data, run = begun
    data.rename(tmp_path / "moved")
    assert train("mpunet", tmp_path / "moved", run, "steps=2", resume=True) == 0


def test_other_cases_are_refused(begun, capfd):
    data, run = begun
    index = json.loads((data / "index.json").read_text())
    (data / "index.json").write_text(json.dumps({**index, "cases": index["cases"][1:]}))
    error = refused(data, run, capfd, "steps=2")
    assert f"the run to resume was trained on the cases of {data}: give these, unchanged, by --data" in error


def test_cases_of_the_same_names_but_other_sizes_are_refused(begun, capfd):
    data, run = begun
    index = json.loads((data / "index.json").read_text())
    for kind, slices in (("thick", 4), ("thin", 16)):
        entry = index["cases"][0][kind]
        np.save(data / entry["file"], np.load(data / entry["file"])[:slices])
        entry["shape"][0] = slices
    (data / "index.json").write_text(json.dumps(index))
    assert "was trained on the cases of" in refused(data, run, capfd, "steps=2")


def test_a_run_on_a_published_layout_keeps_the_arrays_it_made(published, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(published, data)
    assert train("mpunet", data, run, "steps=1") == 0
    arrays = run / "data" / "train" / "CT1.thin.npy"
    before = arrays.read_bytes()
    # The same names with other voxels: what the run has learned from is in its folder.
    for kind in ("1mm", "5mm"):
        shutil.copyfile(data / "train" / kind / "CT2.nii.gz", data / "train" / kind / "CT1.nii.gz")
    assert train("mpunet", data, run, "steps=2", resume=True) == 0
    assert arrays.read_bytes() == before


@pytest.mark.parametrize("content", ["{", "{}", '{"recipe": "mpunet"}'])
def test_a_damaged_description_of_the_run_is_named(begun, capfd, content):
    data, run = begun
    (run / "run.json").write_text(content)
    assert f"{run / 'run.json'}: damaged description of a run" in refused(data, run, capfd)


def test_a_longer_run_of_two_stages_keeps_the_border_between_them(prepared, tmp_path):
    run = tmp_path / "run"
    settings = ["stage_one=0.5", "validate_below=0"]
    assert train("saint", prepared, run, *settings, "steps=4") == 0
    short = weights(run)
    assert train("saint", prepared, run, *settings, "steps=10", resume=True) == 0
    longer = weights(run)
    # What is learned in the first stage alone, the views, is fixed in the second.
    changed = {key.split(".")[0] for key in short if not (short[key] == longer[key]).all()}
    assert changed == {"fusion"}


def test_the_stopping_rules_wait_for_the_second_stage(prepared, tmp_path):
    run = tmp_path / "run"
    # An epoch has two steps; with this rate nothing gets better.
    settings = ["stage_one=0.5", "steps=12", "learning_rate=1e-12", "validate_every=1", "validate_below=10"]
    assert train("saint", prepared, run, *settings, "most_idle_epochs=1") == 0
    ends = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert ends == [2, 4, 6, 8], "the second stage begins after 6 steps, and has one idle epoch"
