"""Our denoisers and physics inside deepinv's algorithms: each is run, and against a plain loop."""

import deepinv as dinv
import numpy as np
import pytest
import torch
from deepinv.optim import DRS, GD, HQS, L2, PGD, RED, PnP

import lemmse
from lemmse import deepinv as ours
from lemmse.metrics import psnr
from lemmse.operators import Blur, Mask

SIZE = (8, 8)
SIGMA = 0.05


def photos(count, split="train"):
    """Corners of photographs, (count, 1, 8, 8), those with most contrast of 200."""
    x = lemmse.datasets.load("photos-grey", split, 200)[:, :, :8, :8]
    return x[x.flatten(1).std(1).argsort(descending=True)[:count]]


@pytest.fixture(scope="module", params=["estimator", "network"])
def denoiser(request):
    if request.param == "network":
        return ours.Denoiser(lemmse.zoo.load("photos-grey/denoising/unet-p5"), beyond="clamp")
    return ours.Denoiser(lemmse.LEMMSE(photos(30), patch_size=5, dtype=torch.float64))


@pytest.fixture(scope="module", params=["blur", "deepinv's blur", "mask"])
def problem(request):
    """A physics, images and their measurements."""
    rng = torch.Generator().manual_seed(0)
    blur = Blur.gaussian(1.0, SIZE)
    if request.param == "mask":
        physics = ours.Physics(Mask.random(0.3, SIZE, seed=1), SIGMA, generator=rng)
    elif request.param == "blur":
        physics = ours.Physics(blur, SIGMA, generator=rng)
    else:
        noise = dinv.physics.GaussianNoise(SIGMA, rng=rng)
        kernel = blur.kernel.value.float()[None, None]
        physics = dinv.physics.BlurFFT((1, *SIZE), kernel, noise_model=noise)
    x = photos(3)  # training images: what is tested is the use of the prior, not the prior
    return physics, x, physics(x)


def error(estimate, x):
    return (estimate - x).square().mean().item()


def as_exactly_as(denoiser, y):
    """Measurements in float64 for an estimator: small differences grow from step to step."""
    return y.double() if isinstance(denoiser.model, lemmse.LEMMSE) else y


def close(got, wanted):
    tolerance = 1e-6 if wanted.dtype == torch.float64 else 2e-5
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance)


def test_pgd(denoiser, problem):
    physics, _, y = problem
    y = as_exactly_as(denoiser, y)
    model = PGD(L2(), PnP(denoiser), stepsize=0.9, sigma_denoiser=0.05, max_iter=4)
    z = physics.A_adjoint(y)
    for _ in range(4):
        z = denoiser(z - 0.9 * physics.A_adjoint(physics.A(z) - y), 0.05)
    result = model(y, physics)
    close(result, z)
    assert not result.requires_grad


def test_hqs(denoiser, problem):
    physics, x, y = problem
    levels, steps = [0.3, 0.1, 0.05], [100.0, 10.0, 3.0]
    y = as_exactly_as(denoiser, y)
    model = HQS(L2(), PnP(denoiser), stepsize=steps, sigma_denoiser=levels, max_iter=3)
    z = physics.A_adjoint(y)
    for level, step in zip(levels, steps, strict=True):
        z = denoiser(physics.prox_l2(z, y, step), level)
    result = model(y, physics)
    close(result, z)
    assert error(result, x) < error(physics.A_adjoint(y), x)


def test_drs(denoiser, problem):
    physics, _, y = problem
    y = as_exactly_as(denoiser, y)
    model = DRS(L2(), PnP(denoiser), stepsize=2.0, beta=0.7, sigma_denoiser=0.1, max_iter=3)
    z = physics.A_adjoint(y)
    for _ in range(3):
        u = physics.prox_l2(z, y, 2.0)
        v = denoiser(2 * u - z, 0.1)
        z = z + 0.7 * (v - u)
    close(model(y, physics), v)


