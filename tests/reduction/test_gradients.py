"""Gradients to measurements and noise levels, against finite differences in float64."""

import math

import pytest
import torch

import lemmse
from lemmse.estimators import local
from lemmse.reduction import index

ESTIMATORS = {
    "MMSE": lemmse.MMSE,
    "EquivariantMMSE": lemmse.EquivariantMMSE,
    "LocalMMSE": lambda x, **kind: lemmse.LocalMMSE(x, patch_size=3, **kind),
    "LEMMSE": lambda x, **kind: lemmse.LEMMSE(x, patch_size=3, **kind),
    "LEMMSE, inpainting": lambda x, **kind: lemmse.LEMMSE(
        x, lemmse.operators.Mask.central(3, x.shape[2:]), "pinv", patch_size=3, **kind
    ),
}


@pytest.fixture(params=["streamed", "indexed"])
def path(request, monkeypatch):
    """Both ways through the engine, the second with blocks small enough to have many of them."""
    monkeypatch.setattr(local, "LEAST_INDEXED", math.inf if request.param == "streamed" else 0)
    monkeypatch.setattr(index, "BLOCK", 16)
    return request.param


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(size=(6, 5), offset=0.0):
    images = torch.rand(4, 1, *size, generator=generator()).double() + offset
    y = images[:2] + 0.2 * torch.randn(2, 1, *size, generator=generator(1)).double()
    return images, y


def losses(estimate):
    """Scalar functions of y and sigma: one of the mean, one of the log-density, both."""
    weight = torch.randn(2, 1, 6, 5, generator=generator(2)).double()

    def mean(y, sigma):
        return (estimate(y, sigma) * weight).sum()

    def log_density(y, sigma):
        return (estimate.posterior(y, sigma).log_density * weight[:, 0]).sum()

    return {"mean": mean, "log_density": log_density}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("loss", ["mean", "log_density"])
@pytest.mark.parametrize("level", [0.05, 0.3])
def test_gradients_to_y_and_sigma(name, loss, level, path):
    images, y = problem()
    function = losses(ESTIMATORS[name](images, dtype=torch.float64))[loss]
    sigma = torch.tensor([level, 1.3 * level], dtype=torch.float64)
    leaves = (y.clone().requires_grad_(), sigma.clone().requires_grad_())
    gradients = torch.autograd.grad(function(*leaves), leaves)
    for i, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, generator=generator(3)).double()
        step = 1e-5 * level
        ends = []
        for sign in (1, -1):
            moved = [leaf.detach() for leaf in leaves]
            moved[i] = moved[i] + sign * step * direction
            ends.append(function(*moved).item())
        wanted = (ends[0] - ends[1]) / (2 * step)
        found = (gradient * direction).sum().item()
        assert math.isclose(found, wanted, rel_tol=1e-5, abs_tol=1e-6), (i, found, wanted)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("level", [0.05, 0.3])
def test_float32_keys_give_the_same_gradients(name, offset, level, path):
    images, y = problem(offset=offset)
    images = images.float().double()
    found = []
    for dtype in (torch.float32, torch.float64):
        estimate = ESTIMATORS[name](images, dtype=dtype)
        leaf, sigma = y.clone().requires_grad_(), torch.tensor(level, requires_grad=True)
        posterior = estimate.posterior(leaf, sigma)
        loss = (posterior.mean - offset).square().sum() + posterior.log_density.sum() / 10
        found.append(torch.autograd.grad(loss, (leaf, sigma)))
    for ours, wanted in zip(*found, strict=True):
        assert (ours - wanted).abs().max() <= 2e-4 * wanted.abs().max()


def test_the_gradient_prunes_without_changing(path):
    """With tolerance and without; some blocks are far enough to be skipped."""
    images = lemmse.datasets.load("photos-grey", n=6)[:, :, :12, :12]
    y = images[:1] + 0.02
    found = []
    for tolerance in (1e-6, 0.0):
        leaf = y.double().requires_grad_()
        estimate = lemmse.LEMMSE(images, patch_size=3, tolerance=tolerance)
        posterior = estimate.posterior(leaf, 0.05)
        loss = posterior.mean.square().sum() + posterior.log_density.sum()
        found.append(torch.autograd.grad(loss, leaf)[0])
    assert (found[0] - found[1]).abs().max() <= 1e-4 * found[1].abs().max()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_only_mean_and_log_density_claim_gradients(name, path):
    images, y = problem()
    sigma = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    posterior = ESTIMATORS[name](images).posterior(y.requires_grad_(), sigma)
    differentiable = {key for key, value in vars(posterior).items() if value.requires_grad}
    assert differentiable == {"mean", "log_density"}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_vjp_is_backward_and_second_derivatives_are_refused_in_words(name, path):
    images, y = problem()
    estimate = ESTIMATORS[name](images)
    leaf = y.clone().requires_grad_()
    wanted = torch.autograd.grad(estimate(leaf, 0.3).sum(), leaf)[0]
    value, pull = torch.func.vjp(lambda t: estimate(t, 0.3), y)
    torch.testing.assert_close(pull(torch.ones_like(value))[0], wanted)
    [gradient] = torch.autograd.grad(estimate(leaf, 0.3).sum(), leaf, create_graph=True)
    torch.testing.assert_close(gradient.detach(), wanted)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        gradient.sum().backward()
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.jvp(lambda t: estimate(t, 0.3), (y,), (y,))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_first_call_in_inference_mode_and_a_gradient_later(name, path):
    images, y = problem()
    wanted = torch.autograd.functional.vjp(lambda t: ESTIMATORS[name](images)(t, 0.3).sum(), y)[1]
    with torch.inference_mode():
        built_inside = ESTIMATORS[name](images)
        built_inside(y, 0.3)
    called_inside = ESTIMATORS[name](images)
    with torch.inference_mode():
        called_inside.posterior(y, 0.3)
    for estimate in (built_inside, called_inside):
        leaf = y.clone().requires_grad_()
        estimate(leaf, 0.3).sum().backward()
        torch.testing.assert_close(leaf.grad, wanted)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_gradients_do_not_depend_on_the_mode_torch_is_in(name, path):
    images, y = problem()
    estimate = ESTIMATORS[name](images)
    leaf = y.float().requires_grad_()
    [wanted] = torch.autograd.grad(estimate(leaf, 0.3).sum(), leaf)
    with torch.autocast("cpu", torch.bfloat16):
        [found] = torch.autograd.grad(estimate(leaf, 0.3).sum(), leaf)
    assert torch.equal(found, wanted)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        [found] = torch.autograd.grad(ESTIMATORS[name](images)(leaf, 0.3).sum(), leaf)
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, wanted)
