"""The command for GPUs: whatever goes wrong in a step, what is known is written, and it ends by itself."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from Testing.gpu import __main__ as command
from Testing.gpu import authors, fast, learn, right
from Testing.gpu.report import Report, TimeUp
from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.weights.checkpoint import Weights
from training.bundled.scans import Scan
from training.pack import pack

pytestmark = pytest.mark.usefixtures("one_thread")


def run(monkeypatch, folder, *arguments) -> tuple[int, list[dict]]:
    monkeypatch.setattr(sys, "argv", ["gpu", "--output", str(folder), "--dry-run", *arguments])
    code = command.main()
    return code, json.loads((folder / "report.json").read_text())["rows"]


def faulty(*works):
    """Steps of a part: names and functions."""
    return lambda report, device, dry: ((f"step {n}", lambda w=w: w(report)) for n, w in enumerate(works))


def no_memory(report):
    raise torch.OutOfMemoryError("injected: no memory\nand more lines")


def not_a_number(report):
    learn._check(torch.tensor(float("nan")), 7)


def fine(report):
    report.add("right", "fine", "1 HU", True)


def test_a_step_that_fails_is_a_row_and_the_next_one_is_done(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(right, "steps", faulty(no_memory, not_a_number, fine))
    code, rows = run(monkeypatch, tmp_path, "--parts", "right")
    assert code == 1
    assert [row["passed"] for row in rows] == [False, False, True]
    assert "OutOfMemoryError" in rows[0]["value"] and "injected" in rows[0]["value"]
    assert "NaN or infinite at step 7" in rows[1]["value"]
    assert "fine" in (tmp_path / "table.txt").read_text()
    assert "2 of 3 rows failed" in capsys.readouterr().out


def test_the_time_ends_it_with_what_is_known(monkeypatch, tmp_path):
    def slow(report):
        report.add("right", "first", "known", True)
        report.end = report.started

    monkeypatch.setattr(right, "steps", faulty(slow, fine))
    monkeypatch.setattr(fast, "steps", faulty(fine))
    code, rows = run(monkeypatch, tmp_path)
    assert code == 0
    assert [row["name"] for row in rows] == ["first"]
    assert "the time is up" in (tmp_path / "log.txt").read_text()


def test_a_step_that_notices_the_end_says_so(tmp_path):
    report = Report(tmp_path, 0.0, {})
    with pytest.raises(TimeUp):
        report.attempt("right", "late", lambda: None)
    report.end = report.started + 1000

    def ends():
        report.end = report.started
        report.check()

    with pytest.raises(TimeUp):
        report.attempt("right", "cut", ends)
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["value"] == "the time was up"


def inexact(network: torch.nn.Module) -> torch.nn.Module:
    """A network whose output and convolutions are off by a thousandth."""
    for module in network.modules():
        if module is network or isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, y: 1.001 * y)
    return network


@pytest.mark.parametrize("exact", [True, False])
def test_every_network_must_give_its_authors_arrays(monkeypatch, tmp_path, exact):
    if not exact:
        for name in ("build", "network_of"):
            function = getattr(authors, name)
            monkeypatch.setattr(authors, name, lambda name, function=function: inexact(function(name)))
    monkeypatch.setattr(authors, "SHARED", tmp_path)  # without CTH-Net's arrays
    report = Report(tmp_path, 1000.0, {})
    for name, work in authors.steps(report, torch.device("cpu")):
        report.attempt("right", name, work)
    assert [row["name"].split(",")[0] for row in report.rows] == ["TVSRN", "CTH-Net", *3 * ["SAINT"]]
    assert [row["passed"] for row in report.rows] == 5 * [exact], report.rows


def test_a_dry_run_does_every_step(tmp_path):
    generator = np.random.default_rng(0)
    voxels = np.where(
        np.hypot(*np.ogrid[-60:60, -60:60]) < 50, generator.normal(0, 60, (60, 120, 120)), -1000
    )
    pack([Scan("CT0", voxels, (1.0, 0.8, 0.8))], tmp_path / "data.zip", 20.0)
    command = [sys.executable, "-m", "Testing.gpu", "--dry-run", "--output", str(tmp_path / "out")]
    # Many minutes: a busy machine must not make it stop before the last step.
    command += ["--data", str(tmp_path / "data.zip"), "--minutes", "60"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["rows"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["section"] for row in rows} == {"right", "fast", "learn"}
    parts = sorted((tmp_path / "out").glob("cthnet_warm.safetensors.*"))
    joined = tmp_path / "cthnet_warm.safetensors"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    trained = (tmp_path / "out" / f"{name}.safetensors" for name in ("tvsrn_warm", "universal_first"))
    for path in (
        joined,
        *trained,
    ):
        assert Weights.open(path).load() is not None
    files = list((tmp_path / "out").iterdir())
    assert len(files) <= 8
    assert max(path.stat().st_size for path in files) < 16 * 2**20