def test_red(denoiser, problem):
    physics, x, y = problem
    y = as_exactly_as(denoiser, y)
    model = GD(L2(), RED(denoiser), stepsize=0.5, lambda_reg=0.8, sigma_denoiser=0.1, max_iter=5)
    z = physics.A_adjoint(y)
    for _ in range(5):
        gradient = physics.A_adjoint(physics.A(z) - y) + 0.8 * (z - denoiser(z, 0.1))
        z = z - 0.5 * gradient
    result = model(y, physics)
    close(result, z)
    assert error(result, x) < error(physics.A_adjoint(y), x)


def test_diffpir(denoiser, problem):
    physics, x, y = problem
    model = dinv.sampling.DiffPIR(denoiser, L2(), sigma=SIGMA, max_iter=20)
    result = model(y, physics, seed=1)
    assert torch.equal(result, model(y, physics, seed=1))
    assert error(result, x) < error(physics.A_adjoint(y), x)
    assert not result.requires_grad


def test_dps(denoiser, problem):
    """The one that needs the gradient of the denoiser."""
    physics, x, y = problem
    model = dinv.sampling.DPS(denoiser, num_steps=12, rng=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    result = model(y, physics, x_init=x.shape)
    assert result.shape == x.shape
    residual = (physics.A(result.float()) - y).square().mean()
    others = (physics.A(photos(30))[:, None] - y).square().mean()
    assert residual < others  # it was led by the measurements


def test_ddrm(denoiser):
    """It needs a singular value decomposition, which deepinv's physics have."""
    mask = Mask.random(0.3, SIZE, seed=1).mask.value.float()
    rng = torch.Generator().manual_seed(0)
    noise = dinv.physics.GaussianNoise(SIGMA, rng=rng)
    physics, x = dinv.physics.Inpainting((1, *SIZE), mask=mask, noise_model=noise), photos(3)
    y = physics(x)
    model = dinv.sampling.DDRM(denoiser, sigmas=np.linspace(1, 0, 12))  # the last level is 0
    result = model(y.clone(), physics, seed=1)  # it writes into the measurements
    assert torch.equal(result, model(y.clone(), physics, seed=1))
    assert error(result, x) < error(y, x)


@pytest.mark.parametrize("name", ["MMSE", "LEMMSE"])
def test_deepinv_tests_a_reconstructor(name):
    physics = ours.Physics(
        Blur.gaussian(1.0, SIZE), SIGMA, generator=torch.Generator().manual_seed(0)
    )
    x = photos(6, "test")
    y = physics(x)
    given = {"preinverse": "tikhonov", "patch_size": 3} if name == "LEMMSE" else {}
    estimate = getattr(lemmse, name)(photos(30), physics, **given)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    scores = dinv.test(
        ours.Reconstructor(estimate),
        data,
        physics,
        metrics=dinv.metric.PSNR(),
        verbose=False,
        show_progress_bar=False,
    )
    ratios = [psnr(a[None], b[None]) for a, b in zip(estimate(y, SIGMA), x, strict=True)]
    assert scores["PSNR"] == pytest.approx(float(sum(ratios)) / len(x), abs=1e-3)
    ratios = [psnr(a[None], b[None]) for a, b in zip(physics.A_adjoint(y), x, strict=True)]
    assert scores["PSNR no learning"] == pytest.approx(float(sum(ratios)) / len(x), abs=1e-3)


def test_a_denoiser_becomes_a_reconstructor_of_deepinv():
    physics = dinv.physics.Denoising(dinv.physics.GaussianNoise(0.25))
    y, denoiser = physics(photos(2, "test")), ours.LEMMSE(photos(12), patch_size=3)
    model = dinv.models.ArtifactRemoval(denoiser, mode="adjoint")
    torch.testing.assert_close(model(y, physics), denoiser(y, 0.25), rtol=0, atol=1e-6)
