"""The estimators against brute force in float64, and the properties the theory promises."""

import math

import pytest
import torch
from brute_force import BruteForce, mmse
from hypothesis import given, settings
from hypothesis import strategies as st

import lemmse
from lemmse import operators as ops
from lemmse.estimators import local
from lemmse.reduction import index

SIGMAS = (0.001, 0.01, 0.05, 0.2, 1.0)


def photos(count, size, channels=1, split="train"):
    """Small crops of real photographs, with a clipped part so that equal patches occur."""
    name = "photos" if channels == 3 else "photos-grey"
    images = lemmse.datasets.load(name, split=split, n=count)[:, :, : size[0], : size[1]].clone()
    images[0, :, :3] = 0.0
    return images


def tolerance(sigma):
    return 1e-4 if sigma >= 0.01 else 1e-3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["streamed", "indexed"])
def path(request, monkeypatch):
    """Both ways through the engine, the second with blocks small enough to have many of them."""
    least = math.inf if request.param == "streamed" else 0
    monkeypatch.setattr(local, "LEAST_INDEXED", least)
    monkeypatch.setattr(index, "BLOCK", 16)
    return request.param


CASES = {
    "denoising": (lambda size: ops.Identity(), None),
    "inpainting agnostic": (lambda size: ops.Mask.central(4, size), None),
    "inpainting aware": (lambda size: ops.Mask.central(4, size), "pinv"),
    "blur agnostic": (lambda size: ops.Blur.gaussian(1.0, size), None),
    "blur pinv": (lambda size: ops.Blur.gaussian(1.0, size), "pinv"),
    "blur tikhonov": (lambda size: ops.Blur.gaussian(1.0, size), "tikhonov"),
    "MRI": (lambda size: ops.MRI.cartesian(2, size), "adjoint"),
    "tomography": (lambda size: ops.Tomography(list(range(0, 180, 12)), size), "tikhonov"),
}


def largest_errors(estimate, reference, truth):
    """Largest error over some measurements, at each noise level."""
    errors = {}
    for sigma in SIGMAS:
        y = estimate.operator.measure(truth, sigma, generator())
        exact = y.to(torch.complex128 if y.is_complex() else torch.float64)
        z = estimate.preinverse.apply(exact)
        wanted = torch.stack([reference(entry, sigma)[0] for entry in z])
        result = estimate(y, sigma)
        assert result.dtype == torch.float32
        errors[sigma] = (result - wanted).abs().max().item()
    return errors


def worst_errors(name, patch_size, size, channels, count=3):
    """LE-MMSE against brute force, on a training image and on a test image."""
    images = photos(count, size, channels)
    build, kind = CASES[name]
    operator = build(size)
    estimate = lemmse.LEMMSE(images, operator, kind, patch_size=patch_size)
    apply = estimate.preinverse.apply
    reference = BruteForce(images, operator, apply, (patch_size, patch_size))
    truth = torch.cat([images[1:2], photos(1, size, channels, "test")])
    return largest_errors(estimate, reference, truth)


@pytest.mark.parametrize("patch_size", [3, 5, 7])
@pytest.mark.parametrize("name", CASES)
def test_lemmse_is_exact_on_grey_images(name, patch_size, path):
    errors = worst_errors(name, patch_size, (8, 9), channels=1)
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


@pytest.mark.parametrize("name", CASES)
def test_lemmse_is_exact_with_patches_of_eleven(name, path):
    errors = worst_errors(name, 11, (11, 12), channels=1)
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


@pytest.mark.parametrize("patch_size", [3, 5, 7])
@pytest.mark.parametrize("name", CASES)
def test_lemmse_is_exact_on_colour_images(name, patch_size):
    errors = worst_errors(name, patch_size, (7, 8), channels=3)
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


@pytest.mark.parametrize("name", ["denoising", "inpainting aware", "blur tikhonov", "MRI"])
def test_lemmse_is_exact_on_colour_images_with_patches_of_eleven(name):
    errors = worst_errors(name, 11, (11, 11), channels=3, count=2)
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


