"""Gradients through our denoisers, in the image and in sigma, as unfolded networks need them."""

import deepinv as dinv
import pytest
import torch
from deepinv.optim import L2, PnP

import lemmse
from lemmse import deepinv as ours
from lemmse.operators import Blur


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(count, split="train"):
    """Corners of photographs, (count, 1, 8, 8), those with most contrast of 200."""
    x = lemmse.datasets.load("photos-grey", split, 200)[:, :, :8, :8]
    return x[x.flatten(1).std(1).argsort(descending=True)[:count]].double()


def noisy(count, sigma):
    x = photos(count, split="test")
    return x + sigma * torch.randn(x.shape, generator=generator(), dtype=x.dtype)


def finite_difference(f, at, step=1e-5):
    """Central difference of a function of one float64 number for each image."""
    return torch.stack(
        [
            (f(at + step * unit) - f(at - step * unit)) / (2 * step)
            for unit in torch.eye(len(at), dtype=at.dtype)
        ]
    )


@pytest.mark.parametrize("kind", ["MMSE", "LEMMSE"])
def test_gradients_in_the_image_and_in_sigma(kind):
    x, images = noisy(2, 0.3), photos(6)
    denoiser = getattr(ours, kind)(images, dtype=torch.float64)
    levels = torch.tensor([0.3, 0.2], dtype=torch.float64, requires_grad=True)
    weights = torch.randn(x.shape, generator=generator(3), dtype=torch.float64)

    def value(sigma, x=x):
        return (weights * denoiser(x, sigma)).sum()

    point = x.clone().requires_grad_()
    value(levels, point).backward()
    wanted = finite_difference(value, levels.detach())
    torch.testing.assert_close(levels.grad, wanted, rtol=1e-5, atol=1e-7)
    direction = torch.randn(x.shape, generator=generator(4), dtype=torch.float64)
    slope = finite_difference(
        lambda t: value(levels.detach(), x + t * direction), torch.zeros(1, dtype=torch.float64)
    )
    torch.testing.assert_close((point.grad * direction).sum(), slope[0], rtol=1e-5, atol=1e-7)


def test_gradients_of_a_batch_with_an_image_without_noise():
    x, images = noisy(2, 0.3), photos(6)
    denoiser = ours.MMSE(images, dtype=torch.float64)
    point, levels = x.clone().requires_grad_(), torch.tensor([0.0, 0.3]).requires_grad_()
    denoiser(point, levels).sum().backward()
    alone = x[1:].clone().requires_grad_()
    denoiser(alone, 0.3).sum().backward()
    assert torch.equal(point.grad[0], torch.ones_like(x[0]))
    torch.testing.assert_close(point.grad[1:], alone.grad, rtol=1e-6, atol=1e-9)
    assert levels.grad[0] == 0


@pytest.mark.parametrize("sigma", [0.2, 1.0])
def test_gradients_of_mmse_are_those_of_deepinv(sigma):
    images = photos(40)
    gradients = []
    for model in (
        dinv.models.MMSE(images, torch.device("cpu"), torch.float64),
        ours.MMSE(images, dtype=torch.float64),
    ):
        x = noisy(3, sigma).requires_grad_()
        levels = torch.full((3,), sigma, dtype=torch.float64, requires_grad=True)
        model(x, levels).square().sum().backward()
        gradients.append((x.grad, levels.grad))
    for theirs, mine in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


def test_pigdm_pulls_back_through_the_denoiser():
    """It differentiates with torch.func; here A = I, and its gradient is written out."""
    sigma, noise = 0.4, 0.2
    x, y = noisy(2, sigma), noisy(2, noise)
    physics = dinv.physics.Denoising(dinv.physics.GaussianNoise(noise))
    denoiser = ours.LEMMSE(photos(12), patch_size=3, dtype=torch.float64)
    fidelity = dinv.sampling.PiGDMDataFidelity(denoiser=denoiser, clip=None)
    got = fidelity.grad(x, y, physics, torch.tensor(sigma))
    point = x.float().requires_grad_()
    denoised = denoiser(point, sigma)
    weights = (denoised.detach() - y) / (sigma**2 / (1 + sigma**2) + noise**2)
    (wanted,) = torch.autograd.grad((denoised * weights).sum(), point)
    torch.testing.assert_close(got, wanted.double(), rtol=1e-3, atol=1e-4)


def test_unfolded_training_of_sigma_and_step():
    x = photos(4, split="test")
    physics = ours.Physics(Blur.gaussian(1.0, (8, 8)), 0.05, generator=generator())
    y = physics(x)
    estimate = lemmse.LEMMSE(photos(12), patch_size=3, dtype=torch.float64)
    model = dinv.unfolded.unfolded_builder(
        "HQS",
        params_algo={"stepsize": [0.3] * 2, "g_param": [0.5] * 2, "lambda": 1.0},
        trainable_params=["stepsize", "g_param"],
        data_fidelity=L2(),
        prior=PnP(ours.Denoiser(estimate)),
        max_iter=2,
    )
    names = {name for name, value in model.named_parameters() if value.requires_grad}
    trained = {f"init_params_algo.{key}.{k}" for key in ("stepsize", "g_param") for k in (0, 1)}
    assert names == trained

    def loss():
        return (model(y, physics) - x).square().mean()

    before = loss()
    before.backward()
    for key in ("stepsize", "g_param"):
        for parameter in model.init_params_algo[key]:
            gradient, at, step = parameter.grad.item(), parameter.item(), 1e-3
            values = []
            for shifted in (at + step, at - step):
                parameter.data.fill_(shifted)
                values.append(loss().item())
            parameter.data.fill_(at)
            difference = (values[0] - values[1]) / (2 * step)
            assert gradient == pytest.approx(difference, rel=1e-2, abs=1e-6)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(5):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss() < 0.9 * before
