"""Noise levels of all kinds, and gradients in y and sigma against finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from variety import ESTIMATORS, PROBLEMS, answers, build, generator, images, measurement

import lemmse

pytestmark = pytest.mark.usefixtures("small_index")
EVERY = pytest.mark.parametrize("name", ESTIMATORS)

ONE = [
    0.3,
    np.float64(0.3),
    np.float32(0.3),
    np.array(0.3),
    [0.3],
    torch.tensor(0.3),
    torch.tensor([0.3]),
    torch.tensor([0.3, 0.3], dtype=torch.float64),
    torch.full((2, 1, 1, 1), 0.3),
    np.full((2, 1, 1, 1), 0.3),
    [torch.tensor(0.3), 0.3],
]


@EVERY
def test_every_form_of_a_noise_level_is_the_same(name):
    estimate, y = build(name), measurement()
    wanted = estimate(y, 0.3)
    for sigma in ONE:
        torch.testing.assert_close(estimate(y, sigma), wanted, rtol=0, atol=1e-6)


@EVERY
def test_each_image_has_its_own_noise_level(name):
    estimate, y = build(name), measurement()
    wanted = torch.cat([estimate(y[:1], 0.1), estimate(y[1:], 0.7)])
    for sigma in ([0.1, 0.7], np.array([0.1, 0.7]), torch.tensor([0.1, 0.7]).view(2, 1, 1, 1)):
        torch.testing.assert_close(estimate(y, sigma), wanted, rtol=0, atol=1e-5)


@EVERY
@pytest.mark.parametrize(
    "sigma",
    [0, -0.1, True, "0.1", None, 0.1j, torch.tensor(0.1j), torch.tensor([True, False]),
     float("nan"), float("inf"), 1e-200, 1e300, 1e-13, 1e13, [0.1, 0.2, 0.3], [],
     torch.full((1, 2), 0.1)],
)  # fmt: skip
def test_what_is_no_noise_level_is_refused(name, sigma):
    with pytest.raises(ValueError, match="expected sigma"):
        build(name)(measurement(), sigma)


@EVERY
@pytest.mark.parametrize("scale", [1e-6, 255.0, 65535.0])
def test_the_range_of_noise_levels_goes_with_the_data(name, scale):
    """Images in other units: the same estimates in these units, and bounds that move along."""
    estimate, y = build(name, x=images() * scale), measurement() * scale
    wanted = build(name)(measurement(), 0.3) * scale
    torch.testing.assert_close(estimate(y, 0.3 * scale), wanted, rtol=0, atol=1e-4 * scale)
    for sigma in (1e-11, 1e11):
        assert estimate(y, sigma * scale).isfinite().all()
    for sigma in (1e-13, 1e13):
        with pytest.raises(ValueError, match="expected sigma"):
            estimate(y, sigma * scale)


@EVERY
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    power=st.one_of(st.integers(-8, 8), st.integers(-120, 120)),
    offset=st.one_of(st.floats(-300, 300), st.floats(-3, 3)),
    sigma=st.floats(0.05, 2), seed=st.integers(0, 50),
)  # fmt: skip
def test_units_and_offsets_of_images_are_a_convention(name, power, offset, sigma, seed):
    """Denoising c x + b in units of c is denoising x: no constant of the code has a unit."""
    unit = 2.0**power
    x = images(dtype=torch.float64)
    y = measurement(dtype=torch.float64) + 0.1 * torch.rand(1, generator=generator(seed)).double()
    wanted = build(name, x=x)(y, sigma)
    moved = build(name, x=unit * (x + offset))(unit * (y + offset), unit * sigma)
    torch.testing.assert_close(moved / unit - offset, wanted, rtol=0, atol=1e-4)


@EVERY
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    power=st.integers(-60, 60), offset=st.one_of(st.floats(-300, 300), st.floats(-3, 3)),
    sigma=st.floats(0.05, 2), seed=st.integers(0, 50),
)  # fmt: skip
def test_single_precision_is_that_of_double_far_from_zero(name, power, offset, sigma, seed):
    """Of the same float32 numbers, whose own rounding at this offset is not the estimator's."""
    unit = 2.0**power
    x = unit * (images() + offset)
    y = unit * (measurement() + 0.1 * torch.rand(1, generator=generator(seed)) + offset)
    wanted = build(name, x=x.double(), dtype=torch.float64)(y.double(), unit * sigma)
    found = build(name, x=x)(y, unit * sigma)
    last_digit = torch.finfo(torch.float32).eps * (1 + abs(offset))  # of the answer
    torch.testing.assert_close(
        found / unit, (wanted / unit).float(), rtol=0, atol=1e-4 + last_digit
    )


@pytest.mark.parametrize(("name", "operator", "kind"), PROBLEMS)
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-66, 2.0**66, 2.0**100])
def test_images_of_any_scale(name, operator, kind, scale):
    """Squares of such numbers vanish or overflow in float32."""
    wanted = build(name, operator, kind)(measurement(operator), 0.1)
    found = build(name, operator, kind, x=images() * scale)(
        measurement(operator) * scale, 0.1 * scale
    )
    torch.testing.assert_close(found / scale, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["LEMMSE", "LocalMMSE", "EquivariantMMSE", "MMSE"])
@pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
def test_a_posterior_of_any_scale(name, scale):
    wanted = build(name).posterior(measurement(), 0.3)
    found = build(name, x=images() * scale).posterior(measurement() * scale, 0.3 * scale)
    torch.testing.assert_close(found.variance / scale**2, wanted.variance, rtol=1e-4, atol=1e-9)
    rank = 30 if "LE" not in name and "Local" not in name else 9
    shift = rank * np.log(scale)
    torch.testing.assert_close(found.log_density + shift, wanted.log_density, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.effective_samples, wanted.effective_samples, rtol=1e-3, atol=0)
    assert torch.equal(found.source, wanted.source)