def dense_reference(images, y, patch_size, sigma):
    """Denoising at scale: float64, exact differences of norms, chunk by chunk."""
    margin = patch_size // 2

    def cut(x):
        padded = torch.nn.functional.pad(x.double(), (margin,) * 4, mode="circular")
        return torch.nn.functional.unfold(padded, patch_size).mT

    queries = cut(y)[0]
    top = torch.full((len(queries),), -math.inf, dtype=torch.float64)
    total, weighted = torch.zeros_like(top), torch.zeros_like(top)
    for chunk in images.split(8):
        keys, values = cut(chunk).flatten(0, 1), chunk.double().flatten()
        logits = -torch.cdist(queries, keys).square() / (2 * sigma**2)
        new = torch.maximum(top, logits.amax(1))
        weights = (logits - new[:, None]).exp()
        decay = (top - new).exp()
        total, weighted = total * decay + weights.sum(1), weighted * decay + weights @ values
        top = new
    return (weighted / total).view(images.shape[1:])


@pytest.mark.parametrize("patch_size", [3, 5, 7, 11])
def test_lemmse_is_exact_at_the_size_it_is_used_at(patch_size):
    images = lemmse.datasets.load("photos-grey", n=16)
    truth = lemmse.datasets.load("photos-grey", split="test", n=1)
    estimate = lemmse.LEMMSE(images, patch_size=patch_size)
    for sigma in (0.001, 0.01, 0.1, 1.0):
        y = truth + sigma * torch.randn(truth.shape, generator=generator())
        error = (estimate(y, sigma)[0] - dense_reference(images, y, patch_size, sigma)).abs().max()
        assert error <= tolerance(sigma)


@pytest.mark.parametrize("name", CASES)
def test_equivariant_mmse_is_lemmse_with_the_whole_image_as_patch(name):
    size = (6, 5)
    images = photos(4, size)
    build, kind = CASES[name]
    operator = build(size)
    estimate = lemmse.EquivariantMMSE(images, operator, kind)
    reference = BruteForce(images, operator, estimate.preinverse.apply, size)
    errors = largest_errors(estimate, reference, images[:2].roll(1, -1))
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


@pytest.mark.parametrize("name", CASES)
def test_local_mmse_uses_only_patches_of_the_same_place(name):
    size = (7, 6)
    images = photos(6, size)
    build, kind = CASES[name]
    operator = build(size)
    estimate = lemmse.LocalMMSE(images, operator, kind, patch_size=3)
    reference = BruteForce(images, operator, estimate.preinverse.apply, (3, 3), True)
    errors = largest_errors(estimate, reference, images[:2])
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


@pytest.mark.parametrize("name", ["denoising", "blur agnostic", "MRI", "tomography"])
def test_mmse_is_exact(name):
    size = (8, 9)
    images = photos(20, size, 3)
    operator = CASES[name][0](size)
    for sigma in SIGMAS:
        y = operator.measure(images[:3], sigma, generator())
        exact = y.to(torch.complex128 if y.is_complex() else torch.float64)

        def flat(t):
            return torch.view_as_real(t).flatten(1) if t.is_complex() else t.flatten(1)

        measured = flat(operator.A(images.double()))
        wanted = torch.stack([mmse(images.double(), measured, v, sigma) for v in flat(exact)])
        result = lemmse.MMSE(images, operator)(y, sigma)
        assert (result - wanted).abs().max() <= tolerance(sigma)


def test_a_subspace_shared_by_some_locations_only():
    """B averages pairs of columns in the left half: two ranks, several subspaces."""
    size = (5, 6)
    matrix = torch.eye(30, dtype=torch.float64)
    for row in range(5):
        pair = [row * 6, row * 6 + 1]
        matrix[pair] = matrix[pair].mean(0)
    images = photos(5, size)
    estimate = lemmse.LEMMSE(images, None, matrix, patch_size=3)
    assert len({group.rank for group in estimate.groups}) > 1
    reference = BruteForce(images, estimate.operator, estimate.preinverse.apply, (3, 3))
    for sigma in (0.01, 0.3):
        y = images[:1] + sigma * torch.randn(images[:1].shape, generator=generator())
        wanted = reference(estimate.preinverse.apply(y.double())[0], sigma)[0]
        assert (estimate(y, sigma)[0] - wanted).abs().max() <= 1e-4


