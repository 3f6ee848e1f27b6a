"""Restoration and segmentation trained together or not: who learns what, and what is published."""

import json
from math import sqrt

import pytest
import torch
from torch.testing import assert_close

from lemmse.datasets import infrared as data
from lemmse.estimators import LinearMMSE
from lemmse.experiments import infrared, record
from lemmse.metrics import psnr


@pytest.fixture
def tiny(monkeypatch):
    sizes = {"SCENES": 6, "HELD_OUT": 3, "TEST_SCENES": 4, "PRIOR": 20, "SEEDS": 2}
    for name, value in (sizes | {"BUDGETS": (2, 4), "BATCH": 2}).items():
        monkeypatch.setattr(infrared, name, value)


def defaults(name):
    return {key: values[0] for key, values in infrared.CONTESTANTS[name].items()}


def weights(part):
    return torch.cat([p.detach().flatten() for p in part.parameters()])


def test_all_start_from_the_same_weights(tiny):
    with_physics, without = infrared.Pipeline(True, seed=3), infrared.Pipeline(False, seed=3)
    assert torch.equal(weights(with_physics), weights(without))
    assert not torch.equal(weights(with_physics), weights(infrared.Pipeline(True, seed=4)))


def test_physics_is_the_wiener_filter_of_the_chapter(tiny):
    y = infrared.shown()["test"][0]
    images = data.from_kelvin(data.scenes("train", infrared.PRIOR).kelvin)
    expected = LinearMMSE(images, data.camera(), stationary=True)(y, data.SIGMA)
    for physics, given in ((True, expected), (False, y)):
        network = infrared.Pipeline(physics)
        with torch.no_grad():
            network.restoration[-1].weight.zero_()
            network.restoration[-1].bias.zero_()
            assert_close(network.restore(y), given)


def test_one_after_the_other_segmentation_does_not_change_the_restoration(tiny):
    choice = defaults("one after the other")
    found = infrared.trained("one after the other", 4, 0, choice)
    other = infrared.trained("one after the other", 4, 0, choice | {"rate": 0.1})
    assert torch.equal(weights(found.restoration), weights(other.restoration))
    assert not torch.equal(weights(found.segmentation), weights(other.segmentation))
    start = infrared.Pipeline(True, 0)
    for part in ("restoration", "segmentation"):
        assert not torch.equal(weights(getattr(found, part)), weights(getattr(start, part)))


def test_together_without_weight_is_end_to_end(tiny):
    rate = {"rate": 1e-2}
    alone = infrared.trained("end to end", 3, 1, rate)
    both = infrared.trained("together", 3, 1, rate | {"weight": 0.0})
    weighted = infrared.trained("together", 3, 1, rate | {"weight": 1.0})
    assert torch.equal(weights(alone), weights(both))
    assert not torch.equal(weights(alone), weights(weighted))


def test_all_see_the_same_scenes_and_noise_with_a_seed(tiny):
    def seen(network, seed):
        batches = []

        def loss(*batch):
            batches.append(torch.cat([part.float() for part in batch]))
            return network.segment(network.restore(batch[0])).square().mean()

        infrared.optimise(network, loss, 1e-2, 3, seed)
        return torch.stack(batches)

    batches = seen(infrared.Pipeline(), seed=5)
    assert torch.equal(seen(infrared.Pipeline(False, seed=1), seed=5), batches)
    assert not torch.equal(seen(infrared.Pipeline(), seed=6), batches)
    assert not torch.equal(batches[0], batches[1])


def test_losses_are_the_formulas():
    generator = torch.Generator().manual_seed(0)
    x, other = torch.rand(2, 3, 1, 8, 8, generator=generator)
    masks = x > 0.5
    p = torch.sigmoid(other.double())
    expected = -torch.where(masks, p.log(), (1 - p).log()).mean()
    assert_close(infrared.cross_entropy(other, masks).double(), expected)
    kelvins = (data.to_kelvin(x) - data.to_kelvin(other)).square().mean() / data.NETD**2
    assert_close(infrared.error(other, x), kelvins, rtol=1e-4, atol=0)


def test_the_level_is_chosen_on_the_scenes_held_out(tiny):
    shown = infrared.shown()
    # Exact evidence, shifted on the scenes held out: there only levels above 1 are perfect.
    shift = {"validation": 1.5, "test": 0.0}
    found = {
        split: (0.5 * x + 0.1, masks.float() + shift[split])
        for split, (_, x, masks) in shown.items()
    }
    levels = torch.tensor([-1.0, 0.5, 2.0])
    judged = infrared.qualities(found, levels)
    assert judged["level"] == 2.0
    assert_close(judged["iou"]["validation"], torch.ones(3))
    assert_close(judged["iou"]["test"], torch.zeros(4))  # above 2 there is nothing
    for split, (_, x, _) in shown.items():
        assert_close(judged["psnr"][split], psnr(0.5 * x + 0.1, x))
    assert min(judged["affine"]["test"]) > 60  # the affine map is undone


@pytest.mark.parametrize("name", infrared.CONTESTANTS)
def test_a_cell_chooses_with_as_many_tries(tiny, name):
    short = infrared.compute(f"{name} | 2")
    tried = {json.dumps(one["choice"]): one for one in short["tried"]}
    assert len(tried) == len(short["tried"]) == 5
    if name in ("end to end", "no restoration"):
        best = max(short["tried"], key=lambda one: one["iou"])
        assert short["choice"] == best["choice"]
    assert json.dumps(short["choice"]) in tried
    for split in ("validation", "test"):
        assert [len(short[split][key]) for key in infrared.QUALITIES] == [2, 2, 2]
    for key in infrared.QUALITIES:
        mean = sum(short["scenes"][key]) / 4
        assert mean == pytest.approx(sum(short["test"][key]) / 2, rel=1e-3, abs=1e-3)
    known = {f"{name} | 2": short | {"choice": defaults(name)}}
    assert infrared.compute(f"{name} | 4", known=known)["choice"] == defaults(name)


def test_the_threshold_learns_nothing(tiny):
    found = infrared.compute("threshold")
    assert found["parameters"] == 0
    assert [len(found["test"][key]) for key in infrared.QUALITIES] == [1, 1, 1]


def test_a_difference_is_paired():
    def cell(seeds, scenes):
        return {"test": {"iou": seeds}, "scenes": {"iou": scenes}}

    one, other = cell([0.5, 0.7], [0.2, 0.6, 1.0]), cell([0.4, 0.4], [0.1, 0.5, 0.6])
    mean, error = infrared.difference(one, other)
    assert mean == pytest.approx(0.2)
    assert error == pytest.approx(sqrt(0.02 / 2 + 0.03 / 3))
    untrained = cell([0.4], [0.1, 0.5, 0.6])
    assert infrared.difference(one, untrained) == pytest.approx((mean, error))
    with pytest.raises(ValueError, match="quality: expected one of iou, psnr, affine, got 'dice'"):
        infrared.difference(one, other, "dice")


def test_published_results_are_of_this_setup_and_complete():
    published = json.loads(record.shipped("infrared").read_text())
    assert published["settings"] == json.loads(json.dumps(infrared.settings()))
    found = infrared.results()
    assert set(found) == set(infrared.cells())
    trained = [cell for name, cell in found.items() if name != "threshold"]
    assert len({cell["parameters"] for cell in trained}) == 1
    for cell in trained:
        assert len(cell["test"]["iou"]) == infrared.SEEDS
        assert len(cell["scenes"]["psnr"]) == infrared.TEST_SCENES
