"""Our estimators and networks as deepinv's denoisers and reconstructors."""

import deepinv as dinv
import numpy as np
import pytest
import torch

import lemmse
from lemmse import deepinv as ours
from lemmse.operators import MRI, Blur, Identity, Mask

SHAPE = (1, 8, 8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(count, dtype=torch.float32, split="train"):
    """Corners of photographs, (count, 1, 8, 8)."""
    return lemmse.datasets.load("photos-grey", split, count)[:, :, :8, :8].to(dtype)


def noisy(count, sigma, dtype=torch.float32):
    x = photos(count, dtype, "test")
    return x + sigma * torch.randn(x.shape, generator=generator(), dtype=dtype)


@pytest.fixture(scope="module")
def estimate():
    return lemmse.LEMMSE(photos(12), patch_size=3)


@pytest.fixture(scope="module")
def network():
    return lemmse.zoo.load("photos-grey/denoising/unet-p5")


# What sigma may be


@pytest.mark.parametrize(
    "sigma",
    [
        0.25,
        np.float32(0.25),
        torch.tensor(0.25),
        torch.tensor([0.25]),
        torch.full((3,), 0.25),
        torch.full((3, 1, 1, 1), 0.25),
        torch.full((1, 1, 1, 1), 0.25),
        [0.25, 0.25, 0.25],
        np.full(3, 0.25),
    ],
    ids=str,
)
def test_a_noise_level_comes_as_anything_that_deepinv_takes(estimate, sigma):
    x = noisy(3, 0.25)
    assert torch.equal(ours.Denoiser(estimate)(x, sigma), estimate(x, 0.25))


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1, 1)])
def test_noise_levels_of_their_own_for_each_image(estimate, network, shape):
    x, levels = noisy(3, 0.2), [0.1, 0.4, 0.8]
    for model in (estimate, network):
        wanted = torch.cat([model(x[i : i + 1], s) for i, s in enumerate(levels)])
        got = ours.Denoiser(model)(x, torch.tensor(levels).reshape(shape))
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("zero", [0, 0.0, torch.tensor(0.0), torch.zeros(3), np.float64(0)])
def test_without_noise_an_image_is_returned_as_it_is(estimate, network, zero):
    x = noisy(3, 0.2)
    for model in (estimate, network):
        denoised = ours.Denoiser(model)(x, zero)
        assert torch.equal(denoised, x)
        assert denoised is not x  # algorithms may write into what they get


def test_some_images_without_noise(estimate, network):
    x = noisy(3, 0.2)
    for model in (estimate, network):
        denoised = ours.Denoiser(model)(x, torch.tensor([0.3, 0.0, 0.5]))
        assert torch.equal(denoised[1], x[1])
        wanted = model(x[[0, 2]], torch.tensor([0.3, 0.5]))
        torch.testing.assert_close(denoised[[0, 2]], wanted, rtol=0, atol=1e-6)


def test_above_the_range_of_a_network(network, estimate):
    x = noisy(2, 0.2)
    with pytest.raises(ValueError, match=r"at most 1.*got 1\.5.*clamp"):
        ours.Denoiser(network)(x, 1.5)
    with pytest.raises(ValueError, match="at most 1"):
        ours.Denoiser(network)(x, torch.tensor([0.5, 3.0]))
    clamped = ours.Denoiser(network, beyond="clamp")
    assert torch.equal(clamped(x, 1.5), network(x, 1.0))
    wanted = network(x, torch.tensor([0.5, 1.0]))
    assert torch.equal(clamped(x, torch.tensor([0.5, 3.0])), wanted)
    assert torch.equal(ours.Denoiser(estimate)(x, 3.0), estimate(x, 3.0))


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (-0.1, ">= 0"),
        (float("nan"), "finite"),
        (torch.full((2, 1, 8, 8), 0.1), r"\(2, 1, 8, 8\)"),  # no map over the pixels
        (torch.tensor([0.1, 0.2, 0.3]), "2 images"),
        ("0.1", "str"),
        (None, "NoneType"),
    ],
)
def test_bad_noise_levels_are_refused(estimate, sigma, message):
    with pytest.raises(ValueError, match=message):
        ours.Denoiser(estimate)(noisy(2, 0.1), sigma)


@pytest.mark.parametrize("x", [None, torch.zeros(2, 8, 8), torch.zeros(1, 1, 8, 8).int()])
def test_no_images(estimate, x):
    with pytest.raises(ValueError, match="x"):
        ours.Denoiser(estimate)(x, 0.1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lemmse.MMSE, "type"),
        (0.5, "float"),
        (lemmse.MMSE(photos(2), Mask.central(2, (8, 8))), "Mask.*Reconstructor"),
        (lemmse.zoo.load("photos-grey/blur/unet-p5-aware"), "another operator or pre-inverse"),
        (lemmse.zoo.load("photos-grey/blur/unet-p5-agnostic"), "another operator"),
        (lemmse.zoo.load("photos-grey/inpainting/unet-p5-agnostic"), "another operator"),
    ],
)
def test_no_denoisers(model, message):
    with pytest.raises(ValueError, match=message):
        ours.Denoiser(model)