def test_a_deepinv_like_object_stands_in_for_an_operator():
    class Physics:
        def A(self, x):
            return x[..., ::2]

        def A_adjoint(self, y):
            return torch.repeat_interleave(y, 2, -1) * torch.tensor([1.0, 0.0]).repeat(3).to(y)

    images = photos(5, (5, 6))
    estimate = lemmse.LEMMSE(images, Physics(), "pinv", patch_size=3)
    reference = BruteForce(images, Physics(), estimate.preinverse.apply, (3, 3))
    y = images[:1, ..., ::2] + 0.1 * torch.randn(1, 1, 5, 3, generator=generator())
    wanted = reference(estimate.preinverse.apply(y.double())[0], 0.1)[0]
    assert (estimate(y, 0.1)[0] - wanted).abs().max() <= 1e-4


@pytest.mark.parametrize("name", CASES)
def test_some_pixels_are_those_of_the_whole_estimate(name, path):
    size = (8, 9)
    build, kind = CASES[name]
    operator = build(size)
    estimate = lemmse.LEMMSE(photos(3, size), operator, kind, patch_size=3)
    y = operator.measure(photos(2, size, split="test"), 0.1, generator())
    pixels = torch.tensor([[7, 8], [3, 3], [0, 0], [3, 4]])  # both visible and hidden ones
    whole = estimate(y, 0.1)[:, :, pixels[:, 0], pixels[:, 1]].mT
    torch.testing.assert_close(estimate.at(y, 0.1, pixels), whole, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="inside images of size 8 x 9"):
        estimate.at(y, 0.1, [(8, 0)])


