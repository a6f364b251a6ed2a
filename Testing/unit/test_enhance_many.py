"""Batches: a damaged input does not stop the rest, existing results are kept, processes share the work."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk

from Testing.command_line import ENVIRONMENT, command, contents, run, write
from Testing.make_dicom import ct_series, write_series
from Testing.volumes import dicom_hu, some_hu
from ThickToThinSRLib.batch.inputs import find_inputs
from ThickToThinSRLib.batch.run import Manner, enhance_many, is_there
from ThickToThinSRLib.batch.shard import rank_and_size, share
from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.monitor import Monitor
from ThickToThinSRLib.settings import Settings
from ThickToThinSRLib.worker.protocol import DONE, THERE

OPTIONS = ("--method", "consistent", "--spacing", "2.5")


def six_cases(folder: Path, shape=(6, 8, 9)) -> Path:
    """Three files, one of them broken, and three DICOM series."""
    for name in ("a.nrrd", "b/c.nii.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, some_hu(shape))
    (folder / "broken.nrrd").write_bytes((folder / "a.nrrd").read_bytes()[:200])
    for number in range(3):
        write_series(ct_series(dicom_hu(shape, number)), folder / f"patient {number}" / "ct")
    return folder


RESULTS = {"a.nrrd", "b/c.nii.gz", "patient 0/ct", "patient 1/ct", "patient 2/ct"}


def results_in(target: Path) -> dict[str, str]:
    """Every result that has a provenance file, by name: its time and inode, to detect changes."""
    written = {}
    for beside in target.rglob("*.provenance.json"):
        result = beside.with_name(beside.name.removesuffix(".provenance.json"))
        name = result.relative_to(target).as_posix()
        written[name] = f"{result.stat().st_mtime_ns} {result.stat().st_ino}"
    return written


def finished(output: str) -> dict[str, list[str]]:
    """Names of the inputs by final state, from the JSON lines of a run."""
    events = [json.loads(line) for line in output.splitlines()]
    names: dict[str, list[str]] = {"done": [], "already there": [], "failed": []}
    for event in events:
        if event["event"] == "case" and event["state"] in names:
            names[event["state"]].append(event["name"])
    return names


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                children.append(int(path.parent.name))
        except OSError:
            continue
    return children


def exists(pid: int) -> bool:
    """Whether a process runs; one that has ended but is not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_half_way_and_started_again_it_does_the_rest_only(tmp_path):
    source, target = six_cases(tmp_path / "in"), tmp_path / "out"
    arguments = ("enhance-many", source, target, *OPTIONS, "--progress", "json")
    first = subprocess.Popen(command(*arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: len(results_in(target)) >= 2)
    workers = children(first.pid)
    first.kill()
    first.communicate()
    wait_until(lambda: not any(exists(pid) for pid in workers))  # a worker does not outlive its parent
    before = results_in(target)
    assert 2 <= len(before) < len(RESULTS)
    assert not list(target.rglob(".thicktothin-*"))

    second = run(*arguments)
    ends = finished(second.stdout)
    assert set(ends["already there"]) == set(before)
    assert set(ends["done"]) == RESULTS - set(before)
    assert ends["failed"] == ["broken.nrrd"]
    assert second.returncode == 2
    after = results_in(target)
    assert set(after) == RESULTS
    assert {name: after[name] for name in before} == before  # not touched


def test_every_failure_is_named_with_its_reason_and_ends_with_2(tmp_path):
    source, target = six_cases(tmp_path / "in"), tmp_path / "out"
    next((source / "patient 1" / "ct").glob("*-3.dcm")).unlink()
    done = run("enhance-many", source, target, *OPTIONS)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1:3] for line in lines[:2]] == [
        ["broken.nrrd", "failed"],
        ["patient 1/ct", "failed"],
    ]
    assert "position" in lines[1] or "missing" in lines[1]
    assert lines[-1].endswith("2 of 6 failed: broken.nrrd, patient 1/ct")
    assert "4 done, 0 already there, 0 skipped, 2 failed, 0 left" in done.stdout
    assert set(results_in(target)) == RESULTS - {"patient 1/ct"}


def test_results_keep_names_and_kind(tmp_path):
    source, target = six_cases(tmp_path / "in"), tmp_path / "out"
    (source / "broken.nrrd").unlink()
    before = contents(source)
    done = run("enhance-many", source, target, *OPTIONS)
    assert (done.returncode, done.stderr) == (0, "")
    assert sitk.ReadImage(str(target / "b" / "c.nii.gz")).GetSize() == (9, 8, 11)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(target / "patient 2" / "ct")))
    assert reader.Execute().GetSize() == (9, 8, 11)
    assert contents(source) == before