@pytest.mark.parametrize("sigma", [0.2, torch.tensor([0.2, 0.0])])
@pytest.mark.parametrize(
    "model",
    [
        lambda x, sigma: x[:, :, 1:],
        lambda x, sigma: torch.zeros(3, 1, 8, 8),
        lambda x, sigma: None,
        lambda x, sigma: x.to(torch.complex64),
    ],
)
def test_a_model_that_returns_other_images_is_refused(model, sigma):
    with pytest.raises(ValueError, match="to images of the same shape, got"):
        ours.Denoiser(model)(torch.rand(2, 1, 8, 8), sigma)


def test_a_model_of_another_precision_gives_that_of_the_images():
    denoiser = ours.Denoiser(lambda x, sigma: x.float() / 2)
    x = noisy(2, 0.2, torch.float64)
    for sigma in (0.2, torch.tensor([0.2, 0.0])):
        assert denoiser(x, sigma).dtype == torch.float64


def test_only_two_things_to_do_beyond_the_range(network):
    with pytest.raises(ValueError, match="clamp"):
        ours.Denoiser(network, beyond="ignore")


# Precision, gradients


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_of_the_images_is_kept(estimate, dtype):
    x = noisy(2, 0.2).to(dtype)
    denoised = ours.Denoiser(estimate)(x, 0.2)
    assert denoised.dtype == dtype
    wanted = estimate(x.to(torch.promote_types(dtype, torch.float32)), 0.2)
    assert torch.equal(denoised, wanted.to(dtype))


def test_no_graph_is_kept_unless_someone_wants_a_gradient(estimate, network):
    x = noisy(2, 0.2)
    for model in (estimate, network):
        assert not ours.Denoiser(model)(x, torch.tensor([0.2, 0.0])).requires_grad
        assert ours.Denoiser(model)(x.clone().requires_grad_(), 0.2).requires_grad


# The same function as deepinv's


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3, 1.0, 5.0])
def test_mmse_is_that_of_deepinv(sigma):
    x, images = noisy(3, min(sigma, 1), torch.float64), photos(40, torch.float64)
    theirs = dinv.models.MMSE(images, torch.device("cpu"), torch.float64)
    mine = ours.MMSE(images, dtype=torch.float64)
    # They add 1e-12 to 2 sigma^2, which moves a weight by 1e-12 |y - x_k|^2 / 4 sigma^4 at most.
    distance = torch.cdist(x.flatten(1), images.flatten(1)).max().item()
    tolerance = 1e-12 * (1 + distance**2 / sigma**4)
    levels = torch.full((3,), sigma, dtype=torch.float64)
    torch.testing.assert_close(mine(x, levels), theirs(x, levels), rtol=0, atol=tolerance)


def test_images_come_from_a_tensor_or_a_loader():
    images, x = photos(10), noisy(2, 0.2)
    wanted = lemmse.LEMMSE(images, patch_size=3)(x, 0.2)
    load = torch.utils.data.DataLoader
    pairs = torch.utils.data.TensorDataset(images, torch.arange(10))
    keyed = [{"x": image} for image in images]
    for source in (images, load(images, 4), load(pairs, 4), load(keyed, 3)):
        assert torch.equal(ours.LEMMSE(source, patch_size=3)(x, 0.2), wanted)
    assert torch.equal(ours.MMSE(load(pairs, 3))(x, 0.2), lemmse.MMSE(images)(x, 0.2))


@pytest.mark.parametrize(
    "source",
    [None, 5, "photos", [], photos(2).numpy(), [photos(2), photos(2)[..., 1:]], [{"image": 1}]],
)
def test_what_gives_no_images_is_told(source):
    with pytest.raises(ValueError, match=r"a loader of batches of them.*got"):
        ours.MMSE(source)


# Reconstruction


@pytest.fixture(scope="module")
def blur():
    return Blur.gaussian(1.0, (8, 8))


@pytest.mark.parametrize("sigma", [0.1, torch.tensor([0.1, 0.3])])
def test_a_reconstructor_reads_the_noise_level_of_the_physics(blur, sigma):
    physics = ours.Physics(blur, sigma)
    y = physics(photos(2, split="test"))
    estimate = lemmse.LEMMSE(photos(6), blur, "tikhonov", patch_size=3)
    model = ours.Reconstructor(estimate)
    assert isinstance(model, dinv.models.Reconstructor)
    assert torch.equal(model(y, physics), estimate(y, physics.noise_model.sigma))
    physics.update(sigma=0.7)
    torch.testing.assert_close(model(y, physics), estimate(y, 0.7))


