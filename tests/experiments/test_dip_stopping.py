"""Figures 3 and 4: problems with noise, stopping rules looked up afterwards, published results."""

import pytest
import torch

from lemmse.dip import Discrepancy, TwoLayer, constants, descend
from lemmse.experiments import dip_image, dip_stopping

CONDITION, NOISES = 2.0, (0.2, 1.0)


@pytest.fixture(scope="module")
def problem():
    return dip_stopping.noisy_problem(
        4, CONDITION, NOISES, torch.Generator().manual_seed(1), runs=3
    )


@pytest.fixture(scope="module")
def network():
    return TwoLayer.draw(4, 1, 400, torch.Generator().manual_seed(2), 3, "tanh")


def test_noise_has_the_norm_that_is_told_to_the_rules(problem):
    A, truth, y, norms = problem
    clean = (A @ truth[..., None])[..., 0]
    torch.testing.assert_close((y - clean[:, None]).norm(dim=2), norms)
    torch.testing.assert_close(
        norms / clean.norm(dim=1, keepdim=True), torch.tensor([NOISES] * 3).double()
    )
    directions = (y - clean[:, None]) / norms[..., None]
    torch.testing.assert_close(directions[:, 0], directions[:, 1])


def test_rules_found_afterwards_stop_where_they_would_have_stopped(problem, network):
    A, truth, y, norms = problem
    result = dip_stopping.stopping(network, problem, 0.5, 300)
    assert [len(row) for row in result["error"]] == [3, 3]
    for trial in range(2):
        rules = result["rules"]
        stopped = descend(
            network, A, y[:, trial], 0.5, 300, Discrepancy(norms[:, trial]), truth=truth, record=2
        )
        assert rules["discrepancy"]["time"][trial] == stopped.stopped.tolist()
        relative = stopped.error[-1] / truth.norm(dim=1)
        torch.testing.assert_close(
            torch.tensor(rules["discrepancy"]["reached"][trial]).double(),
            relative,
            rtol=1e-3,
            atol=0,
        )
        found = constants(A, network, y[:, trial], step=0.5, samples=0)
        assert rules["theorem"]["time"][trial] == found.stopping_time(norms[:, trial]).tolist()
        for rule in rules.values():
            pairs = zip(rule["reached"][trial], rules["oracle"]["reached"][trial], strict=True)
            assert all(error >= best for error, best in pairs)


def test_a_rule_that_never_holds_has_no_time_and_the_last_error():
    error = torch.tensor([[3.0], [2.0], [2.5]])
    time = dip_stopping.first(torch.zeros(3, 1, dtype=torch.bool))
    assert time.isinf().all()
    assert dip_stopping.reached(error, time).tolist() == [2.5]
    assert dip_stopping.reached(error, torch.tensor([1.0])).tolist() == [2.0]


def test_the_discrepancy_principle_stops_the_photographs_at_the_noise():
    for task in dip_image.TASKS:
        for draw in range(dip_image.DRAWS):
            cell = dip_image.results()[f"{task} | draw {draw} | 0"]
            stops = zip(cell["residual"]["discrepancy"], cell["times"]["discrepancy"], strict=True)
            assert all(residual <= 1 or time == dip_image.ITERATIONS for residual, time in stops)


@pytest.fixture
def few_photographs(monkeypatch):
    sizes = {"PHOTOS": 4, "BATCH": 2, "TRAINING": 12, "ITERATIONS": 30, "RECORD": 10}
    for name, value in (sizes | {"SHOWN": 1}).items():
        monkeypatch.setattr(dip_image, name, value)


def test_a_batch_of_photographs_is_a_part_of_all(few_photographs, monkeypatch):
    second = dip_image.compute("half the pixels | draw 1 | 2")
    monkeypatch.setattr(dip_image, "BATCH", 4)
    both = dip_image.compute("half the pixels | draw 1 | 0")
    for rule, values in second["psnr"].items():
        assert values == pytest.approx(both["psnr"][rule][2:], abs=2e-3)
    assert not {"curves", "images"} & set(second)


def test_rules_on_photographs(few_photographs, tmp_path):
    out = tmp_path / "dip-image.json"
    dip_image.run(out)
    found = dip_image.gathered("noise", out)
    assert found["oracle"].shape == (3, 4)
    assert found["le_mmse"].shape == (4,)
    assert found["curves"].shape == (2, 4)
    assert found["mean"].shape == (3, 4)
    assert (found["oracle"] >= found["discrepancy"]).all()
    assert (found["oracle"] >= found["end"]).all()
    # a draw is a network of its own, for every photograph
    assert (found["oracle"][0] != found["oracle"][1]).all()
    best = found["curves"].max(1).values
    assert torch.equal(best, found["oracle"][0, ::2])
    images = dip_image.results(out)["noise | others | 0"]["images"]
    assert torch.tensor(images["truth"]).shape == (1, *dip_image.SIZE)
