"""Validation while training: the centre of whole scans, scored as by hand, shared by the processes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from ThickToThinSRLib.networks.registry import WindowSpec
from training.data.cases import Case
from training.ranks import Ranks
from training.validation import validate

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SLICES = 6
DROP = slice(5, -5)


class Nearest(torch.nn.Module):
    """Repeats the nearest thick slice, with too much contrast; a tenth brighter while it is trained."""

    window = WindowSpec(5, 4, 2, first_output=3, outputs=10, multiple=8, tile=256, margin=0)

    def forward(self, x):
        """(1, 1, 4, H, W) to (1, 1, 10, H, W)."""
        self.shapes = {*getattr(self, "shapes", ()), tuple(x.shape)}
        return 1.2 * x[:, :, [(3 + k + 2) // 5 for k in range(10)]] - 0.1 + 0.1 * self.training


def write_case(folder, name, rows, columns, seed):
    """A case of random voxels."""
    voxels = np.random.default_rng(seed).integers(-1300, 2300, (5 * (SLICES - 1) + 1, rows, columns))
    paths, geometry = {}, {}
    for kind, part in (("thick", voxels[::5]), ("thin", voxels)):
        paths[kind] = folder / f"{name}.{kind}.npy"
        np.save(paths[kind], part.astype(np.int16))
        geometry[kind] = {"shape": list(part.shape), "spacing": (1, 1, 5 if kind == "thick" else 1)}
        geometry[kind] |= {"origin": (0, 0, 0), "direction": np.eye(3).tolist()}
    return Case(name, "val", paths["thick"], paths["thin"], geometry)


def scored(case, rows, columns):
    """PSNR, mean absolute error, and repeated, predicted and true slices of a region, by hand."""
    thick, thin = (np.load(path)[:, rows, columns].astype(np.float64) for path in (case.thick, case.thin))
    thick, thin = ((np.clip(hu, -1024, 2048) + 1024) / 3072 for hu in (thick, thin))
    nearest = thick[(np.arange(len(thin)) + 2) // 5]
    predicted = np.clip(1.2 * nearest - 0.1, 0, 1)
    error = predicted[DROP] - thin[DROP]
    return 10 * np.log10(1 / np.mean(error**2)), np.mean(np.abs(error)), (nearest, predicted, thin)


@pytest.fixture
def cases(tmp_path):
    """A broad scan and a tall one."""
    return [write_case(tmp_path, "broad", 24, 48, 1), write_case(tmp_path, "tall", 40, 32, 2)]


@pytest.mark.parametrize(
    ("side", "rows", "columns"),
    [
        (16, slice(4, 20), slice(16, 32)),
        (20, slice(4, 20), slice(16, 32)),  # the network takes multiples of eight
        (256, slice(0, 24), slice(12, 36)),  # the scan is smaller
    ],
)
def test_the_centre_of_a_scan_is_scored(cases, side, rows, columns):
    network = Nearest().train()
    found = validate(network, cases[:1], side, Ranks(0, 1, CPU))
    psnr, l1, _ = scored(cases[0], rows, columns)
    assert found["psnr"] == pytest.approx(psnr, abs=1e-4)
    assert found["l1"] == pytest.approx(l1, abs=1e-6)
    assert network.shapes == {(1, 1, 4, rows.stop - rows.start, columns.stop - columns.start)}, "one tile"


def test_the_picture_shows_thick_predicted_and_true_slices_of_the_first_case(cases):
    picture = validate(Nearest(), cases, 16, Ranks(0, 1, CPU))["picture"]
    nearest, predicted, truth = scored(cases[0], slice(4, 20), slice(16, 32))[2]
    thick, middle, true = np.split(picture, 3)
    # Row 8 of the region, the last slice on top, lung and soft tissue on [0, 1].
    np.testing.assert_allclose(true, np.clip(2 * truth[::-1, 8], 0, 1), atol=1e-6)
    np.testing.assert_allclose(thick, np.clip(2 * nearest[::-1, 8], 0, 1), atol=1e-6)
    inner = slice(3, -3)  # the authors' windows leave the others out
    np.testing.assert_allclose(middle[inner], np.clip(2 * predicted[::-1, 8], 0, 1)[inner], atol=1e-6)


def test_scores_are_means_over_the_cases(cases):
    found = validate(Nearest(), cases, 16, Ranks(0, 1, CPU))
    both = [scored(cases[0], slice(4, 20), slice(16, 32)), scored(cases[1], slice(12, 28), slice(8, 24))]
    assert found["psnr"] == pytest.approx(np.mean([psnr for psnr, _, _ in both]), abs=1e-4)
    assert found["l1"] == pytest.approx(np.mean([l1 for _, l1, _ in both]), abs=1e-6)


def together(world, work):
    """What `work` gives in each of so many processes, played by threads that gather from each other."""
    items, barrier, results = [None] * world, threading.Barrier(world, timeout=60), [None] * world

    class Played(Ranks):
        def gathered(self, item):
            items[self.rank] = item
            barrier.wait()
            everyones = list(items)
            barrier.wait()
            return everyones

    def run(rank):
        results[rank] = work(Played(rank, world, CPU))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_cases_and_all_know_the_means(cases, world):
    alone = validate(Nearest(), cases, 16, Ranks(0, 1, CPU))
    read = [[] for _ in range(world)]

    def work(ranks):
        network = Nearest()
        network.register_forward_pre_hook(lambda *_: read[ranks.rank].append(1))
        return validate(network, cases, 16, ranks)

    found = together(world, work)
    for scores in found:
        assert scores["psnr"] == pytest.approx(alone["psnr"], abs=1e-9)
        assert scores["l1"] == pytest.approx(alone["l1"], abs=1e-9)
    assert [len(windows) for windows in read] == [2, 2, 0][:world], "each its share: two windows a case"
    np.testing.assert_array_equal(found[0]["picture"], alone["picture"])


def test_only_the_first_process_has_a_picture(cases):
    found = together(2, lambda ranks: validate(Nearest(), cases, 16, ranks))
    assert [scores["picture"] is not None for scores in found] == [True, False]