def test_a_reconstructor_with_physics_of_deepinv():
    mask = Mask.central(4, (8, 8)).mask.value.float()
    physics = dinv.physics.Inpainting(
        SHAPE, mask=mask, noise_model=dinv.physics.GaussianNoise(0.125)
    )
    y = physics(photos(2, split="test"))
    estimate = lemmse.LEMMSE(photos(6), physics, "pinv", patch_size=3)
    assert torch.equal(ours.Reconstructor(estimate)(y, physics), estimate(y, 0.125))
    physics.update(mask=1 - mask[None])
    with pytest.raises(ValueError, match="measures as the model's Inpainting does"):
        ours.Reconstructor(estimate)(y, physics)


def test_a_reconstructor_with_a_network(blur):
    network = lemmse.networks.UnrolledGradient(blur, SHAPE, layers=3)
    physics = ours.Physics(blur, 0.25)
    y = physics(photos(2, split="test"))
    assert torch.equal(ours.Reconstructor(network)(y, physics), network(y, 0.25))


def test_measurements_of_mri_come_in_the_layout_of_deepinv():
    mri = MRI.cartesian(2, (8, 8), seed=1)
    x, estimate = photos(2, split="test"), lemmse.LEMMSE(photos(6), mri, "adjoint", patch_size=3)
    physics = ours.Physics(mri, 0.25)
    y = physics(x)
    assert y.shape == (2, 2, 8, 8)
    wanted = estimate(physics.operator.natural(y), 0.25)
    assert torch.equal(ours.Reconstructor(estimate)(y, physics), wanted)
    centred = torch.fft.fftshift(mri.mask.value)[None, None]
    theirs = dinv.physics.MRI(centred, noise_model=dinv.physics.GaussianNoise(0.25))
    assert torch.equal(ours.Reconstructor(estimate)(y, theirs), wanted)
    # Where the origin of the image is does not matter to an equivariant estimator, but to L-MMSE.
    local = lemmse.LocalMMSE(photos(6), mri, "adjoint", patch_size=3)
    direct = local(mri.A(x), 0.01)
    again = ours.Reconstructor(local)(ours.Physics(mri, 0.01).A(x), ours.Physics(mri, 0.01))
    torch.testing.assert_close(again, direct, rtol=0, atol=1e-5)


class Complex(dinv.physics.LinearPhysics):
    """Measurements that are complex numbers."""

    def A(self, x, **kwargs):
        return torch.fft.fft2(x, norm="ortho")

    def A_adjoint(self, y, **kwargs):
        return torch.fft.ifft2(y, norm="ortho").real


def test_complex_noise_is_counted_as_deepinv_draws_it():
    noise = dinv.physics.GaussianNoise(0.5, rng=generator())
    physics = Complex(noise_model=noise, img_size=SHAPE)
    x = photos(3)
    y = physics(x)
    zero = torch.zeros(500, *SHAPE)
    spread = torch.view_as_real(physics(zero)).std().item()
    assert spread == pytest.approx(0.5 / 2**0.5, rel=0.02)
    images = photos(12).double()
    distances = (physics.A(images)[None] - y[:, None]).abs().square().flatten(2).sum(2)
    weights = torch.softmax(-distances / (2 * 0.5**2 / 2), 1)
    wanted = (weights @ images.flatten(1)).reshape(x.shape)
    got = ours.Reconstructor(lemmse.MMSE(photos(12), physics))(y, physics)
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-5)


def test_a_physics_that_changes_is_another_one():
    kernel = torch.ones(1, 1, 3, 3) / 9
    physics = dinv.physics.Blur(kernel, "valid", noise_model=dinv.physics.GaussianNoise(0.1))
    y = physics(photos(2, split="test"))
    estimate = lemmse.LEMMSE(photos(6), physics, "tikhonov", patch_size=3)
    wanted = estimate(y, 0.1)
    physics.update(filter=torch.eye(3)[None, None] / 3)
    assert torch.equal(estimate(y, 0.1), wanted)
    with pytest.raises(ValueError, match="measures as the model's"):
        ours.Reconstructor(estimate)(y, physics)


def test_no_measurements(blur):
    model = ours.Reconstructor(lemmse.MMSE(photos(3), blur))
    with pytest.raises(ValueError, match="expected y to be a tensor of measurements"):
        model(None, ours.Physics(blur, 0.1))


def test_physics_that_do_not_fit_the_model(blur):
    model = ours.Reconstructor(lemmse.MMSE(photos(3), blur))
    y = torch.zeros(2, 1, 8, 8)
    sharper = ours.Physics(Blur.gaussian(0.9, (8, 8)), 0.1)
    smaller = ours.Physics(Blur.gaussian(1.0, (6, 6)), 0.1)
    for physics in (sharper, smaller):
        with pytest.raises(ValueError, match="measures as the model's Blur does"):
            model(y, physics)
    poisson = dinv.physics.Denoising(dinv.physics.PoissonNoise(0.1))
    for physics in (poisson, dinv.physics.LinearPhysics(), None):
        with pytest.raises(ValueError, match="Gaussian noise"):
            model(y, physics)


@pytest.mark.parametrize("model", [lemmse.MMSE, abs, Identity(), None])
def test_no_reconstructors(model):
    with pytest.raises(ValueError, match="operator and image_shape"):
        ours.Reconstructor(model)
