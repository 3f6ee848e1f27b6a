"""All shifts at once by FFT against the same shifts one after the other."""

import pytest
import torch

import lemmse
from lemmse.estimators.shifts import IMAGES_AT_ONCE, Shifts

BLUR = lemmse.operators.Blur.gaussian(1.0, (7, 6))


def estimator(dtype, operator=None, images=IMAGES_AT_ONCE + 9, channels=2):
    """E-MMSE of an odd number of images, more than are taken at once."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(images, channels, 7, 6, generator=generator, dtype=torch.float64)
    preinverse = None if operator is None else "tikhonov"
    return lemmse.EquivariantMMSE(x, operator, preinverse=preinverse, dtype=dtype)


def answers(estimate, sigma):
    """The pixels, their log-density and the gradient of a sum of both."""
    generator = torch.Generator().manual_seed(1)
    y = torch.rand(2, *estimate.image_shape, generator=generator, dtype=torch.float64)
    y.requires_grad_()
    levels = torch.tensor([sigma, 1.1 * sigma], dtype=torch.float64, requires_grad=True)
    state = estimate._evaluate(*estimate._checked(y, levels), details=False)
    mean, density = state.mean, state.log_sum
    slope = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    total = (slope * mean).sum() + density.sum()
    return mean.detach(), density.detach(), *torch.autograd.grad(total, (y, levels))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
@pytest.mark.parametrize("operator", [None, BLUR], ids=["denoising", "blur"])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_all_shifts_at_once_are_each_shift_after_the_other(
    dtype, error, operator, sigma, monkeypatch
):
    estimate = estimator(dtype, operator)
    at_once = answers(estimate, sigma)
    monkeypatch.setattr(Shifts, "precise", lambda *_: False)
    for found, wanted in zip(at_once, answers(estimate, sigma), strict=True):
        torch.testing.assert_close(
            found, wanted, rtol=error, atol=error * wanted.abs().max().item()
        )


def test_they_are_taken_at_once_where_the_rounding_of_float32_is_not_felt():
    estimate = estimator(torch.float32)
    z = estimate.images[0]
    precision = [torch.tensor(1 / sigma**2, dtype=torch.float64) for sigma in (1.0, 1e-3)]
    assert [estimate._shifts.precise(z, p) for p in precision] == [True, False]


def test_images_far_from_zero_keep_their_digits():
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(5, 1, 6, 6, generator=generator, dtype=torch.float64)
    y = x[:1] + 0.3 * torch.randn(1, 1, 6, 6, generator=generator, dtype=torch.float64)
    found = lemmse.EquivariantMMSE(x + 1000)(y + 1000, 0.3) - 1000
    wanted = lemmse.EquivariantMMSE(x, dtype=torch.float64)(y, 0.3)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)