@pytest.mark.parametrize("scale", [1.0, 2.0**40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["denoising", "tomography"])
def test_some_pixels_are_in_the_units_of_the_images(name, dtype, scale):
    size = (8, 9)
    build, kind = CASES[name]
    operator = build(size)
    x, truth = (scale * photos(n, size, split=s).to(dtype) for n, s in ((3, "train"), (2, "test")))
    estimate = lemmse.LEMMSE(x, operator, kind, patch_size=3)
    y = operator.measure(truth, 0.1 * scale, generator())
    some = estimate.at(y, 0.1 * scale, [(7, 8), (3, 3)])
    whole = estimate(y, 0.1 * scale)[:, :, [7, 3], [8, 3]].mT
    torch.testing.assert_close(some / scale, whole / scale, rtol=0, atol=1e-5)


# The posterior


def assert_posterior_agrees(estimate, reference, y, sigma):
    """Compares all parts of the posterior of the first image; returns where one pixel wins."""
    mean, wanted = reference(estimate.preinverse.apply(y.double())[0], sigma)
    posterior = estimate.posterior(y, sigma)
    assert (posterior.mean[0] - mean).abs().max() < 1e-4
    assert (posterior.variance[0] - wanted["variance"]).abs().max() < 1e-4
    assert torch.allclose(
        posterior.log_density[0].double(), wanted["log_density"], rtol=1e-5, atol=1e-3
    )
    ratio = posterior.effective_samples[0] / wanted["effective_samples"]
    assert (ratio - 1).abs().max() < 2e-2
    assert (posterior.weight[0] - wanted["weight"]).abs().max() < 2e-3
    # Where one training pixel clearly wins, it is the right one. (Equal patches share the top.)
    clear = wanted["weight"] > 0.51
    source = posterior.source[0]
    location = source[..., 1] * source.shape[1] + source[..., 2]
    assert (source[..., 0] == wanted["image"])[clear].all()
    assert (location == wanted["location"])[clear].all()
    return clear


@pytest.mark.parametrize("name", ["denoising", "inpainting aware", "blur tikhonov", "tomography"])
@pytest.mark.parametrize("sigma", [0.02, 0.3])
def test_posterior_agrees_with_brute_force(name, sigma, path):
    size = (8, 9)
    images = photos(4, size)
    build, kind = CASES[name]
    operator = build(size)
    estimate = lemmse.LEMMSE(images, operator, kind, patch_size=3)
    reference = BruteForce(images, operator, estimate.preinverse.apply, (3, 3))
    y = operator.measure(photos(1, size, split="test"), sigma, generator())
    clear = assert_posterior_agrees(estimate, reference, y, sigma)
    if sigma == 0.02:
        assert clear.any()


@pytest.mark.parametrize("estimator", [lemmse.MMSE, lemmse.EquivariantMMSE, lemmse.LocalMMSE])
def test_posterior_of_the_other_estimators(estimator):
    images = photos(5, (6, 7))
    sigma = 0.01
    y = images[2:3] + sigma * torch.randn(1, 1, 6, 7, generator=generator())
    estimate = estimator(images)
    posterior = estimate.posterior(y, sigma)
    assert torch.equal(posterior.mean, estimate(y, sigma))
    assert (posterior.source[..., 0] == 2).float().mean() > 0.9
    image, row, column = posterior.source[0, 3, 4].tolist()
    assert posterior.weight[0, 3, 4] > 0.6
    assert abs(images[image, 0, row, column] - posterior.mean[0, 0, 3, 4]) < 0.1


def test_log_density_of_mmse_is_that_of_the_mixture():
    images = photos(5, (4, 4))
    y = images[:1] + 0.3
    gaussians = [
        torch.distributions.Normal(x.double(), 0.2).log_prob(y[0].double()).sum() for x in images
    ]
    wanted = torch.logsumexp(torch.stack(gaussians), 0) - math.log(5)
    result = lemmse.MMSE(images).posterior(y, 0.2).log_density
    assert torch.allclose(result, wanted.float().expand(1, 4, 4), rtol=1e-5)


def test_log_density_counts_only_what_was_measured():
    """k-space entries that were not sampled carry no noise, and no density."""
    mri = ops.MRI.cartesian(2, (8, 8))
    image = photos(1, (8, 8))
    result = lemmse.MMSE(image, mri).posterior(mri.A(image), 0.2).log_density[0, 0, 0]
    measured = 2 * int((mri.A(torch.rand(1, 1, 8, 8, generator=generator())) != 0).sum())
    assert math.isclose(result, -measured / 2 * math.log(2 * math.pi * 0.04), rel_tol=1e-5)


# Properties (theory, section 1, facts (a) to (e))


def mean_risks(estimators, images, sigma, draws):
    """Mean square error of each estimator on noisy training images, the same noise for all."""
    g = generator(1)
    risks = torch.zeros(len(estimators), draws)
    for draw in range(draws):
        y = images + sigma * torch.randn(images.shape, generator=g)
        for row, estimate in enumerate(estimators):
            risks[row, draw] = (estimate(y, sigma) - images).square().mean()
    return risks


@pytest.mark.parametrize("sigma", [0.1, 0.4])
def test_a_tighter_constraint_never_lowers_the_risk(sigma):
    images = photos(24, (9, 9))
    risks = mean_risks(
        [
            lemmse.MMSE(images),
            lemmse.LocalMMSE(images, patch_size=7),
            lemmse.EquivariantMMSE(images),
            lemmse.LEMMSE(images, patch_size=7),
            lemmse.LEMMSE(images, patch_size=5),
            lemmse.LEMMSE(images, patch_size=3),
            lemmse.LEMMSE(images, patch_size=1),
        ],
        images,
        sigma,
        draws=12,
    )
    mmse_risk, l7, e, le7, le5, le3, le1 = risks
    for better, worse in [
        (mmse_risk, l7), (mmse_risk, e), (l7, le7), (e, le7), (le7, le5), (le5, le3), (le3, le1),
    ]:  # fmt: skip
        difference = worse - better
        error = difference.std() / math.sqrt(len(difference))
        assert difference.mean() > -2 * error


def test_pythagoras():
    images = photos(12, (8, 8))
    best, other = lemmse.MMSE(images), lemmse.LEMMSE(images, patch_size=3)
    sigma, g = 0.3, generator(2)
    gaps = []
    for _ in range(60):
        y = images + sigma * torch.randn(images.shape, generator=g)
        b, o = best(y, sigma), other(y, sigma)
        parts = ((o - images) ** 2).sum() - ((o - b) ** 2).sum() - ((b - images) ** 2).sum()
        gaps.append(parts)
    gaps = torch.stack(gaps)
    scale = ((o - images) ** 2).sum()
    assert gaps.mean().abs() < 3 * gaps.std() / math.sqrt(len(gaps))
    assert gaps.std() / math.sqrt(len(gaps)) < 0.05 * scale


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(0, 7), columns=st.integers(0, 8), sigma=st.floats(0.02, 2.0),
    seed=st.integers(0, 100),
)  # fmt: skip
def test_lemmse_commutes_with_shifts(rows, columns, sigma, seed):
    images = photos(6, (8, 9))
    estimate = lemmse.LEMMSE(images, patch_size=3)
    y = torch.rand(1, 1, 8, 9, generator=generator(seed))
    shift = {"shifts": (rows, columns), "dims": (-2, -1)}
    assert torch.allclose(
        estimate(y.roll(**shift), sigma), estimate(y, sigma).roll(**shift), atol=1e-5
    )


