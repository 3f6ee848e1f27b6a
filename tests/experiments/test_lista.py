"""LISTA and ISTA trained from several starts: the networks, the starts, and what is published."""

import json

import pytest
import torch
from torch.testing import assert_close

from lemmse import networks
from lemmse.experiments import lista, record


@pytest.fixture
def tiny(monkeypatch):
    sizes = {"PHOTOS": 6, "HELD_OUT": 2, "TEST_PHOTOS": 3, "SEEDS": 2, "BUDGETS": (2, 3, 4, 5)}
    for name, value in sizes.items():
        monkeypatch.setattr(lista, name, value)


def measurements():
    B, norm = lista.matrix(lista.scanner())
    noise = lista.SIGMA / norm
    c = lista.coefficients("test", 1)
    return B, norm, noise, lista.measured(c, B, noise, [0])


@pytest.mark.parametrize("layers", [1, 3])
def test_from_the_physics_both_are_the_networks_of_the_package(layers):
    B, norm, noise, y = measurements()
    operator = lista.scanner()
    shape = (1, lista.SIDE, lista.SIDE)
    pictures = (norm * y[0]).reshape(-1, *operator.example_measurement(shape).shape[1:])
    threshold = torch.tensor(lista.LOG_THRESHOLD).exp().item()
    kinds = {"physics": networks.LISTA, "ista": networks.UnrolledISTA}
    for name, kind in kinds.items():
        parameters = lista.start(name, layers)
        if name == "ista":
            parameters[0] = torch.zeros_like(parameters[0])  # steps of one, as the package's
            found = lista.ista(parameters, y.expand(lista.SEEDS, -1, -1), noise, B)[0]
        else:
            found = lista.lista(parameters, y.expand(lista.SEEDS, -1, -1), noise, layers)[0]
        network = kind(operator, shape, layers, threshold=threshold)
        with torch.no_grad():
            expected = networks.haar(network(pictures, norm * noise)).flatten(1)
        assert_close(found, expected, atol=2e-4, rtol=0)


def test_the_linear_mmse_has_the_least_error_of_all_matrices():
    B, _, noise, _ = measurements()
    c = lista.coefficients("train", 40)
    W = lista.linear_mmse(B, noise, c)

    def risk(W):
        bias = (c - c @ (W @ B).T).square().sum(1).mean()
        return bias + noise**2 * W.square().sum()

    generator = torch.Generator().manual_seed(0)
    others = [W + 1e-2 * torch.randn(W.shape, generator=generator) for _ in range(5)]
    assert risk(W) < min(risk(other) for other in others)


def test_starts_differ_in_what_they_believe():
    starts = {name: lista.start(name, 5) for name in lista.STARTS}
    assert not torch.allclose(starts["physics"][0], starts["wrong"][0], atol=1e-2)
    assert torch.equal(starts["physics"][0], starts["weak"][0])
    assert starts["weak"][1].abs().max() == 0
    W = starts["none"][0]
    assert not torch.equal(W[0], W[1])  # every seed begins elsewhere


def test_seeds_share_nothing(tiny):
    B, _, noise, _ = measurements()
    c = lista.coefficients("train", 4)
    first = lista.start("physics", 2)

    def network(parameters, y):
        return lista.lista(parameters, y, noise, 2)

    both = lista.trained(first, network, c, B, noise, 1e-3, 3)
    alone = lista.trained([p[:1] for p in first], network, c, B, noise, 1e-3, 3)
    for one, of_both in zip(alone, both, strict=True):
        assert_close(of_both[:1], one)
        assert not torch.equal(of_both[0], of_both[1])


def test_a_cell_chooses_its_rate_by_the_photographs_held_out(tiny):
    found = lista.compute("wrong 2")
    assert list(found["budgets"]) == ["2", "3"]  # the two longest are for few cells
    for budget in found["budgets"].values():
        tried = budget["validation"]
        assert max(tried, key=tried.get) == f"{budget['rate']:g}"
        assert len(budget["test"]) == 2
    assert len(found["photos"]) == 3
    assert found["parameters"] == 256 * (276 + 256 + 1)
    short = lista.compute("wrong 2", budgets=(2,))
    assert short["budgets"]["2"] == found["budgets"]["2"]


def test_published_results_are_of_this_setup_and_complete():
    published = json.loads(record.shipped("lista").read_text())
    assert published["settings"] == json.loads(json.dumps(lista.settings()))
    found = lista.results()
    assert set(found) == set(lista.cells())
    for cell in found:
        budgets = lista.BUDGETS if cell in lista.LONG else lista.BUDGETS[:-2]
        assert list(found[cell]["budgets"]) == [str(budget) for budget in budgets]
