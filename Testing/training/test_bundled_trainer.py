"""The trainer of bundled weights: resuming, what is saved and exported, what the model cards say."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ThickToThinSRLib.errors import UserError
from ThickToThinSRLib.weights.checkpoint import Weights
from training.bundled.export import export
from training.bundled.rates import cosine_fall, linear_fall
from training.bundled.recipe import Objective
from training.bundled.recipes import RECIPES
from training.bundled.trainer import RunOptions, begin, drawn_batches, train, update_mean

from .bundled_data import write_distilled_scan, write_taught_blocks, write_thin_scan

pytestmark = pytest.mark.usefixtures("one_thread")
MODELS = Path(__file__).parents[2] / "Resources" / "Models"
# Few steps, of which the last two are settling ones.
STEPS, SETTLING = 4, 2


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Each recipe's source on tiny data."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("training.bundled.recipes.universal_first.PAIRS", 2)
    monkeypatch.setattr("training.bundled.recipes.cthnet_warm._CROPS_FOR_START", 1)
    scans, distilled, blocks = (tmp_path_factory.mktemp(kind) for kind in ("scans", "distilled", "blocks"))
    write_thin_scan(scans / "lidc_thin.nii.gz", (16, 24, 24))
    write_thin_scan(scans / "phantom_2p5mm.nii.gz", (4, 24, 24), spacing=2.5)
    write_distilled_scan(distilled / "lidc_a", error=3)
    write_taught_blocks(blocks)
    folders = {name: distilled if name.endswith("_warm") else scans for name in RECIPES}
    folders["universal"] = blocks
    yield {name: recipe.source(folders[name], []) for name, recipe in RECIPES.items()}
    monkeypatch.undo()


def short(name):
    return replace(RECIPES[name], steps=STEPS, settling=SETTLING)


class Numbers:
    """A source of numbers for a network of one weight."""

    names = ("a", "b")

    def batch(self, generator, step, settling):
        return {"x": torch.tensor(generator.normal(size=4), dtype=torch.float32)}


def plain_recipe(**changes):
    """A recipe whose network is small and whose loss is the mean of its weights times the batch's size."""

    def objective(network, batch, settling, precision):
        weight = network.get_parameter("conv_out.weight")
        loss = (weight * batch["x"].mean()).mean()
        return Objective(loss, torch.tensor(2.0), torch.tensor(1.0))

    base = replace(
        RECIPES["universal_first"], network="mpunet", arguments={"features": 4}, objective=objective, steps=6,
        settling=2, rate=0.1, start=lambda network, source: None,
    )  # fmt: skip
    return replace(base, **changes)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# ---- resuming ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_of_every_recipe_moves_the_weights(sources, tmp_path, name):
    recipe, source = replace(RECIPES[name], steps=1, settling=1), sources[name]
    start = begin(recipe, source, 0)
    moved = train(recipe, source, tmp_path / "state.pt", RunOptions())
    assert moved.step == 1
    assert not equal(moved.network.state_dict(), start.network.state_dict())


# AdamW, AdamW on planes, Muon for matrices, Muon for kernels; the rest differ in network and crops only.
@pytest.mark.parametrize("name", ["universal", "universal_first", "sr4zct_unet", "tvsrn_warm", "mpunet_warm"])
def test_an_interrupted_run_ends_in_the_same_bits(sources, tmp_path, name):
    recipe, source = short(name), sources[name]
    whole = train(recipe, source, tmp_path / "whole.pt", RunOptions())
    start = begin(recipe, source, 0)
    for stop in (1, 3, None):
        parts = train(recipe, source, tmp_path / "parts.pt", RunOptions(stop=stop))
    assert parts.step == whole.step == STEPS
    assert equal(whole.network.state_dict(), parts.network.state_dict())
    assert equal(whole.mean, parts.mean)
    assert not equal(whole.network.state_dict(), start.network.state_dict()), "it has learned"


def test_the_state_file_can_be_read_without_pickle_and_has_all_parts(sources, tmp_path):
    train(plain_recipe(), Numbers(), tmp_path / "state.pt", RunOptions(stop=3))
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    assert set(saved) == {"network", "optimizers", "mean", "step", "seconds"}
    assert saved["step"] == 3
    assert saved["seconds"] > 0