@settings(max_examples=15, deadline=None)
@given(row=st.integers(0, 7), column=st.integers(0, 8), sigma=st.floats(0.02, 2.0))
def test_lemmse_ignores_everything_outside_the_patch(row, column, sigma):
    estimate = lemmse.LEMMSE(photos(6, (8, 9)), patch_size=3)
    y = torch.rand(1, 1, 8, 9, generator=generator(3))
    inside = torch.zeros(8, 9, dtype=torch.bool)
    inside[0:3, 0:3] = True
    inside = inside.roll((row - 1, column - 1), (0, 1))
    other = torch.where(inside, y, torch.rand(y.shape, generator=generator(4)))
    assert torch.equal(
        estimate(y, sigma)[..., row, column], estimate(other, sigma)[..., row, column]
    )
    assert not torch.equal(estimate(y, sigma), estimate(other, sigma))


@pytest.mark.parametrize("patch_size", [3, 5])
def test_limits_of_small_and_large_noise(patch_size):
    images = photos(6, (8, 9))
    estimate = lemmse.LEMMSE(images, patch_size=patch_size)
    assert torch.allclose(estimate(images, 1e-3), images, atol=1e-4)
    mean = estimate(images[:1], 1e4)
    assert torch.allclose(mean, images.mean().expand_as(mean), atol=1e-4)


def test_one_location_and_the_whole_image_give_mmse():
    """With B = I and P = image size, L-MMSE sees everything at every pixel: it is MMSE."""
    images = photos(8, (7, 7))
    y = images[:2] + 0.2 * torch.randn(2, 1, 7, 7, generator=generator())
    whole = lemmse.LocalMMSE(images, patch_size=7)(y, 0.2)
    assert torch.allclose(whole, lemmse.MMSE(images)(y, 0.2), atol=1e-5)


def test_an_invertible_preinverse_changes_nothing_without_locality():
    images = photos(5, (7, 6))
    blur = ops.Blur.gaussian(0.7, (7, 6))
    y = blur.measure(images[:2].roll(2, -1), 0.1, generator())
    agnostic = lemmse.EquivariantMMSE(images, blur)(y, 0.1)
    for kind in ("pinv", "tikhonov", "adjoint"):
        aware = lemmse.EquivariantMMSE(images, blur, kind)(y, 0.1)
        assert torch.allclose(aware, agnostic, atol=1e-4)


# Gradients


def check_gradient(estimate, y, sigma):
    """The Jacobian applied to a random direction, against central differences in float64."""
    y = y.double().requires_grad_(True)
    direction = torch.randn(y.shape, generator=generator(5), dtype=torch.float64)
    weights = torch.randn(estimate(y.detach(), sigma).shape, generator=generator(6)).double()
    (estimate(y, sigma) * weights).sum().backward()
    step = 1e-5
    plus = estimate(y.detach() + step * direction, sigma)
    minus = estimate(y.detach() - step * direction, sigma)
    wanted = ((plus - minus) * weights).sum() / (2 * step)
    assert torch.isclose((y.grad * direction).sum(), wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["denoising", "inpainting aware", "blur tikhonov", "tomography"])
