"""The linear MMSE estimator: against the formula in numpy, and against other affine estimators."""

import numpy as np
import pytest
import torch

from lemmse.estimators import LinearMMSE
from lemmse.operators import MRI, Blur, Identity, Mask, MatrixOperator, Tomography, materialise
from lemmse.operators.materialise import real_vectors


def images(count, *shape, seed=0):
    """Correlated in space and between channels, with a mean that is not constant."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    x = x + 0.7 * x.roll(1, -1) + 0.5 * x.roll((1, 1), (-2, 1)) + 0.3 * x.roll(2, -2)
    return x + torch.rand(shape, generator=generator, dtype=torch.float64)


SHAPES = pytest.mark.parametrize("shape", [(1, 4, 6), (3, 4, 4)])
KINDS = pytest.mark.parametrize("kind", ["identity", "mask", "blur", "mri", "tomography", "matrix"])


def operator_of(kind, shape):
    size = shape[1:]
    return {
        "identity": lambda: Identity(),
        "mask": lambda: Mask.random(0.4, size),
        "blur": lambda: Blur(torch.rand(3, 3, generator=torch.Generator().manual_seed(1)), size),
        "mri": lambda: MRI.cartesian(2, size),
        "tomography": lambda: Tomography([0.0, 30.0, 100.0], size),
        "matrix": lambda: MatrixOperator(images(10, *shape).flatten(1), shape),
    }[kind]()


def formula(x, operator, y, sigma):
    flat = x.flatten(1).numpy()
    a = materialise(operator.A, x.shape[1:]).numpy()
    mean = flat.mean(0)
    c = np.cov(flat.T, bias=True)
    gain = c @ a.T @ np.linalg.inv(a @ c @ a.T + sigma**2 * np.eye(len(a)))
    return mean + (real_vectors(operator.measured(y)).numpy() - a @ mean) @ gain.T


def all_shifts(x):
    height, width = x.shape[-2:]
    return torch.cat([x.roll((i, j), (-2, -1)) for i in range(height) for j in range(width)])


@SHAPES
@KINDS
@pytest.mark.parametrize("stationary", [False, True])
@pytest.mark.parametrize("count", [5, 60])
def test_formula(shape, kind, stationary, count):
    x, operator = images(count, *shape), operator_of(kind, shape)
    y = operator.measure(images(2, *shape, seed=7), 0.3, torch.Generator().manual_seed(0))
    got = LinearMMSE(x, operator, stationary)(y, 0.3).flatten(1).numpy()
    expected = formula(all_shifts(x) if stationary else x, operator, y, 0.3)
    np.testing.assert_allclose(got, expected, atol=1e-9)


@SHAPES
@KINDS
@pytest.mark.parametrize("stationary", [False, True])
@pytest.mark.parametrize("sigma", [0.05, 0.8])
def test_log_density_is_that_of_the_gaussian(shape, kind, stationary, sigma):
    x, operator = images(8, *shape), operator_of(kind, shape)
    y = operator.measure(images(2, *shape, seed=7), sigma, torch.Generator().manual_seed(0))
    every = all_shifts(x) if stationary else x
    a = materialise(operator.A, shape)
    measured = operator.support(y[:1])[0] > 0  # k-space has entries without noise
    covariance = a @ torch.cov(every.flatten(1).T, correction=0) @ a.T
    covariance = (covariance + sigma**2 * torch.eye(len(a), dtype=a.dtype))[measured][:, measured]
    mean = (a @ every.flatten(1).mean(0))[measured]
    gaussian = torch.distributions.MultivariateNormal(mean, covariance)
    wanted = gaussian.log_prob(real_vectors(y)[:, measured])
    found = LinearMMSE(x, operator, stationary).log_density(y, sigma)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-6)


def test_wiener_filter_in_the_fourier_domain():
    x, operator, sigma = images(40, 1, 6, 8), Blur.gaussian(1.0, (6, 8)), 0.2
    y = operator.measure(x[:3], sigma, torch.Generator().manual_seed(0))
    mean = x.mean()
    b = operator.transfer.value
    power = torch.fft.fft2(x - mean, norm="ortho").abs().square().mean(0)[0]
    gain = b.conj() * power / (b.abs() ** 2 * power + sigma**2)
    expected = mean + torch.fft.ifft2(gain * torch.fft.fft2(y - b[0, 0].real * mean)).real
    estimator = LinearMMSE(x, operator, stationary=True)
    torch.testing.assert_close(estimator(y, sigma), expected)
    torch.testing.assert_close(estimator.spectrum[..., 0, 0].real, power)


@KINDS
def test_no_affine_estimator_is_better_on_the_training_images(kind):
    """The error, averaged over the noise in closed form, rises in whatever direction one goes."""
    shape, sigma = (1, 4, 4), 0.5
    x, operator = images(30, *shape), operator_of(kind, shape)
    estimator = LinearMMSE(x, operator)
    y = operator.A(x)
    a = real_vectors(y).numpy()
    ones = torch.ones_like(y[:1]) * (1 + 1j) if y.is_complex() else torch.ones_like(y[:1])
    noisy = real_vectors(operator.measured(ones))[0].numpy()  # 0 where nothing is measured
    zero = estimator(torch.zeros_like(y[:1]), sigma).flatten().numpy()
    matrix = materialise(
        lambda y: estimator(y, sigma).flatten(1) - torch.from_numpy(zero),
        y.shape[1:],
        y.is_complex(),
    ).numpy()

    def error(matrix, offset):
        residual = a @ matrix.T + offset - x.flatten(1).numpy()
        return (residual**2).sum() / len(x) + sigma**2 * ((matrix * noisy) ** 2).sum()

    best, rng = error(matrix, zero), np.random.default_rng(0)
    for _ in range(20):
        step = 1e-3 * rng.standard_normal(matrix.shape), 1e-3 * rng.standard_normal(zero.shape)
        up, down = error(matrix + step[0], zero + step[1]), error(matrix - step[0], zero - step[1])
        assert min(up, down) > best
        assert up - best == pytest.approx(down - best, rel=1e-5)  # a stationary point


def test_noise_levels_and_precision_of_a_batch():
    x, operator = images(20, 2, 4, 4), Blur.gaussian(0.7, (4, 4))
    y = operator.measure(x[:3], 0.1, torch.Generator().manual_seed(0))
    levels = torch.tensor([0.1, 0.4, 2.0])
    for stationary in (False, True):
        estimator = LinearMMSE(x, operator, stationary)
        expected = torch.cat([estimator(y[i : i + 1], levels[i].item()) for i in range(3)])
        torch.testing.assert_close(estimator(y, levels), expected)
        single = estimator(y.float(), levels)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single, expected.float(), rtol=1e-4, atol=1e-4)


def test_without_variation_the_mean_is_returned():
    x = images(1, 1, 4, 4)
    torch.testing.assert_close(
        LinearMMSE(x)(torch.zeros(2, 1, 4, 4).double(), 0.1), x.repeat(2, 1, 1, 1)
    )


def test_bad_arguments():
    x = images(5, 1, 4, 4)
    for bad in (x[0], x[:0], x * torch.nan, [1]):
        with pytest.raises(ValueError, match="images"):
            LinearMMSE(bad)
    with pytest.raises(ValueError, match="expected"):
        LinearMMSE(x, Blur.gaussian(1.0, (8, 8)))
    estimator = LinearMMSE(x)
    for bad in (x[0], x[..., :2], [1.0], x[:0]):
        with pytest.raises(ValueError, match="y"):
            estimator(bad, 0.1)
    for sigma in (0.0, -1.0, torch.nan, torch.ones(3), "a"):
        with pytest.raises(ValueError, match="sigma"):
            estimator(x[:2], sigma)
    with pytest.raises(ValueError, match="NaN"):
        estimator(x * torch.nan, 0.1)
