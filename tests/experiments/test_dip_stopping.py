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
    for cell in dip_image.results().values():
        for residual, time in zip(cell["residual"], cell["rules"]["discrepancy"], strict=True):
            row = cell["at"].index(time)
            assert residual[row] <= 1 or row == len(residual) - 1
            assert all(value >= 1 for value in residual[:row])  # rounded to four digits
