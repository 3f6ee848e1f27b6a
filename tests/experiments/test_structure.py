"""How much of a network physics fixes: what the structures are, and what is published."""

import json

import pytest
import torch
from torch.testing import assert_close

from lemmse.experiments import record, structure
from lemmse.networks import SVDNet
from lemmse.operators import Blur


@pytest.fixture
def tiny(monkeypatch):
    sizes = {"STEPS": 4, "RECORD": 2, "SEEDS": 2, "IMAGES": 6, "HELD_OUT": 3, "TEST_IMAGES": 4}
    for name, value in sizes.items():
        monkeypatch.setattr(structure, name, value)


def measured(count=3):
    x = structure.photographs("test")[:count].flatten(1)
    return x, (x @ structure.matrix().T)[None]


def test_all_but_the_diagonal_is_the_svd_network():
    _, g = measured()
    network = SVDNet(Blur.gaussian(structure.BLUR, (12, 12)), (1, 12, 12))
    with torch.no_grad():
        expected = network(g[0].reshape(-1, 1, 12, 12), 0.05).flatten(1)
    # The gains of the network, in the basis of the experiment.
    H, V = structure.matrix().double(), structure.basis().double()
    power = (H @ V).square().sum(0)
    diagonal = 1 / (power + 0.05**2)  # the network starts at the variance 1
    found = structure.estimate("all but the diagonal", [diagonal[None, None].float()], g)[0]
    assert_close(found, expected, atol=1e-3, rtol=0)


def test_more_fixed_structures_are_special_cases():
    _, g = measured()
    H, V = structure.matrix(), structure.basis()
    generator = torch.Generator().manual_seed(0)
    diagonal = torch.rand(1, 1, 144, generator=generator)
    expected = structure.estimate("all but the diagonal", [diagonal], g)
    inside = torch.diag(diagonal.flatten())[None]
    assert_close(structure.estimate("adjoint and basis", [inside], g), expected)
    M = V @ inside @ V.T
    assert_close(structure.estimate("adjoint", [M], g), expected, atol=1e-4, rtol=0)
    assert_close(structure.estimate("nothing", [M @ H.T], g), expected, atol=1e-4, rtol=0)
    free = structure.start("diagonal and a free layer", 1)
    found = structure.estimate("diagonal and a free layer", [diagonal, *free[1:]], g)
    assert_close(found, expected)  # the free layer starts at nothing


def test_the_free_layer_is_two_circular_convolutions():
    x, _ = measured()
    generator = torch.Generator().manual_seed(0)
    free = structure.start("diagonal and a free layer", 2)[1:]
    free[2] = torch.randn(free[2].shape, generator=generator)
    found = structure._correction(torch.stack([x, 2 * x]), *free)
    layers = [
        torch.nn.Conv2d(i, o, 3, padding=1, padding_mode="circular") for i, o in ((1, 16), (16, 1))
    ]
    for seed, factor in enumerate((1, 2)):
        with torch.no_grad():
            for layer, weight, bias in zip(layers, free[::2], free[1::2], strict=True):
                layer.weight.copy_(weight[seed])
                layer.bias.copy_(bias[seed])
            hidden = torch.nn.functional.silu(layers[0](factor * x.reshape(-1, 1, 12, 12)))
            expected = layers[1](hidden).flatten(1)
        assert_close(found[seed], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", structure.STRUCTURES)
def test_a_cell_chooses_rate_and_moment(tiny, name):
    found = structure.compute(f"{name} | 4")
    tried = found["tried"]
    assert max(tried, key=tried.get) == f"{found['rate']:g}"
    assert len(found["test"]) == len(found["last"]) == 2
    assert set(found["steps"]) <= {2, 4}
    again = structure.trained(name, 4, found["rate"])
    assert again["test"].tolist() == pytest.approx(found["test"], abs=1e-3)


def test_published_results_are_of_this_setup_and_complete():
    published = json.loads(record.shipped("structure").read_text())
    assert published["settings"] == json.loads(json.dumps(structure.settings()))
    assert set(structure.results()) == set(structure.cells())
