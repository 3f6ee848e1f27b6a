"""Variances at offsets where a second moment minus a squared mean would lose all digits."""

import math

import pytest
import torch
from brute_force import BruteForce

import lemmse
from lemmse.estimators import local
from lemmse.reduction import index

ESTIMATORS = {
    "MMSE": lemmse.MMSE,
    "EquivariantMMSE": lemmse.EquivariantMMSE,
    "LocalMMSE": lambda x: lemmse.LocalMMSE(x, patch_size=3),
    "LEMMSE": lambda x: lemmse.LEMMSE(x, patch_size=3),
}


@pytest.fixture(params=["streamed", "indexed"])
def path(request, monkeypatch):
    """Both ways through the engine, the second with blocks small enough to have many of them."""
    monkeypatch.setattr(local, "LEAST_INDEXED", math.inf if request.param == "streamed" else 0)
    monkeypatch.setattr(index, "BLOCK", 16)


def constant(*values, size=(4, 4)):
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, *size).clone()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_two_constant_images_between_which_y_lies(name, path):
    estimate = ESTIMATORS[name](constant(300.0, 300.1))
    posterior = estimate.posterior(constant(300.05), 0.5)
    spread = (300.1 - 300.0) / 2
    assert (posterior.variance - spread**2).abs().max() < 1e-6


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("value", [0.7, 300.1, 1e-3])
def test_exactly_zero_where_all_voters_agree(name, value, path):
    posterior = ESTIMATORS[name](constant(value, value, value)).posterior(constant(value), 0.1)
    assert (posterior.variance == 0).all()


def test_exactly_zero_where_one_voter_has_all_the_weight(path):
    images = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    posterior = lemmse.LEMMSE(images, patch_size=5).posterior(images[:1], 1e-3)
    assert (posterior.weight == 1).all()
    assert (posterior.variance == 0).all()


@pytest.mark.parametrize("offset", [0.0, 300.0, 1000.0])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_offset_changes_no_variance(name, offset, path):
    """The images are multiples of 2^-13, which float32 holds at every offset."""
    g = torch.Generator().manual_seed(1)
    images = torch.randint(0, 8192, (6, 1, 6, 7), generator=g) / 8192
    images[1] = images[0].roll(1, -1)
    images[1, :, 0] = 0.5  # some patches of equal keys and different values
    y = torch.randint(0, 8192, (1, 1, 6, 7), generator=g) / 8192
    wanted = ESTIMATORS[name](images.double()).posterior(y.double(), 0.3)
    found = ESTIMATORS[name](images + offset).posterior(y + offset, 0.3)
    torch.testing.assert_close(found.variance.double(), wanted.variance, rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(found.mean.double(), wanted.mean + offset, rtol=2e-7, atol=2e-5)


def test_temperatures_in_kelvin(path):
    """Rooms at 290 to 300 kelvin, one decimal place: many equal patches."""
    g = torch.Generator().manual_seed(2)
    images = 290 + torch.randint(0, 3, (8, 1, 6, 6), generator=g) * 0.1
    images[:4, :, :3] += 9.0
    y = images[:1] + 0.05 * torch.randn(1, 1, 6, 6, generator=g)
    estimate = lemmse.LEMMSE(images, patch_size=3)
    reference = BruteForce(images, estimate.operator, estimate.preinverse.apply, (3, 3))
    mean, wanted = reference(y[0], 0.05)
    posterior = estimate.posterior(y, 0.05)
    assert (posterior.mean[0] - mean).abs().max() < 1e-4
    assert (posterior.variance[0] - wanted["variance"]).abs().max() < 1e-6


def test_merged_keys_keep_the_variance_of_their_values(path):
    """Two columns of images with equal patches but for the far neighbour: P = 1 on two values."""
    images = torch.tensor([0.25, 0.25, 0.25, 0.75]).view(1, 1, 2, 2) + 300
    blurred = lemmse.LEMMSE(images, lemmse.operators.Mask(torch.zeros(2, 2)), patch_size=1)
    posterior = blurred.posterior(torch.zeros(1, 1, 2, 2), 0.2)
    assert torch.allclose(posterior.variance, torch.tensor(0.25 * 0.75 * 0.25), rtol=1e-6)


@pytest.mark.parametrize("name", ["MMSE", "EquivariantMMSE"])
def test_the_root_of_a_variance_far_below_the_rounding_of_means_is_right(name):
    g = torch.Generator().manual_seed(0)
    images = torch.rand(20, 1, 8, 8, generator=g)
    y = images[:2] + 0.2 * torch.randn(2, 1, 8, 8, generator=g)
    wanted = ESTIMATORS[name](images.double()).posterior(y.double(), 0.3).variance.sqrt()
    assert 1e-8 < wanted.max() < 1e-4  # all other images together have a weight of 1e-8 at most
    found = ESTIMATORS[name](images).posterior(y, 0.3).variance.sqrt().double()
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-9)
