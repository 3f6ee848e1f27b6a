"""Figures 1 and 2 of part V: dip_width, the probability of success, and their files."""

import json

import pytest
import torch

from lemmse.dip import TwoLayer, constants, random_problem
from lemmse.experiments import dip_image, dip_step, dip_stopping, dip_width, record


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_growing_network_has_the_constants_of_the_network():
    A, truth = random_problem(4, 4, 2.0, generator())
    growing = dip_width.Growing(A[0], truth[0], generator(1))
    growing.grow(5000)
    g = generator(1)
    V = 2.0 * torch.randint(2, (1, 4, 5000), generator=g, dtype=torch.int8) - 1
    a = torch.randn(5000, generator=g)[None, :, None]
    network = TwoLayer(a.double(), torch.ones(1, 1).double(), V.double(), "tanh")
    c = constants(A, network, A[0] @ truth[0])
    assert growing.value() == pytest.approx((c.R_prime / (8 * c.R)).item(), rel=1e-4)
    value = growing.value()
    growing.grow(20_000)
    assert growing.value() < 0.75 * value


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(dip_width, "RUNS", 3)
    monkeypatch.setattr(dip_width, "SIZES", (2,))
    monkeypatch.setattr(dip_width, "FEW", 2)
    monkeypatch.setattr(dip_width, "SHARES", (1.0, 8.0))
    monkeypatch.setattr(dip_width, "ITERATIONS", 200)
    monkeypatch.setattr(dip_step, "RUNS", 3)
    monkeypatch.setattr(dip_step, "SIZES", (2, 3))
    monkeypatch.setattr(dip_step, "WIDTHS", (20, 200))
    monkeypatch.setattr(dip_step, "STEPS", (0.5, 1.0, 500.0))
    monkeypatch.setattr(dip_step, "ITERATIONS", 200)


def numbers(path):
    """The content of a file, but for where it was computed."""
    found = json.loads(path.read_text())
    for cell in found["results"].values():
        assert cell.pop("machine")["torch"] == torch.__version__
    return found


@pytest.mark.parametrize("experiment", [dip_width, dip_step])
def test_resumed_experiment_equals_an_uninterrupted_one(experiment, small, tmp_path):
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    experiment.run(whole)

    class Interrupted(Exception):
        pass

    for count in range(1, len(experiment.cells())):

        def interrupt(cell, done, total, count=count):
            assert total == len(experiment.cells())
            if done == count:
                raise Interrupted

        with pytest.raises(Interrupted):
            experiment.run(parts, bar=interrupt)
    experiment.run(parts)
    assert numbers(parts) == numbers(whole)
    assert not list(tmp_path.glob(".*"))


def test_results_of_other_settings_are_refused_and_kept(small, tmp_path, monkeypatch):
    out = tmp_path / "results.json"
    before = dip_step.run(out)
    assert dip_step.run(out) == before
    monkeypatch.setattr(dip_step, "RUNS", 2)
    with pytest.raises(ValueError, match="other settings"):
        dip_step.run(out)
    assert dip_step.results(out) == before


def test_figure_2_counts_successes(small):
    cell = dip_step.compute("3 200")
    early, middle, never = cell["successes"]
    assert len(early) == len(middle) == 3
    assert never == []
    assert max(middle) < max(early) <= 200
    assert len(cell["largest_step"]) == 3


def test_figure_1_bound_and_practice(small):
    bound = dip_width.compute("bound square 3")
    assert bound["holds"]["theorem"][-1] == 3
    for name in ("flow", "sharp", "sharp flow"):
        counts = zip(bound["holds"][name], bound["holds"]["theorem"], strict=True)
        assert all(weak >= strong for weak, strong in counts)
    practice = dip_width.compute("practice ten 3")
    assert practice["widths"] == [2, 16]
    assert len(practice["successes"][1]) == 3


@pytest.mark.parametrize("experiment", [dip_width, dip_step, dip_image, dip_stopping])
def test_published_results_are_complete_and_of_these_settings(experiment):
    published = json.loads(record.shipped(experiment.NAME).read_text())
    assert published["settings"] == json.loads(json.dumps(experiment.settings()))
    assert list(experiment.results()) == experiment.cells()
    assert set(experiment.QUICK) <= set(experiment.cells())