def test_gradient_of_lemmse(name, path):
    size = (6, 7)
    build, kind = CASES[name]
    operator = build(size)
    images = photos(5, size).double()
    estimate = lemmse.LEMMSE(
        images, operator, kind, patch_size=3, dtype=torch.float64, tolerance=1e-12
    )
    check_gradient(estimate, operator.measure(images[:2], 0.2, generator()), 0.2)


@pytest.mark.parametrize("estimator", [lemmse.MMSE, lemmse.EquivariantMMSE, lemmse.LocalMMSE])
def test_gradient_of_the_other_estimators(estimator):
    images = photos(5, (6, 7)).double()
    y = images[:2] + 0.3 * torch.randn(2, 1, 6, 7, generator=generator()).double()
    check_gradient(estimator(images, dtype=torch.float64), y, 0.3)


def test_tweedie():
    """f(v)_centre = v_centre + sigma^2 d log p(v) / d v_centre, pixel by pixel."""
    images = photos(6, (7, 8)).double()
    estimate = lemmse.LEMMSE(images, patch_size=3, dtype=torch.float64, exact=True)
    y = images[:1] + 0.2 * torch.randn(1, 1, 7, 8, generator=generator()).double()
    for row, column in [(0, 0), (3, 4), (6, 7)]:
        leaf = y.clone().requires_grad_(True)
        posterior = estimate.posterior(leaf, 0.2)
        posterior.log_density[0, row, column].backward()
        score = leaf.grad[0, 0, row, column]
        wanted = y[0, 0, row, column] + 0.2**2 * score
        assert torch.isclose(posterior.mean[0, 0, row, column], wanted, rtol=1e-8)


def test_tweedie_holds_where_the_forward_pass_is_in_float32():
    """Norms of 55 leave the forward pass's log-sum an error that the gradients must not inherit."""
    images = lemmse.datasets.load("photos", n=50)
    y = (images[:2] + 0.3 * torch.randn(2, 3, 32, 32, generator=generator())).double()
    y.requires_grad_(True)
    posterior = lemmse.MMSE(images).posterior(y, 0.3)
    posterior.log_density[:, 0, 0].sum().backward()
    assert torch.allclose(posterior.mean, y + 0.3**2 * y.grad, atol=1e-4)


def test_gradient_outside_the_patch_is_exactly_zero():
    estimate = lemmse.LEMMSE(photos(6, (8, 9)), patch_size=3)
    y = torch.rand(1, 1, 8, 9, generator=generator()).requires_grad_(True)
    estimate(y, 0.2)[0, 0, 4, 4].backward()
    inside = torch.zeros(8, 9, dtype=torch.bool)
    inside[3:6, 3:6] = True
    assert (y.grad[0, 0][~inside] == 0).all()
    assert (y.grad[0, 0][inside] != 0).all()


# Batches, noise levels, precision


def test_a_batch_is_its_images_one_by_one_with_their_own_noise_levels(path):
    images = photos(6, (8, 9))
    estimate = lemmse.LEMMSE(images, patch_size=3)
    y = torch.rand(3, 1, 8, 9, generator=generator())
    sigma = torch.tensor([0.05, 0.3, 1.0])
    together = estimate(y, sigma)
    for i in range(3):
        assert torch.allclose(
            together[i : i + 1], estimate(y[i : i + 1], float(sigma[i])), atol=1e-5
        )


def test_float64_on_request(path):
    images = photos(5, (8, 9)).double()
    y = images[:1] + 0.1 * torch.randn(1, 1, 8, 9, generator=generator()).double()
    estimate = lemmse.LEMMSE(images, patch_size=3, dtype=torch.float64, exact=True)
    reference = BruteForce(images, ops.Identity(), lambda t: t, (3, 3))
    result = estimate(y, 0.1)
    assert result.dtype == torch.float64
    assert (result[0] - reference(y[0], 0.1)[0]).abs().max() < 1e-12


