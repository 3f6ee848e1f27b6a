"""deepinv's own operators in our estimators: recognised, exact, and as fast as ours."""

import math

import deepinv as dinv
import pytest
import torch
from brute_force import BruteForce

import lemmse
from lemmse import deepinv as ours
from lemmse.operators import Blur, General, Identity, Mask, Stationary, as_operator
from lemmse.operators.foreign import ForeignOperator

SIZE = (7, 8)
THEIRS = dinv.physics


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bernoulli(*shape, seed=0):
    return (random(*shape, seed=seed) > 0).float()


def kernel(h, w, channels=1):
    k = torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(1))
    return (k / k.sum()).expand(1, channels, h, w).contiguous()


def even(mask):
    natural = torch.fft.ifftshift(mask)
    return torch.fft.fftshift(natural * natural.flip(0, 1).roll((1, 1), (0, 1)))


KNOWN = {
    "denoising": (lambda: THEIRS.Denoising(), 2, Identity),
    "inpainting": (
        lambda: THEIRS.Inpainting((2, *SIZE), mask=bernoulli(*SIZE)),
        2,
        ours.Inpainting,
    ),
    "inpainting-channels": (
        lambda: THEIRS.Inpainting((2, *SIZE), mask=bernoulli(2, *SIZE)),
        2,
        ours.Inpainting,
    ),
    "demosaicing": (lambda: THEIRS.Demosaicing((3, *SIZE)), 3, ours.Inpainting),
    "blur-fft": (lambda: THEIRS.BlurFFT((2, *SIZE), kernel(3, 5)), 2, Blur),
    "blur-fft-even": (lambda: THEIRS.BlurFFT((1, *SIZE), kernel(4, 2)), 1, Blur),
    "blur-circular": (lambda: THEIRS.Blur(kernel(3, 5), padding="circular"), 2, Blur),
    "blur-circular-even": (lambda: THEIRS.Blur(kernel(4, 4), padding="circular"), 1, Blur),
    "blur-circular-fft": (
        lambda: THEIRS.Blur(kernel(5, 3, 2), padding="circular", use_fft=True),
        2,
        Blur,
    ),
    "mri-real": (lambda: THEIRS.MRI(bernoulli(*SIZE)), 1, ours.RealImageMRI),
    "mri-complex": (lambda: THEIRS.MRI(bernoulli(*SIZE)), 2, ours.ComplexImageMRI),
    "ours": (lambda: ours.Physics(Blur.gaussian(1.0, SIZE), 0.1), 2, Blur),
}


@pytest.mark.parametrize(("build", "channels", "kind"), KNOWN.values(), ids=KNOWN.keys())
def test_recognised_and_the_same_to_rounding(build, channels, kind):
    physics = build()
    operator = as_operator(physics, (channels, *SIZE))
    assert type(operator) is kind
    x = random(3, channels, *SIZE).float()
    seen = x
    if kind is ours.RealImageMRI:
        seen = torch.cat([x, torch.zeros_like(x)], 1)
    y = physics.A(seen)
    torch.testing.assert_close(operator.A(x), y, rtol=0, atol=2e-6)
    y = y + physics.A(seen.flip(0))
    adjoint = physics.A_adjoint(y)[:, :channels]
    torch.testing.assert_close(operator.A_adjoint(y), adjoint, rtol=0, atol=5e-6)


def test_noise_of_inpainting_is_where_theirs_is():
    mask = bernoulli(*SIZE)
    physics = THEIRS.Inpainting((1, *SIZE), mask=mask, noise_model=THEIRS.GaussianNoise(0.5))
    x = torch.rand(2, 1, *SIZE)
    operator = as_operator(physics, (1, *SIZE))
    for y in (physics(x), operator.measure(x, 0.5)):
        assert (y[..., mask == 0] == 0).all()
        assert (y[..., mask == 1] != x[..., mask == 1]).all()
    # The density of a measurement without error, of one training image, counts the dimensions.
    density = lemmse.MMSE(x[:1], physics).posterior(physics.A(x[:1]), 0.5).log_density
    wanted = -mask.sum() / 2 * math.log(2 * math.pi * 0.5**2)
    torch.testing.assert_close(density, wanted.expand(1, *SIZE), rtol=1e-5, atol=0)


def test_noise_that_is_not_gaussian_is_warned_about():
    with pytest.warns(UserWarning, match="PoissonNoise"):
        as_operator(THEIRS.Denoising(THEIRS.PoissonNoise(0.1)), (1, *SIZE))


