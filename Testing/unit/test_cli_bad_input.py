"""Bad input on the command line: one line that says what is wrong, exit code 2, and nothing written."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import subprocess
import zipfile

import numpy as np
import pytest

from Testing.command_line import SUFFIXES, contents, expect_refusal, run, write
from Testing.make_dicom import ct_series, write_series
from Testing.volumes import dicom_hu, some_hu
from ThickToThinSRLib.cli.main import main
from ThickToThinSRLib.networks.registry import build
from ThickToThinSRLib.weights.checkpoint import save_network

# Without the lines about the input and the method, which precede what fails only while writing.
QUIETLY = ("--progress", "none")


@pytest.fixture
def thick(tmp_path):
    return write(tmp_path / "thick.nii.gz")


@pytest.fixture
def refused(capfd, tmp_path):
    """Run with these arguments, which must be refused; returns the error line."""
    return lambda *arguments: expect_refusal(capfd, tmp_path, *arguments)


@pytest.fixture
def target(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "thin.nii.gz"


def refused_by_a_process(folder, *arguments, **options) -> str:
    before = contents(folder)
    ended = run(*arguments, **options)
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert contents(folder) == before
    return ended.stderr


# ---- the input -----------------------------------------------------------------------------------


def test_a_missing_file_is_named(refused, tmp_path, target):
    assert f"{tmp_path}/no.nii.gz: no such file" in refused("enhance", tmp_path / "no.nii.gz", target)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_and_nothing_under_a_volumes_name_are_refused(refused, tmp_path, target, suffix):
    path = tmp_path / f"a{suffix}"
    for content in ("", "this is no volume\n" * 100):
        path.write_text(content)
        assert str(path) in refused("enhance", path, target)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_volume_is_refused(refused, tmp_path, target, suffix):
    path = write(tmp_path / f"a{suffix}", some_hu((10, 20, 20)))
    path.write_bytes(path.read_bytes()[:-200])
    assert str(path) in refused("enhance", path, target)


@pytest.mark.parametrize("name", ["nan.nii.gz", "2d.nii", "text.nrrd", "cut.mha"])
def test_a_process_says_one_line_too_and_no_chatter_of_the_libraries(tmp_path, target, name):
    path = tmp_path / name
    if name == "text.nrrd":
        path.write_text("NRRD0004\ntype: short\ndimension: 3\nsizes: 9 9\nencoding: raw\n\n")
    else:
        voxels = some_hu(dtype=np.float32)
        voxels[2, 3, 4] = np.nan
        write(path, voxels[0] if name == "2d.nii" else voxels)
        if name == "cut.mha":
            path.write_bytes(path.read_bytes()[:-1])
    assert str(path) in refused_by_a_process(tmp_path, "enhance", path, target)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_voxels_that_are_no_ct_numbers_are_refused(refused, tmp_path, target, suffix, bad):
    voxels = some_hu(dtype=np.float64)
    voxels[2, 3, 4] = bad
    assert "(4, 3, 2)" in refused("enhance", write(tmp_path / f"a{suffix}", voxels), target)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colour_plane_and_complex_images_are_refused(refused, tmp_path, target, suffix):
    image = tmp_path / f"a{suffix}"
    for voxels in (some_hu()[0], some_hu().astype(np.complex64)):
        assert str(image) in refused("enhance", write(image, voxels), target)


def test_names_that_are_no_files_are_refused(refused, tmp_path, target, thick):
    (tmp_path / "circle.nii.gz").symlink_to(tmp_path / "circle.nii.gz")
    os.mkfifo(tmp_path / "pipe.nii.gz")
    for name in ("circle.nii.gz", "a" * 300 + ".nii.gz", "thick.nii.gz/a.nii.gz", "new\nline.nii.gz"):
        refused("enhance", tmp_path / name, target)
    before = sorted(tmp_path.rglob("*"))
    assert run("enhance", tmp_path / "pipe.nii.gz", target).returncode == 2
    assert sorted(tmp_path.rglob("*")) == before
    for arguments in (("", target), (thick, ""), (thick, target, "--checkpoint", "")):
        assert "empty name" in refused("enhance", *arguments)


def test_other_formats_are_refused_by_their_suffix(refused, tmp_path, target):
    for name in ("a.dcm", "a.tif", "a", ".nii.gz"):
        shutil.copyfile(write(tmp_path / "a.nii"), tmp_path / name)
        assert ".nrrd" in refused("enhance", tmp_path / name, target)


def test_an_unreadable_file_is_refused(refused, tmp_path, target, thick):
    thick.chmod(0)
    if os.access(thick, os.R_OK):
        pytest.skip("this user may read every file")
    before = sorted(tmp_path.rglob("*"))
    assert run("enhance", thick, target).returncode == 2
    assert sorted(tmp_path.rglob("*")) == before


# ---- DICOM ---------------------------------------------------------------------------------------


def test_folders_without_a_series_are_refused(refused, tmp_path, target):
    folder = tmp_path / "series"
    folder.mkdir()
    assert "empty" in refused("enhance", folder, target)
    (folder / "notes.txt").write_text("nothing here")
    assert "no DICOM" in refused("enhance", folder, target)


def test_series_that_are_no_regular_stack_are_refused(refused, tmp_path, target):
    def refusal_of(datasets, name):
        return refused("enhance", write_series(datasets, tmp_path / name), target)

    missing, uneven, tilted = (ct_series(dicom_hu((9, 8, 10))) for _ in range(3))
    assert "missing slice" in refusal_of(missing[:3] + missing[4:], "missing")
    uneven[4].ImagePositionPatient = [-20, 30, -79.3]
    assert "uneven" in refusal_of(uneven, "uneven")
    for k, dataset in enumerate(tilted):
        dataset.ImagePositionPatient = [-20, 30 + k, -100 + 5 * k]
    assert "gantry tilt" in refusal_of(tilted, "tilted")
    two = write_series(ct_series(dicom_hu()), tmp_path / "two")
    write_series(ct_series(dicom_hu()), two, prefix="second")
    assert "--series" in refused("enhance", two, target)
    assert "no series 1.2.3" in refused("enhance", two, target, "--series", "1.2.3")
    cut = write_series(ct_series(dicom_hu()), tmp_path / "cut")
    victim = sorted(cut.iterdir())[2]
    victim.write_bytes(victim.read_bytes()[:-20])
    assert victim.name in refused("enhance", cut, target)


def test_a_series_of_a_file_makes_no_sense(refused, thick, target):
    assert "not a folder" in refused("enhance", thick, target, "--series", "1.2.3")


# ---- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "values"),
    [
        (
            "--spacing",
            ["0", "-1", "-1e-3", "nan", "inf", "-inf", "fine", "", "5.1", "1e-6", "1e-300", "5e-324"],
        ),
        ("--factor", ["0", "0.5", "-2", "nan", "inf", "x", "1e7", "1e308"]),
        ("--thickness", ["0", "-1", "nan", "inf", "thick", "1e-9", "1e-320", "5000", "1e9"]),
        ("--axis", ["3", "-1", "1.5", "k"]),
        ("--device", ["cuda:x", "cuda:", "gpu", "", "cuda:99"]),
        ("--method", ["magic", "new\nline", "CTHNet"]),
        ("--tiling", ["none"]),
        ("--intensity", ["x"]),
        ("--precision", ["float8"]),
        ("--consistency", ["maybe"]),
        ("--progress", ["loud"]),
        ("--new\nline", ["x"]),
    ],
)
def test_impossible_values_of_options_are_refused(refused, thick, target, option, values):
    for value in values:
        line = refused("enhance", thick, target, option, value)
        assert len(line) < 400


def test_spacing_and_factor_exclude_each_other(refused, thick, target):
    assert "not allowed with" in refused("enhance", thick, target, "--spacing", "1", "--factor", "5")


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_gpu_that_is_not_there_is_refused_whatever_the_method(
    refused, thick, target, monkeypatch, device, checkpoint
):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for method in ([], ["--checkpoint", checkpoint]):
        assert f"device {device}:" in refused("enhance", thick, target, "--device", device, *method)


def test_a_result_that_does_not_fit_into_the_memory_there_is_is_refused(tmp_path, target):
    path = write(tmp_path / "large.nii.gz", np.zeros((60, 256, 256), np.int16))

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    line = refused_by_a_process(tmp_path, "enhance", path, target, "--spacing", "0.1", preexec_fn=limit)
    assert "larger --spacing" in line


# ---- checkpoints ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    small = {"channels": 2, "heads": 2, "encoder_blocks": 1, "decoder_blocks": 2, "in_plane_groups": 1}
    network = build("tvsrn", **small)
    path = tmp_path_factory.mktemp("weights") / "tvsrn.safetensors"
    card = {"title": "untrained", "version": "0", "licence": "Apache-2.0", "origin": "a test"}
    save_network(path, network.state_dict(), "tvsrn", small, network.window, card)
    return path


def test_weights_that_do_not_go_with_the_method_are_refused(refused, thick, target, checkpoint):
    for method in ("cthnet", "consistent", "interpolation"):
        line = refused("enhance", thick, target, "--method", method, "--checkpoint", checkpoint)
        assert "tvsrn" in line
        assert method in line


def test_damaged_weights_are_refused(refused, tmp_path, thick, target, checkpoint):
    whole = checkpoint.read_bytes()
    path = tmp_path / "weights.safetensors"
    for content in (b"", b"a text", whole[:4], whole[:100], whole[: len(whole) // 2], whole[:-1], bytes(500)):
        path.write_bytes(content)
        assert str(path) in refused("enhance", thick, target, "--checkpoint", path)
    assert "no such file" in refused("enhance", thick, target, "--checkpoint", tmp_path / "none.safetensors")
    refused("enhance", thick, target, "--checkpoint", tmp_path)
    refused("enhance", thick, target, "--checkpoint", thick)


class Evil:
    """An object that creates a folder when it is unpickled normally."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("suffix", [".safetensors", ".pkl", ".pt", ".pth", ".bin", ".ckpt", ".nii.gz", ""])
