"""Several processes, started by torchrun, do together what one does alone."""

from __future__ import annotations

import csv
import json

import pytest

from training.benchmark import main as benchmark

from .runs import arguments, process, train, weights

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = ["steps=4", "drop_path=0", "crops_per_case=2", "flip=0.5", "validate_below=10", "validate_every=1"]

# What two processes do one after the other, so that they need to be started only once.
BOTH = """
import json, sys
from training.benchmark import main as benchmark
from training.train import main as train

commands = json.loads(sys.argv[1])
sys.exit(train(commands[0]) or benchmark(commands[1]))
"""


@pytest.fixture(scope="module")
def two(prepared, finished, tmp_path_factory):
    """The folder in which two processes trained, and then measured."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "both.py").write_text(BOTH)
    commands = [
        arguments("tvsrn", prepared, folder / "run", *SETTINGS),
        [*measuring(prepared, finished), "--output", str(folder / "measured")],
    ]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = process(*launch, str(folder / "both.py"), json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return folder


def measuring(data, finished):
    """The benchmark's arguments."""
    checkpoint = str(finished / "last.safetensors")
    command = ["--data", str(data), "--method", "interpolation", "--checkpoint", checkpoint]
    return [*command, "--device", "cpu", "--precision", "float32"]


def test_two_processes_train_as_one_with_the_double_batch(prepared, two, tmp_path):
    assert train("tvsrn", prepared, tmp_path / "one", *SETTINGS, "batch=2") == 0
    one, other = weights(tmp_path / "one"), weights(two / "run")
    apart = max(float((one[key] - other[key]).abs().max()) for key in one)
    assert apart < 1e-5, "four steps of Adam with 1e-3 differ by rounding alone"
    for a, b in zip(epochs(tmp_path / "one"), epochs(two / "run"), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def epochs(run):
    """Loss, PSNR of the crops, cubic's, and that of the validation, of every epoch."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [
        [line[k] for k in ("loss", "psnr", "psnr_cubic")] + [line["validation"]["psnr"]] for line in lines
    ]


def test_the_learning_of_that_comparison_is_larger_than_rounding(prepared, two, tmp_path):
    assert train("tvsrn", prepared, tmp_path / "start", *SETTINGS[1:], "batch=2", "steps=1") == 0
    start, end = weights(tmp_path / "start"), weights(two / "run")
    assert max(float((start[key] - end[key]).abs().max()) for key in start) > 1e-3


def test_two_processes_measure_what_one_does(prepared, finished, two, tmp_path):
    assert benchmark([*measuring(prepared, finished), "--output", str(tmp_path)]) == 0
    one, other = rows(tmp_path / "cases.csv"), rows(two / "measured" / "cases.csv")
    assert len(one) == 2 * 2 * 2, "cases, systems and protocols"
    assert one == other


def rows(path):
    """A table without what another run may measure otherwise."""
    with open(path, newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in ("seconds", "peak_mib")}
            for row in csv.DictReader(file)
        ]


def test_a_run_of_two_processes_is_not_continued_by_one(prepared, two, capfd):
    state = (two / "run" / "state.safetensors").read_bytes()
    assert train("tvsrn", prepared, two / "run", *SETTINGS, resume=True) == 2
    error = capfd.readouterr().err
    assert "the run to resume has 2 process(es), not 1: with another number its steps would differ" in error
    assert (two / "run" / "state.safetensors").read_bytes() == state