@pytest.mark.parametrize("estimator", [lemmse.LEMMSE, lemmse.LocalMMSE])
def test_whitening_keeps_the_digits_of_images_far_from_zero(estimator):
    """A matrix that is the identity whitens, and centres; without it nothing is whitened."""
    images = 2e7 + 6e4 * torch.rand(3, 1, 5, 6, generator=generator())
    y = images[:2].double() + 600 * torch.randn(2, 1, 5, 6, generator=generator(1)).double()
    plain = estimator(images, patch_size=3, dtype=torch.float64).posterior(y, 600.0)
    eye = estimator(images, None, torch.eye(30), patch_size=3).posterior(y, 600.0)
    torch.testing.assert_close(eye.log_density, plain.log_density, rtol=0, atol=2e-3)


def test_memory_budget_decides_between_index_and_stream():
    images = lemmse.datasets.load("photos-grey", n=32)
    y = images[:1] + 0.1 * torch.randn(1, 1, 32, 32, generator=generator())
    indexed = lemmse.LEMMSE(images, patch_size=3)
    streamed = lemmse.LEMMSE(images, patch_size=3, memory=0)
    [[(_, first)]], [[(_, second)]] = indexed._sources, streamed._sources
    assert isinstance(first, lemmse.reduction.Index)
    assert isinstance(second, lemmse.reduction.Stream)
    assert torch.allclose(indexed(y, 0.1), streamed(y, 0.1), atol=1e-5)


# Bad input

GOOD = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": GOOD[0]}, "shape"),
        ({"images": GOOD[:0]}, "empty"),
        ({"images": GOOD / 0}, "finite"),
        ({"images": GOOD.int()}, "float"),
        ({"images": "photos"}, "photos"),
        ({"patch_size": 4}, "odd"),
        ({"patch_size": 0}, "odd"),
        ({"patch_size": 3.0}, "odd"),
        ({"patch_size": 9}, "at most 8"),
        ({"operator": ops.Blur.gaussian(1.0, (6, 6))}, r"\(6, 6\)"),
        ({"operator": "blur"}, "blur"),
        ({"preinverse": "inverse"}, "inverse"),
        ({"preinverse": "fbp"}, "fbp"),
        ({"regularisation": 0, "preinverse": "tikhonov"}, "> 0"),
        ({"dtype": torch.float16}, "float16"),
        ({"tolerance": 2.0}, "tolerance"),
        ({"memory": -1}, "memory"),
    ],
)
def test_bad_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        lemmse.LEMMSE(**{"images": GOOD, **arguments})


@pytest.mark.parametrize(
    ("y", "sigma", "message"),
    [
        (GOOD[0], 0.1, "B"),
        (GOOD.expand(-1, 3, -1, -1), 0.1, "1, 8, 8"),
        (GOOD * float("nan"), 0.1, "NaN"),
        (GOOD[:0], 0.1, "batch"),
        (GOOD.long(), 0.1, "int64"),
        ("image", 0.1, "str"),
        (GOOD, 0.0, "> 0"),
        (GOOD, -1.0, "> 0"),
        (GOOD, float("nan"), "> 0"),
        (GOOD, float("inf"), "finite"),
        (GOOD, True, "bool"),
        (GOOD, "0.1", "str"),
        (GOOD, torch.ones(3), "4 images"),
    ],
)
@pytest.mark.parametrize(
    "estimator", [lemmse.LEMMSE, lemmse.MMSE, lemmse.LocalMMSE, lemmse.EquivariantMMSE]
)
def test_bad_measurements(estimator, y, sigma, message):
    with pytest.raises(ValueError, match=message):
        estimator(GOOD)(y, sigma)


@pytest.mark.parametrize(
    "estimator", [lemmse.MMSE, lemmse.LocalMMSE, lemmse.EquivariantMMSE, lemmse.LinearMMSE]
)
def test_only_lemmse_takes_images_of_another_size(estimator):
    with pytest.raises(ValueError, match="1, 8, 8"):
        estimator(GOOD)(GOOD[:, :, :7], 0.1)