def test_a_malicious_pickle_does_nothing_under_any_extension(refused, tmp_path, thick, target, suffix):
    canary = tmp_path / "canary"
    evil = pickle.dumps({"net": Evil(canary), "config_dict": {}})
    path = tmp_path / f"evil{suffix}"
    path.write_bytes(evil)
    weights = tmp_path / "out" / "weights.safetensors"
    for command in (
        ("enhance", thick, target, "--checkpoint", path),
        ("import-checkpoint", path, weights),
        ("enhance", path, target),
        ("metrics", thick, path),
    ):
        refused(*command)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", evil)
        archive.writestr("archive/version", "3\n")
    refused("enhance", thick, target, "--checkpoint", path)
    refused("import-checkpoint", path, weights)
    pickle.loads(evil)
    assert canary.exists()


# ---- the output ----------------------------------------------------------------------------------


def test_an_existing_output_is_refused_and_left_as_it_is(refused, thick, target):
    target.write_text("precious")
    assert "--overwrite" in refused("enhance", thick, target)


def test_the_input_is_never_replaced(refused, thick):
    for extra in ([], ["--overwrite"]):
        assert "is the input;" in refused("enhance", thick, thick, *extra)
    arguments = ("--spacing", "10", "--thickness", "10", "--overwrite")
    assert "is the input;" in refused("simulate", thick, thick, *arguments)