@EVERY
@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_images_whose_squares_no_number_holds_are_refused(name, scale):
    with pytest.raises(ValueError, match="choose other units"):
        build(name, x=images(dtype=torch.float64) * scale)


@EVERY
def test_measurements_out_of_proportion_are_refused(name):
    with pytest.raises(ValueError, match="expected numbers in y of at most"):
        build(name)(measurement(dtype=torch.float64) * 1e200, 0.1)


@EVERY
def test_black_training_images(name):
    result = build(name, x=torch.zeros(3, 1, 5, 6))(measurement(), 0.3)
    assert result.abs().max() == 0


# Gradients


def difference(function, at, direction, step):
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


@pytest.mark.parametrize("sigma", [0.15, 0.6])
@pytest.mark.parametrize(("name", "operator", "kind"), PROBLEMS)
def test_gradients_in_y_and_sigma(name, operator, kind, sigma):
    """Mean and log-density, float64, in random directions."""
    options = {"tolerance": 1e-13} if name in ("LEMMSE", "LEMMSE d4") else {}
    x = images(dtype=torch.float64)
    estimate = build(name, operator, kind, x=x, dtype=torch.float64, **options)
    y = measurement(operator, dtype=torch.float64).detach()
    levels = torch.tensor([sigma, 1.5 * sigma], dtype=torch.float64)
    along_y = torch.randn(y.shape, generator=generator(5), dtype=y.dtype)
    along_levels = torch.tensor([0.7, -0.4], dtype=torch.float64)
    parts = [torch.randn(a.shape, generator=generator(6 + i)).double()
             for i, a in enumerate(answers(estimate, y, levels))]  # fmt: skip

    for i, weights in enumerate(parts):

        def loss(y, levels, i=i, weights=weights):
            return (answers(estimate, y, levels)[i] * weights).sum()

        leaves = y.clone().requires_grad_(), levels.clone().requires_grad_()
        grad_y, grad_levels = torch.autograd.grad(loss(*leaves), leaves)
        found = (grad_y.conj() * along_y).real.sum() if y.is_complex() else (grad_y * along_y).sum()
        wanted = difference(lambda v: loss(v, levels), y, along_y, 1e-5)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        wanted = difference(lambda s: loss(y, s), levels, along_levels, 1e-6)
        torch.testing.assert_close((grad_levels * along_levels).sum(), wanted, rtol=1e-5, atol=1e-6)


@EVERY
@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 1, 1, 1)])
def test_gradients_reach_noise_levels_of_every_shape(name, shape):
    estimate, y = build(name, dtype=torch.float64), measurement(dtype=torch.float64)
    sigma = torch.full(shape, 0.3, dtype=torch.float64, requires_grad=True)
    estimate(y, sigma).sum().backward()
    wanted = difference(lambda s: estimate(y, s).sum(), sigma.detach(), torch.ones(shape), 1e-5)
    assert sigma.grad.shape == shape
    torch.testing.assert_close(sigma.grad.sum(), wanted, rtol=1e-5, atol=1e-7)


def test_the_gradient_in_sigma_of_single_precision_is_that_of_double():
    x = torch.rand(6, 1, 8, 8, generator=generator())
    y = x + 0.3 * torch.randn(x.shape, generator=generator(1))
    gradients = []
    for dtype in (torch.float32, torch.float64):
        estimate = lemmse.LEMMSE(x.to(dtype), patch_size=3, dtype=dtype, exact=True)
        s = torch.tensor(0.3, dtype=dtype, requires_grad=True)
        estimate(y.to(dtype), s).sum().backward()
        gradients.append(s.grad.item())
    step = difference(lambda s: estimate(y.double(), s).sum(), 0.3, 1, 1e-5)
    assert gradients[1] == pytest.approx(step.item(), rel=1e-6)
    assert gradients[0] == pytest.approx(step.item(), rel=1e-4)


@pytest.mark.parametrize("name", ["LEMMSE", "LEMMSE d4", "LocalMMSE", "EquivariantMMSE", "MMSE"])
def test_what_has_no_gradient_does_not_claim_one(name):
    y = measurement().requires_grad_()
    posterior = build(name).posterior(y, torch.tensor(0.3, requires_grad=True))
    assert posterior.mean.requires_grad
    assert posterior.log_density.requires_grad
    for field in ("variance", "effective_samples", "weight"):
        assert not getattr(posterior, field).requires_grad


@EVERY
def test_vector_jacobian_products(name):
    estimate, y = build(name, dtype=torch.float64), measurement(dtype=torch.float64)
    sigma = torch.tensor(0.3, dtype=torch.float64)
    leaves = y.clone().requires_grad_(), sigma.clone().requires_grad_()
    result = estimate(*leaves)
    direction = torch.randn(result.shape, generator=generator(3), dtype=torch.float64)
    wanted = torch.autograd.grad(result, leaves, direction)
    _, vjp = torch.func.vjp(estimate, y, sigma)
    for a, b in zip(vjp(direction), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["LEMMSE", "LocalMMSE", "EquivariantMMSE", "MMSE"])
def test_second_derivatives_are_refused_in_words(name):
    y = measurement().requires_grad_()
    [gradient] = torch.autograd.grad(build(name)(y, 0.3).sum(), y, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        gradient.sum().backward()


@pytest.mark.parametrize("name", ["LinearMMSE", "Wiener"])
def test_second_derivatives_of_linear_mmse(name):
    estimate, y = build(name), measurement(dtype=torch.float64, batch=1)
    sigma = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda s: estimate(y, s), (sigma,))