def test_what_changed_since_is_made_again(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.nrrd", "b.nrrd"):
        write(source / name)
    settings = Settings(method="interpolation")
    cases = find_inputs(source, target)
    for state in (DONE, THERE):
        outcomes = enhance_many(cases, Manner(settings), lambda outcome: None, Monitor())
        assert [outcome.state for outcome in outcomes] == [state, state]
    assert not is_there(cases[0], replace(settings, spacing=2.5))
    assert is_there(cases[0], replace(settings, device="cpu"))  # where the work is done changes nothing
    (target / "b.nrrd").unlink()
    assert not is_there(cases[1], settings)
    later = time.time() + 10
    os.utime(source / "a.nrrd", (later, later))
    assert not is_there(cases[0], settings)


def test_two_processes_share_the_cases_by_rank(tmp_path):
    source = six_cases(tmp_path / "in")
    ends = []
    for rank in (0, 1):
        environment = {**ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "2"}
        arguments = ("enhance-many", source, tmp_path / "out", *OPTIONS, "--progress", "json")
        ends.append(finished(run(*arguments, env=environment).stdout))
    first, second = ({*one["done"], *one["failed"]} for one in ends)
    assert len(first) == len(second) == 3
    assert first | second == RESULTS | {"broken.nrrd"}
    assert not any(one["already there"] for one in ends)  # disjoint: none met what the other had made


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_are_disjoint_and_complete(size):
    cases = list(range(6))
    parts = [share(cases, rank, size) for rank in range(size)]
    assert sorted(case for one in parts for case in one) == cases


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3"}, (1, 3)),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, (1, 2)),
        # A batch script of several tasks is one process until srun starts them.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "4"}, (2, 4)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "1", "AWS_BATCH_JOB_ARRAY_SIZE": "2"}, (1, 2)),
        ({"SGE_TASK_ID": "3", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "7", "SGE_TASK_STEPSIZE": "2"}, (1, 4)),
        ({"SGE_TASK_ID": "undefined"}, (0, 1)),
        (
            {
                "RANK": "1",
                "WORLD_SIZE": "2",
                "AWS_BATCH_JOB_ARRAY_INDEX": "2",
                "AWS_BATCH_JOB_ARRAY_SIZE": "3",
            },
            (5, 6),
        ),
    ],
)
def test_rank_and_world_size_are_found(environment, expected):
    assert rank_and_size(environment) == expected


@pytest.mark.parametrize(
    "environment", [{"RANK": "4", "WORLD_SIZE": "4"}, {"RANK": "one", "WORLD_SIZE": "4"}]
)
def test_an_impossible_rank_is_refused(environment):
    with pytest.raises(UserError, match="RANK"):
        rank_and_size(environment)


def test_series_that_share_a_folder_get_a_folder_each(tmp_path):
    for seed in (1, 2):
        write_series(ct_series(dicom_hu(seed=seed)), tmp_path / "in" / "ct", prefix=f"{seed}-")
    cases = find_inputs(tmp_path / "in", tmp_path / "out")
    assert len({case.target for case in cases}) == 2
    assert {case.name for case in cases} == {f"ct/{case.series}" for case in cases}


def test_results_within_the_input_folder_are_no_inputs(tmp_path):
    write(tmp_path / "a.nrrd")
    for _ in range(2):
        done = run("enhance-many", tmp_path, tmp_path / "thin", "--method", "interpolation")
        assert done.returncode == 0
    assert set(results_in(tmp_path)) == {"thin/a.nrrd"}


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("nowhere", "out", "no such folder"),
        ("a.nrrd", "out", "not a folder"),
        ("empty", "out", "contains neither"),
        ("full", "full", "is the folder of the inputs"),
        ("full", "a.nrrd", "is a file"),
    ],
)
def test_folders_that_cannot_be_meant_are_refused(tmp_path, source, target, reason):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    for name in ("a.nrrd", "full/a.nrrd"):
        write(tmp_path / name)
    with pytest.raises(UserError, match=reason):
        find_inputs(tmp_path / source, tmp_path / target)


def test_a_file_that_it_did_not_make_is_replaced_only_if_asked(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    for folder in (source, target):
        folder.mkdir()
        write(folder / "a.nrrd", some_hu((6, 8, 9)))
    before = contents(target)
    process = run("enhance-many", source, target, *OPTIONS)
    assert process.returncode == 2
    assert "already exists" in process.stderr + process.stdout
    assert contents(target) == before
    assert run("enhance-many", source, target, *OPTIONS, "--overwrite").returncode == 0
    assert contents(target) != before


def test_no_series_lands_in_the_folder_of_another(tmp_path):
    source = tmp_path / "in"
    for number, folder in enumerate(("p", "p/sub")):
        write_series(ct_series(dicom_hu((6, 8, 9), number)), source / folder)
    places = [case.target for case in find_inputs(source, tmp_path / "out")]
    assert len(places) == 2
    assert not any(one != other and one.is_relative_to(other) for one in places for other in places)
