"""The samplers: exact where a closed form exists, and what they do to a finite training set."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lemmse
from lemmse.sampling import noise_levels, sample, trajectory

MEAN = torch.tensor([0.3, 0.7], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.09, 0.05], [0.05, 0.04]], dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def gaussian_denoiser(x, sigma):
    """The MMSE estimator of N(MEAN, COVARIANCE) on images of two pixels."""
    eye = torch.eye(2, dtype=torch.float64)
    gain = COVARIANCE @ torch.linalg.inv(COVARIANCE + sigma**2 * eye)
    return (MEAN + (x.flatten(1) - MEAN) @ gain.T).view_as(x)


@pytest.mark.parametrize("stochastic", [0.0, 0.5, 1.0])
def test_gaussian_samples_have_the_right_mean_and_covariance(stochastic):
    start = MEAN.view(1, 1, 1, 2) + 20 * noise(20_000, 1, 1, 2)
    levels = noise_levels(20, 1e-3, steps=300)
    x = sample(gaussian_denoiser, start, levels, stochastic=stochastic, generator=generator(1))
    x = x.flatten(1)
    assert (x.mean(0) - MEAN).abs().max() < 0.01
    assert (x.T.cov() - COVARIANCE).abs().max() < 0.004


def test_few_steps_of_a_gaussian_agree_with_the_product_of_their_gains():
    levels = [5.0, 2.0, 0.5, 0.1, 0.0]
    variance = 0.2

    def shrink(x, sigma):
        return variance / (variance + sigma**2) * x

    x = sample(shrink, torch.ones(1, 1, 1, 1, dtype=torch.float64), levels)
    gains = [
        (variance + s * t) / (variance + s**2) for s, t in zip(levels[:-1], levels[1:], strict=True)
    ]
    assert x.item() == pytest.approx(math.prod(gains), rel=1e-12)


@pytest.mark.parametrize("stochastic", [0.0, 1.0])
def test_the_mmse_denoiser_returns_training_images_and_all_of_them(stochastic):
    images = lemmse.datasets.load("photos-grey", n=4)
    start = images.mean() + 30 * torch.randn(64, 1, 32, 32, generator=generator())
    levels = noise_levels(30, 0.01, steps=40)
    x = sample(lemmse.MMSE(images), start, levels, stochastic=stochastic, generator=generator(1))
    nearest = (x[:, None] - images).abs().amax((2, 3, 4)).min(1)
    assert nearest.values.max() < 1e-4
    assert set(nearest.indices.tolist()) == {0, 1, 2, 3}


@given(st.floats(0, 1), st.floats(0.01, 5), st.floats(0.01, 0.99))
def test_a_perfect_denoiser_leaves_noise_of_the_next_level(stochastic, sigma, ratio):
    truth = torch.full((1, 1, 100, 100), 0.5, dtype=torch.float64)
    x = truth + sigma * noise(1, 1, 100, 100)
    levels = [sigma, sigma * ratio]
    result = sample(
        lambda x, sigma: truth, x, levels, stochastic=stochastic, generator=generator(1)
    )
    assert ((result - truth).std() / levels[1]).item() == pytest.approx(1, abs=0.05)


def test_trajectory_hands_each_result_on_and_ends_in_an_estimate():
    denoiser = lemmse.LEMMSE(lemmse.datasets.load("photos-grey", n=3), patch_size=3)
    start = 0.5 + torch.randn(2, 1, 32, 32, generator=generator())
    levels = noise_levels(1, 0.1, steps=4)
    steps = list(trajectory(denoiser, start, levels, stochastic=0.5, generator=generator(1)))
    assert [step.sigma for step in steps] == levels[:-1].tolist()
    assert steps[0].noisy is start
    for before, after in zip(steps[:-1], steps[1:], strict=True):
        assert after.noisy is before.result
        assert torch.equal(after.estimate, denoiser(after.noisy, after.sigma))
    assert torch.equal(steps[-1].result, steps[-1].estimate)
    again = sample(denoiser, start, levels, stochastic=0.5, generator=generator(1))
    assert torch.equal(again, steps[-1].result)


def test_no_noise_is_drawn_without_need():
    source = generator()
    state = source.get_state()
    sample(lambda x, sigma: 0 * x, torch.ones(1, 1, 2, 2), [1.0, 0.5, 0.0], generator=source)
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_keep_their_precision(dtype):
    x = sample(
        lambda x, sigma: x / 2, torch.ones(1, 3, 2, 2, dtype=dtype), [1.0, 0.5], stochastic=1.0
    )
    assert x.dtype == dtype


def test_noise_levels_follow_equation_5_of_karras_et_al():
    levels = noise_levels(80, 0.002, steps=18)
    assert len(levels) == 19
    assert levels[0].item() == pytest.approx(80)
    assert levels[17].item() == pytest.approx(0.002)
    assert levels[18] == 0
    tenth = (80 ** (1 / 7) + 10 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert levels[10].item() == pytest.approx(tenth)
    assert (levels.diff() < 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 2.0, 5), "largest > smallest"),
        ((1.0, 0.0, 5), "smallest"),
        ((1.0, 0.1, 1), "steps"),
        ((1.0, 0.1, 5, 0), "rho"),
    ],
)
def test_noise_levels_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        noise_levels(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": torch.ones(1, 2, 2)}, "start"),
        ({"start": torch.full((1, 1, 2, 2), torch.nan)}, "finite"),
        ({"sigmas": [1.0]}, "two or more"),
        ({"sigmas": [1.0, 1.0, 0.0]}, "falling"),
        ({"sigmas": [1.0, -0.5]}, ">= 0"),
        ({"sigmas": [math.inf, 1.0]}, "sigmas"),
        ({"stochastic": 1.5}, "from 0 to 1"),
        ({"stochastic": True}, "from 0 to 1"),
        ({"denoiser": lambda x, sigma: x[:, :, 0]}, "denoiser"),
        ({"denoiser": lambda x, sigma: None}, "NoneType"),
    ],
)
def test_sample_refuses(change, message):
    arguments = {
        "denoiser": lambda x, sigma: x,
        "start": torch.ones(1, 1, 2, 2),
        "sigmas": [1.0, 0.0],
    }
    with pytest.raises(ValueError, match=message):
        sample(**{**arguments, **change})