class Squeezed(THEIRS.Denoising):
    """A subclass that measures something else."""

    def A(self, x, **kwargs):
        return 0.5 * x


OTHERS = {
    "kernels": lambda: THEIRS.Blur(torch.cat([kernel(3, 3), kernel(3, 3).flip(3)], 1), "circular"),
    "valid": lambda: THEIRS.Blur(kernel(3, 3)),
    "grey-mask": lambda: THEIRS.Inpainting((2, *SIZE), mask=torch.full(SIZE, 0.5)),
    "subclass": lambda: Squeezed(),
    "downsampling": lambda: THEIRS.Downsampling((2, *SIZE), filter=None, factor=2),
}


@pytest.mark.parametrize("build", OTHERS.values(), ids=OTHERS.keys())
def test_others_are_written_out_as_matrices(build):
    physics = build()
    operator = as_operator(physics, (2, *SIZE))
    assert isinstance(operator, ForeignOperator)
    assert isinstance(operator.preinverse("adjoint").noise, General)
    x = random(1, 2, *SIZE).float()
    assert torch.equal(operator.A(x), physics.A(x))


def images(count, channels, split="train"):
    x = lemmse.datasets.load("photos" if channels == 3 else "photos-grey", split, count)
    x = x[:, :, : SIZE[0], : SIZE[1]]
    return x if channels != 2 else torch.cat([x, x.flip(0)], 1)


ESTIMATED = [
    ("inpainting", None),
    ("inpainting", "pinv"),
    ("inpainting-channels", None),
    ("demosaicing", "tikhonov"),
    ("blur-fft", "tikhonov"),
    ("blur-circular", "tikhonov"),
    ("mri-real", "adjoint"),
    ("mri-real", "pinv"),
    ("mri-complex", "adjoint"),
]


@pytest.mark.parametrize(("name", "kind"), ESTIMATED)
def test_estimates_with_their_physics_are_brute_force(name, kind):
    build, channels, _ = KNOWN[name]
    physics = build()
    physics.noise_model = THEIRS.GaussianNoise(0.1, rng=torch.Generator().manual_seed(0))
    train, test = images(4, channels), images(1, channels, "test")
    estimate = lemmse.LEMMSE(train, physics, kind, patch_size=3)

    class Real:
        """The physics on real images."""

        def A(self, x):
            wide = name == "mri-real"
            return physics.double().A(torch.cat([x, torch.zeros_like(x)], 1) if wide else x)

    y = Real().A(test.double())
    y = y + (physics.noise(torch.zeros_like(y)))
    reference = BruteForce(train, Real(), estimate.preinverse.apply, (3, 3))
    wanted = reference(estimate.preinverse.apply(y)[0], 0.1)[0]
    assert (estimate(y, 0.1)[0] - wanted).abs().max() <= 1e-4


@pytest.mark.parametrize("estimator", ["MMSE", "EquivariantMMSE", "LocalMMSE", "LEMMSE"])
def test_estimates_are_those_with_our_operators(estimator):
    train, y = images(5, 1), images(2, 1, "test")
    blur = kernel(3, 5)
    results = []
    for operator in (Blur(blur[0, 0], SIZE), THEIRS.BlurFFT((1, *SIZE), blur)):
        given = {} if estimator == "MMSE" else {"preinverse": "tikhonov"}
        given |= {"patch_size": 3} if estimator in ("LocalMMSE", "LEMMSE") else {}
        results.append(getattr(lemmse, estimator)(train, operator, **given)(y, 0.2))
    assert torch.equal(*results)


def test_complex_images_share_one_whitening():
    """So that they are streamed and indexed as with our operators, not location by location."""
    physics = THEIRS.MRI(bernoulli(*SIZE))  # the mask is not even: channels are mixed
    estimate = lemmse.LEMMSE(images(3, 2), physics, "adjoint", patch_size=3)
    assert isinstance(estimate.preinverse.noise, General)
    assert [group.shared for group in estimate.groups] == [True]
    symmetric = THEIRS.MRI(even(bernoulli(*SIZE)))
    noise = lemmse.LEMMSE(images(3, 2), symmetric, "adjoint", patch_size=3).preinverse.noise
    assert isinstance(noise, Stationary)


def test_the_package_does_without_deepinv():
    """deepinv is imported with ``lemmse.deepinv``, which an object of deepinv brings."""
    import subprocess
    import sys

    code = "import lemmse, sys; assert not {'deepinv', 'lemmse.deepinv'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert isinstance(as_operator(Mask.central(2, SIZE), None), Mask)