def test_outputs_that_cannot_be_are_refused_before_the_work(refused, tmp_path, thick, target):
    target.mkdir()
    for name in (target, tmp_path / "none" / "a.nii", thick / "a.nii", tmp_path / ("a" * 300 + ".nii")):
        refused("enhance", thick, name, "--overwrite")
    # The volume's name is short enough, its provenance's is not.
    assert "too long" in refused("enhance", thick, tmp_path / ("a" * 240 + ".nii"))
    for name in ("a.dcm", "a.txt", "a", ".nrrd"):
        assert ".nrrd" in refused("enhance", thick, tmp_path / name)


def test_a_provenance_that_cannot_be_written_is_found_before_the_work(refused, thick, target):
    (target.parent / "thin.nii.gz.provenance.json").mkdir()
    assert "provenance.json: is a folder" in refused("enhance", thick, target)


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a disk of 256 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_named_and_nothing_is_left_on_it(refused, tmp_path, small_disk, suffix):
    path = write(tmp_path / "noise.nii", some_hu((10, 64, 64)))
    assert "is the disk full?" in refused("enhance", path, small_disk / f"thin{suffix}", *QUIETLY)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_limit_of_the_size_of_files_is_met_like_a_full_disk(tmp_path, suffix):
    path = write(tmp_path / "noise.nii.gz", some_hu((10, 64, 64)))

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    target = tmp_path / f"a{suffix}"
    line = refused_by_a_process(tmp_path, "enhance", path, target, *QUIETLY, preexec_fn=limit)
    assert "could not be written" in line


