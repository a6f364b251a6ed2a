"""When the learning rate drops and a training ends, what is validated, kept and handed to the optimizer."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from training.recipes.base import TrainingSettings
from training.schedule import Schedule

from .runs import same, train, weights

pytestmark = pytest.mark.usefixtures("one_thread")
# Nothing is learned: single precision takes such a step for none.
LEAST = 1e-60
STILL = [f"learning_rate={LEAST}", "weight_decay=0"]
OFTEN = ["validate_every=1", "validate_below=1e9"]


def lines(run):
    """What the run wrote of each epoch."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def logged(run, key):
    """One value of each epoch."""
    return [line[key] for line in lines(run)]


# ---- the rule alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plateau_on", "patience", "table"),
    [
        # A value that should rise: a look's value, and whether the learning rate drops after it.
        (
            "validation",
            2,
            [
                (30.0, False), (30.00002, False), (30.0, False), (30.00003, True),  # under 1e-6 is no gain
                (30.0, False), (30.0, False), (30.0, True),
                (30.00004, False), (30.00004, False), (30.0001, False),
            ],
        ),
        ("validation", 0, [(30.0, False), (30.0, True), (29.0, True), (31.0, False), (30.5, True)]),
        # One that should fall.
        (
            "training",
            1,
            [
                (0.02, False), (0.019999981, False), (0.019999981, True),
                (0.019, False), (0.03, False), (0.018, False), (0.018, False), (0.0181, True),
            ],
        ),
    ],
)  # fmt: skip
def test_the_learning_rate_drops_after_so_many_looks_without_a_gain(plateau_on, patience, table):
    settings, schedule = TrainingSettings(plateau_on=plateau_on, patience=patience), Schedule()
    found = [schedule.update(value, epoch, settings) for epoch, (value, _) in enumerate(table)]
    assert found == [drops for _, drops in table]
    assert schedule.drops == sum(found)


@pytest.mark.parametrize(("before", "gain", "counts"), [(30.0, 3.1e-5, True), (30.0, 2.9e-5, False)])
def test_a_gain_under_a_millionth_is_none_for_the_rate_but_keeps_the_training_going(before, gain, counts):
    for plateau_on, sign in (("validation", 1), ("training", -1)):
        settings, schedule = TrainingSettings(plateau_on=plateau_on, patience=0), Schedule()
        schedule.update(before, 1, settings)
        assert schedule.update(before + sign * gain, 2, settings) is not counts
        assert schedule.best_epoch == 2
        schedule.update(before + sign * gain, 3, settings)
        assert schedule.best_epoch == 2, "as good as before is no gain"


def test_the_training_ends_after_so_many_drops_or_idle_epochs():
    settings, schedule = TrainingSettings(patience=0, most_drops=2, most_idle_epochs=50), Schedule()
    for epoch, value, ends in ((5, 30.0, False), (10, 30.0, False), (15, 31.0, False), (20, 30.0, True)):
        schedule.update(value, epoch, settings)
        assert bool(schedule.end_reason(epoch, settings)) is ends
    assert schedule.end_reason(20, settings) == "the learning rate dropped 2 times"
    settings, schedule = TrainingSettings(patience=100, most_idle_epochs=50), Schedule()
    assert schedule.end_reason(49, settings) is None
    assert schedule.end_reason(50, settings) == "no improvement in 50 epochs"
    schedule.update(30.0, 40, settings)
    schedule.update(29.0, 45, settings)
    assert schedule.end_reason(89, settings) is None
    assert schedule.end_reason(90, settings) == "no improvement in 50 epochs"


# ---- in a run ----------------------------------------------------------------------------------------------


def relative_rates(run):
    """The learning rate after each epoch of a run in which nothing is learned."""
    return [rate / LEAST for rate in logged(run, "learning_rate")]


def test_the_optimizers_rate_falls_and_stays_low_over_a_resume(prepared, tmp_path):
    settings = [*STILL, *OFTEN, "patience=1", "drop_factor=0.5", "most_drops=9"]
    # An epoch has two steps. After the first look, every second one is too many.
    assert train("mpunet", prepared, tmp_path / "whole", *settings, "steps=14") == 0
    expected = pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25, 0.125], rel=1e-6)
    assert relative_rates(tmp_path / "whole") == expected
    for steps, resume in ((8, False), (14, True)):
        assert train("mpunet", prepared, tmp_path / "parts", *settings, f"steps={steps}", resume=resume) == 0
    assert relative_rates(tmp_path / "parts") == expected