def test_a_state_of_another_recipe_is_refused(sources, tmp_path):
    path = tmp_path / "state.pt"
    train(plain_recipe(), Numbers(), path, RunOptions(stop=1))
    with pytest.raises(UserError, match="damaged, or saved by another recipe"):
        train(short("sr4zct_unet"), sources["sr4zct_unet"], path, RunOptions())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged, or saved by another recipe"):
        train(plain_recipe(), Numbers(), path, RunOptions())


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_has_the_same_batch_whoever_draws_it_and_wherever_the_run_begins(sources, name):
    recipe, source = short(name), sources[name]

    def batches(first, **options):
        return list(drawn_batches(recipe, source, RunOptions(**options), range(first, STEPS)))

    here = batches(0)
    assert len(here) == STEPS
    for other in (batches(1), batches(1, workers=1)):
        assert all(equal(a, b) for a, b in zip(here[1:], other, strict=True))
    assert not equal(here[0], batches(0, seed=1)[0])
    assert not equal(here[0], here[1])


# ---- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_nan_leaves_the_saved_state_untouched(tmp_path, what):
    path = tmp_path / "state.pt"
    good = train(plain_recipe(), Numbers(), path, RunOptions(stop=3))
    before = path.read_bytes()
    plain = plain_recipe().objective

    def spoiled(network, batch, settling, precision):
        objective = plain(network, batch, settling, precision)
        if what == "loss":
            return replace(objective, loss=objective.loss * float("nan"))
        objective.loss.register_hook(lambda gradient: gradient * float("nan"))
        return objective

    # Saved after every step, if it could be.
    options = RunOptions(save_seconds=0)
    with pytest.raises(UserError, match=f"step 3: the {what} is NaN or infinite; .*state.pt holds the last"):
        train(plain_recipe(objective=spoiled), Numbers(), path, options)
    assert path.read_bytes() == before
    # Mended, the run ends as if nothing had happened.
    mended = train(plain_recipe(), Numbers(), path, RunOptions())
    whole = train(plain_recipe(), Numbers(), tmp_path / "whole.pt", RunOptions())
    assert equal(mended.mean, whole.mean)
    assert good.step == 3


# ---- the running mean, and what is exported ----------------------------------------------------------------


def test_the_running_mean_moves_towards_the_weights_by_one_minus_the_decay():
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(3.0)
    mean = {"weight": torch.tensor([[1.0]])}
    update_mean(mean, network, 0.75)
    assert mean["weight"].item() == pytest.approx(0.75 * 1 + 0.25 * 3)


def test_the_mean_is_that_of_the_weights_after_each_step(tmp_path):
    recipe = plain_recipe(average=0.2)
    key = "conv_out.weight"
    each = [
        train(recipe, Numbers(), tmp_path / f"{stop}.pt", RunOptions(stop=stop)).network.state_dict()[key]
        for stop in range(1, recipe.steps + 1)
    ]
    expected = begin(recipe, Numbers(), 0).mean[key]
    for step, weight in enumerate(each):
        decay = min(0.2, step / (step + 10))
        expected = decay * expected + (1 - decay) * weight
    mean = train(recipe, Numbers(), tmp_path / "whole.pt", RunOptions()).mean[key]
    torch.testing.assert_close(mean, expected)
    assert (mean - each[-1]).abs().max() > 1e-3, "the last weights are not their mean"


def test_the_running_mean_is_what_is_exported(tmp_path):
    recipe = plain_recipe(name="mean", average=0.5)
    state = train(recipe, Numbers(), tmp_path / "state.pt", RunOptions())
    path = export(recipe, state, Numbers(), tmp_path, {"seed": 0})
    exported = load_file(path)
    assert path.name == "mean.safetensors"
    assert equal(exported, {key: value.half() for key, value in state.mean.items()})
    assert not equal(exported, {key: value.half() for key, value in state.network.state_dict().items()})