def test_a_read_only_disk_is_refused_before_the_work(refused, thick, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "no permission to write" in refused("enhance", thick, small_disk / "thin.nii.gz")


def test_a_read_only_folder_is_refused_before_the_work(refused, tmp_path, thick):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write into every folder")
    assert "no permission to write" in refused("enhance", thick, folder / "thin.nii.gz")


def test_a_folder_in_which_no_file_can_be_made_leaves_one_line(refused, thick):
    # A folder of the kernel's: even the superuser makes no files there.
    if not os.path.isdir("/proc"):
        pytest.skip("there is no /proc here")
    assert "/proc" in refused("enhance", thick, "/proc/thin.nii.gz", *QUIETLY)


# ---- the other commands --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["enlarge"],
        ["enhance"],
        ["enhance", "{thick}"],
        ["simulate", "{thick}", "{out}/a.nii"],
        ["simulate", "{thick}", "{out}/a.nii", "--thickness", "0", "--spacing", "10"],
        ["simulate", "{thick}", "{out}/a.nii", "--thickness", "10", "--spacing", "nan"],
        ["simulate", "{thick}", "{out}/a.nii", "--thickness", "10", "--spacing", "1"],
        ["simulate", "{thick}", "{out}/a.txt", "--thickness", "10", "--spacing", "10"],
        ["simulate", "{none}", "{out}/a.nii", "--thickness", "10", "--spacing", "10"],
        ["metrics", "{thick}", "{none}"],
        ["metrics", "{thick}", "{other}"],
        ["metrics", "{out}", "{thick}"],
        ["compare", "{thick}", "--output", "{out}/a.jpg"],
        ["compare", "{thick}", "--output", "{out}/none/a.png"],
        ["compare", "{thick}", "{none}", "--output", "{out}/a.png"],
        ["phantom", "{out}/a.txt"],
        ["phantom", "{out}/a.nii", "--spacing", "0"],
        ["phantom", "{out}/a.nii", "--thickness", "nan"],
        ["phantom", "{out}/a.nii", "--seed", "-1"],
        ["phantom", "{out}/a.nii", "--seed", "one"],
        ["import-checkpoint", "{none}", "{out}/a.safetensors"],
        ["import-checkpoint", "{thick}", "{out}/a.safetensors"],
        ["import-checkpoint", "{thick}", "{out}/none/a.safetensors"],
        ["import-checkpoint", "{thick}", "{out}/a.pkl"],
    ],
    ids=" ".join,
)
def test_every_command_refuses_bad_input_alike(refused, tmp_path, thick, arguments):
    (tmp_path / "out").mkdir()
    other = write(tmp_path / "other.nii", some_hu((5, 8, 9)))
    names = {"thick": thick, "out": tmp_path / "out", "none": tmp_path / "none.nii", "other": other}
    refused(*(argument.format(**names) for argument in arguments))


def test_bad_input_reaches_a_program_as_an_error_event(capfd, tmp_path, target):
    path = tmp_path / "no.nii.gz"
    assert main(["enhance", str(path), str(target), "--progress", "json"]) == 2
    out, err = capfd.readouterr()
    event = json.loads(out)
    assert (event["version"], event["event"]) == (1, "error")
    assert event["message"] == f"{path}: no such file"
    assert err == f"thicktothin: {path}: no such file\n"