def test_drops_and_idle_epochs_end_a_run(prepared, tmp_path, capfd):
    for name, rule, epochs, words in (
        ("drops", ["patience=0", "most_drops=2"], 3, "the learning rate dropped 2 times"),
        ("idle", ["patience=9", "most_idle_epochs=3"], 4, "no improvement in 3 epochs"),
    ):
        capfd.readouterr()
        assert train("mpunet", prepared, tmp_path / name, *STILL, *OFTEN, *rule, "epochs=20") == 0
        assert logged(tmp_path / name, "epoch") == list(range(1, epochs + 1))
        assert f"ended after {2 * epochs} steps: {words}" in capfd.readouterr().out


def test_only_a_training_loss_under_the_limit_is_validated(prepared, tmp_path):
    once = [*STILL, "fixed_crop=true", "validate_every=1"]
    assert train("mpunet", prepared, tmp_path / "loss", *once, "steps=2", "validate_below=0") == 0
    (loss,) = logged(tmp_path / "loss", "loss")
    for factor, every, expected in (
        (0.99, 1, [False] * 4),
        (1.01, 1, [True] * 4),
        (1.01, 2, [True, False, True, False]),
        (1.01, 3, [True, False, False, True]),
    ):
        run = tmp_path / f"{factor} {every}"
        settings = [*once, "steps=8", f"validate_below={factor * loss}", f"validate_every={every}"]
        assert train("mpunet", prepared, run, *settings) == 0
        assert [bool(found) for found in logged(run, "validation")] == expected


def rates(values, rising):
    """Of the epochs, with no patience: each value that is no better than all before it halves the rate."""
    best, rate, found = None, 1.0, []
    for value in values:
        if best is None or (value > (1 + 1e-6) * best if rising else value < (1 - 1e-6) * best):
            best = value
        else:
            rate /= 2
        found.append(rate)
    return found


@pytest.mark.parametrize("plateau_on", ["validation", "training"])
def test_the_plateau_is_that_of_the_psnr_or_of_the_training_loss(prepared, tmp_path, plateau_on):
    settings = [*OFTEN, f"plateau_on={plateau_on}", "patience=0", "drop_factor=0.5", "most_drops=99"]
    assert train("mpunet", prepared, tmp_path / "run", *settings, "steps=16", "learning_rate=0.03") == 0
    found = lines(tmp_path / "run")
    by_psnr = rates([line["validation"]["psnr"] for line in found], rising=True)
    by_loss = rates([line["loss"] for line in found], rising=False)
    assert by_psnr != by_loss, "this run cannot tell one from the other"
    expected = by_psnr if plateau_on == "validation" else by_loss
    assert [line["learning_rate"] / 0.03 for line in found] == pytest.approx(expected, rel=1e-6)


def test_where_nothing_was_validated_the_psnr_has_no_plateau(prepared, tmp_path):
    settings = [*STILL, "validate_every=1", "validate_below=0", "patience=0", "steps=8", "fixed_crop=true"]
    for plateau_on, drops in (("validation", 0), ("training", 3)):
        run = tmp_path / plateau_on
        assert train("mpunet", prepared, run, *settings, f"plateau_on={plateau_on}") == 0
        assert relative_rates(run)[-1] == pytest.approx(0.1**drops, rel=1e-6)


# ---- the optimizer, the average, the best ------------------------------------------------------------------


def after_steps(data, folder, *settings, steps):
    """Weights after each number of steps, from runs of their own."""
    found = []
    for count in steps:
        run = folder / f"{len(list(folder.iterdir()))}"
        assert train("mpunet", data, run, *settings, "validate_below=0", f"steps={count}") == 0
        found.append(weights(run))
    return found


def start(data, folder):
    """The weights that a run begins with."""
    return after_steps(data, folder, *STILL, steps=[1])[0]


def largest(one, other):
    return max(float((one[key] - other[key]).abs().max()) for key in one)


def test_adamw_decays_the_weights_apart_from_the_gradient(prepared, tmp_path):
    first = start(prepared, tmp_path)
    (plain,) = after_steps(prepared, tmp_path, "optimizer=adamw", "weight_decay=0", steps=[1])
    (decayed,) = after_steps(prepared, tmp_path, "optimizer=adamw", "weight_decay=2", steps=[1])
    for key, value in first.items():
        # The runs have a learning rate of 0.001.
        torch.testing.assert_close(plain[key] - decayed[key], 0.002 * value, rtol=1e-3, atol=1e-7)
    assert max(float(value.abs().max()) for value in first.values()) > 0.1