@pytest.mark.parametrize("name", RECIPES)
def test_a_card_names_the_data_and_the_recipe(sources, tmp_path, name):
    recipe, source = short(name), sources[name]
    path = export(recipe, begin(recipe, source, 0), source, tmp_path, {"seed": 7, "left out": ["b"]})
    card = Weights.open(path).card
    assert card["data"] == source.names
    assert card["origin"] == "trained for this project; data: LIDC-IDRI (CC BY 3.0)"
    assert "{" not in card["limits"]
    assert card["recipe"]["command"] == f"python -m training.bundled {name}"
    assert (card["recipe"]["seed"], card["recipe"]["left out"]) == (7, ["b"])
    assert (card["recipe"]["settling"], card["recipe"]["rate"]) == (SETTLING, recipe.rate)


@pytest.mark.parametrize("name", [path.stem for path in sorted(MODELS.glob("*.safetensors"))])
def test_a_recipes_card_is_that_of_the_shipped_weights(name):
    recipe, weights = RECIPES[name], Weights.open(MODELS / f"{name}.safetensors")
    shipped = weights.card
    for key in ("title", "version", "licence", "trained"):
        assert recipe.card[key] == shipped[key]
    assert (recipe.network, recipe.arguments) == (weights.network, weights.arguments)
    assert recipe.rate == shipped["recipe"]["rate"]
    versions = {"universal": "1.3", "saint_warm": "1.1", "cthnet_warm": "1.1"}
    assert shipped["version"] == versions.get(name, "1.0")


# ---- losses and learning rates -----------------------------------------------------------------------------


def test_universal_learns_absolute_errors_first_and_weighted_squares_in_the_end(sources):
    recipe, source = RECIPES["universal_first"], sources["universal_first"]
    network = begin(recipe, source, 0).network
    batch = source.batch(np.random.default_rng(0), 0, False)
    from ThickToThinSRLib.methods.universal.pairs import errors

    error = errors(network, batch, "float32").detach()
    valid = batch["valid"].bool()
    absolute = recipe.objective(network, batch, False, "float32").loss
    torch.testing.assert_close(absolute.detach(), error[valid].abs().mean())
    per_pair = [
        error[i][valid[i]].square().mean() / (batch["correction"][i][valid[i]].square().mean() + 0.01).sqrt()
        for i in range(len(error))
    ]
    squared = recipe.objective(network, batch, True, "float32").loss
    torch.testing.assert_close(squared.detach(), torch.stack(per_pair).mean())


def test_sr4zct_learns_absolute_errors(sources):
    recipe, source = RECIPES["sr4zct_unet"], sources["sr4zct_unet"]
    network = begin(recipe, source, 0).network
    batch = source.batch(np.random.default_rng(0), 0, False)
    expected = (network(batch["planes"]) - batch["difference"]).abs().mean()
    for settling in (False, True):
        loss = recipe.objective(network, batch, settling, "float32").loss
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("fall", [cosine_fall, linear_fall])
def test_a_learning_rate_rises_stays_level_and_falls_to_a_hundredth(fall):
    rates = [fall(step, 1000, 600) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[49] == pytest.approx(0.5)
    assert set(rates[99:600]) == {1.0}
    assert rates[800] == pytest.approx(0.505)
    assert rates[999] == pytest.approx(0.01, abs=0.003)
    assert all(later < earlier for earlier, later in pairwise(rates[600:]))


def test_each_recipe_falls_over_its_own_last_steps():
    begins = {name: recipe.settled_from / recipe.steps for name, recipe in RECIPES.items()}
    assert begins.pop("universal") == 0, "it goes on from trained weights"
    assert (begins["universal_first"], begins["sr4zct_unet"]) == (14_500 / 18_000, 0.6)
    assert all(0.5 < begin < 0.9 for begin in begins.values())
    longer = replace(RECIPES["sr4zct_unet"], steps=20_000)
    assert longer.settled_from == 12_000
    rates = {
        name: [recipe.relative_rate(step, recipe.steps, recipe.settled_from) for step in (12_000, 17_999)]
        for name, recipe in RECIPES.items()
    }
    assert rates["sr4zct_unet"] == [pytest.approx(0.01 + 0.99 * 6000 / 7200), pytest.approx(0.01, abs=2e-4)]
    assert rates["universal_first"] == [1.0, pytest.approx(0.01, abs=1e-4)]
    assert rates["tvsrn_warm"][0] == 1.0
