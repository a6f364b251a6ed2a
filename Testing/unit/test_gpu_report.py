"""The command for GPUs: whatever goes wrong in a step, what is known is written, and it ends by itself."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from Testing.gpu import __main__ as command
from Testing.gpu import fast, learn, right
from Testing.gpu.report import Report, TimeUp

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