def test_adam_adds_the_decay_to_the_gradient(prepared, tmp_path):
    # Large enough to outweigh the gradient: Adam's first step is then the sign of the weights.
    first = start(prepared, tmp_path)
    (decayed,) = after_steps(prepared, tmp_path, "optimizer=adam", "weight_decay=1e6", steps=[1])
    for key, value in first.items():
        clear = value.abs() > 1e-3
        torch.testing.assert_close(
            (value - decayed[key])[clear], 0.001 * value.sign()[clear], rtol=1e-2, atol=1e-6
        )


def test_the_average_is_that_of_the_weights_after_each_step(prepared, tmp_path):
    settings = ["learning_rate=0.01", "average=0.9"]
    first = start(prepared, tmp_path)
    each = after_steps(prepared, tmp_path, *settings, steps=[1, 2, 3])
    run = max(tmp_path.iterdir(), key=lambda path: int(path.name))
    average = weights(run, "best")
    for key in first:
        expected = 0.729 * first[key] + 0.081 * each[0][key] + 0.09 * each[1][key] + 0.1 * each[2][key]
        torch.testing.assert_close(average[key], expected, rtol=1e-4, atol=1e-6)
    assert largest(average, each[2]) > 1e-3, "what is trained on is not the average"


def test_it_is_the_average_that_is_validated(prepared, tmp_path):
    # So slow an average stays what it was at the start.
    settings = [*OFTEN, "steps=6", "learning_rate=0.1", "average=0.999999999999"]
    assert train("mpunet", prepared, tmp_path / "slow", *settings) == 0
    found = [value["psnr"] for value in logged(tmp_path / "slow", "validation")]
    assert found == pytest.approx([found[0]] * 3, abs=1e-4)
    assert train("mpunet", prepared, tmp_path / "still", *STILL, *OFTEN, "steps=2") == 0
    assert found[0] == pytest.approx(logged(tmp_path / "still", "validation")[0]["psnr"], abs=1e-4)
    first = weights(tmp_path / "still")
    assert largest(weights(tmp_path / "slow", "best"), first) < 1e-6
    assert largest(weights(tmp_path / "slow"), first) > 0.1


def test_a_clipped_gradient_moves_the_weights_less(prepared, tmp_path):
    first = start(prepared, tmp_path)
    moved = {}
    # Adam moves weights by the learning rate, 0.001, unless their gradient is far under 1e-8.
    for norm in (0, 1e-12, 1e9):
        (moved[norm],) = after_steps(prepared, tmp_path, "weight_decay=0", f"clip_norm={norm}", steps=[1])
    assert largest(first, moved[0]) > 9e-4
    assert 0 < largest(first, moved[1e-12]) < 1e-5
    assert same(moved[0], moved[1e9])


def test_a_resumed_run_knows_its_best(prepared, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(prepared, data)
    truth = next((data / "val").glob("*.thin.npy"))
    good = np.load(truth)
    noise = np.random.default_rng(0).integers(-1000, 2000, good.shape).astype(good.dtype)
    kept = []
    for scan, steps in ((noise, 2), (good, 4), (noise, 6)):
        np.save(truth, scan)
        assert train("mpunet", data, run, "validate_below=0", f"steps={steps}", resume=steps > 2) == 0
        kept.append(weights(run, "best"))
    assert not same(kept[0], kept[1])
    assert same(kept[1], kept[2]), "what is worse is not the best"


def test_the_log_of_a_resumed_run_has_each_epoch_once(prepared, tmp_path):
    run = tmp_path / "run"
    settings = [*OFTEN, "save_seconds=1000"]
    assert train("mpunet", prepared, run, *settings, "steps=4") == 0
    before = (run / "log.jsonl").read_text()
    # What a run that was killed after its last save may leave: a whole line, and a half one.
    (run / "log.jsonl").write_text(before + json.dumps({**lines(run)[-1], "epoch": 3}) + '\n{"epoch": 4, "st')
    assert train("mpunet", prepared, run, *settings, "steps=8", resume=True) == 0
    assert logged(run, "epoch") == [1, 2, 3, 4]
    assert logged(run, "step") == [2, 4, 6, 8]
    assert (run / "log.jsonl").read_text().startswith(before)
