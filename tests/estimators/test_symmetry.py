"""LE-MMSE under flips and quarter turns: against brute force, and what the symmetry promises."""

import itertools
import math

import pytest
import torch
from brute_force import BruteForce
from hypothesis import given, settings
from hypothesis import strategies as st
from test_estimators import (
    CASES,
    assert_posterior_agrees,
    check_gradient,
    generator,
    largest_errors,
    path,  # noqa: F401 (a fixture)
    photos,
    tolerance,
)

import lemmse
from lemmse import operators as ops
from lemmse.symmetry import partners, transformations


def eight(images):
    """The flipped and turned copies of square images, the images first."""
    return [m.rot90(turn, (-2, -1)) for m in (images, images.flip(-1)) for turn in range(4)]


def d4(images, operator=None, kind=None, **options):
    return lemmse.LEMMSE(images, operator, kind, symmetry="d4", **options)


# The transformations


def test_the_transformations_are_the_group_of_the_square():
    group = {tuple(t) for t in transformations("d4", 3).tolist()}
    assert len(group) == 8
    for s, t in itertools.product(group, group):
        assert tuple(s[i] for i in t) in group
    corners = [t for t in group if t[4] == 4 and {t[0], t[2], t[6], t[8]} == {0, 2, 6, 8}]
    assert len(corners) == 8


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_of_a_transformed_image_are_transformed_patches(channels):
    image = torch.rand(1, channels, 6, 6, generator=generator())
    place = torch.arange(36).view(1, 1, 6, 6)
    patches = lemmse.fields.extract(image, 3)[0]
    table = transformations("d4", 3, channels)
    for t, turned, n in zip(table, eight(image), eight(place), strict=True):
        assert torch.equal(lemmse.fields.extract(turned, 3)[0], patches[n.flatten()][:, t])


# Against brute force


def worst_errors(name, patch_size, size, channels, count):
    images = photos(count, size, channels)
    build, kind = CASES[name]
    operator = build(size)
    estimate = d4(images, operator, kind, patch_size=patch_size)
    apply = estimate.preinverse.apply
    reference = BruteForce(images, operator, apply, (patch_size, patch_size), symmetry=True)
    truth = torch.cat([images[1:2], photos(1, size, channels, "test")])
    return largest_errors(estimate, reference, truth)


@pytest.mark.parametrize("name", CASES)
def test_exact_on_grey_images(name, path):  # noqa: F811
    errors = worst_errors(name, 3, (7, 8), channels=1, count=3)
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


@pytest.mark.parametrize("name", CASES)
def test_exact_with_patches_of_five(name):
    errors = worst_errors(name, 5, (7, 8), channels=1, count=2)
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


@pytest.mark.parametrize("name", ["denoising", "inpainting aware", "blur tikhonov", "tomography"])
def test_exact_on_colour_images(name):
    errors = worst_errors(name, 3, (6, 6), channels=3, count=2)
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


OPERATORS = {
    "motion blur": lambda size: (ops.Blur.motion(3, 0.0, size), "tikhonov"),
    # Every other column is hidden: a quarter turn takes no pattern to another.
    "columns": lambda size: (ops.Mask((torch.arange(size[1]) % 2).expand(size).bool()), "pinv"),
    # The hidden rectangle is not square: only some patterns have turned partners.
    "rectangle": lambda size: (ops.Mask(rectangle(size)), "pinv"),
    # Stripes that survive: a covariance of rank P, of a subspace that a quarter turn moves.
    "columns averaged": lambda size: (None, averaging(size)),
}


def rectangle(size):
    mask = torch.ones(size, dtype=torch.bool)
    mask[2:4, 2:7] = False
    return mask


def averaging(size):
    """Replaces every pixel by the mean of its column."""
    rows, columns = size
    return torch.kron(torch.full((rows, rows), 1 / rows), torch.eye(columns)).double()


@pytest.mark.parametrize("name", OPERATORS)
def test_exact_where_the_noise_is_not_symmetric(name):
    size = (8, 9)
    images = photos(4, size)
    operator, kind = OPERATORS[name](size)
    estimate = d4(images, operator, kind, patch_size=3)
    reference = BruteForce(
        images, estimate.operator, estimate.preinverse.apply, (3, 3), symmetry=True
    )
    truth = torch.cat([images[1:2], photos(1, size, split="test")])
    errors = largest_errors(estimate, reference, truth)
    assert all(error <= tolerance(sigma) for sigma, error in errors.items()), errors


def test_which_patterns_vote_for_each_other():
    """Beside a square hole all eight copies of a pattern occur; between columns only flips do."""
    counts = {}
    for name, mask in {
        "square": ops.Mask.central(4, (9, 9)),
        "columns": OPERATORS["columns"]((8, 8))[0],
    }.items():
        estimate = lemmse.LEMMSE(photos(2, mask.image_shape), mask, "pinv", patch_size=3)
        found = partners(estimate.groups, transformations("d4", 3))
        counts[name] = {sum(len(which) for which in voters.values()) for voters in found}
        for i, voters in enumerate(found):
            assert 0 in voters[i]
            assert all(i in found[j] for j in voters)
    assert counts == {"square": {8}, "columns": {4}}


@pytest.mark.parametrize("name", ["denoising", "inpainting aware", "blur tikhonov", "tomography"])
@pytest.mark.parametrize("sigma", [0.005, 0.3])
def test_posterior_agrees_with_brute_force(name, sigma, path):  # noqa: F811
    size = (8, 9)
    images = photos(3, size)
    build, kind = CASES[name]
    operator = build(size)
    estimate = d4(images, operator, kind, patch_size=3)
    reference = BruteForce(images, operator, estimate.preinverse.apply, (3, 3), symmetry=True)
    # A turned training image: at small sigma its turned patches win.
    y = operator.measure(
        images[2:3, :, :, :8].rot90(1, (2, 3)).repeat(1, 1, 1, 2)[..., :9], sigma, generator()
    )
    clear = assert_posterior_agrees(estimate, reference, y, sigma)
    if sigma == 0.005 and name == "denoising":
        assert clear.any()


# What the symmetry promises


@settings(max_examples=15, deadline=None)
@given(
    which=st.integers(0, 7), shift=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    sigma=st.floats(0.02, 2.0), seed=st.integers(0, 100),
)  # fmt: skip
def test_it_commutes_with_flips_turns_and_shifts(which, shift, sigma, seed):
    estimate = d4(photos(5, (8, 8)).double(), patch_size=3, dtype=torch.float64, exact=True)
    y = torch.rand(1, 1, 8, 8, generator=generator(seed)).double()

    def move(t):
        return eight(t)[which].roll(shift, (-2, -1))

    assert torch.allclose(estimate(move(y), sigma), move(estimate(y, sigma)), rtol=0, atol=1e-12)


def test_it_commutes_in_colour_and_float32_and_the_plain_one_does_not():
    images = photos(4, (8, 8), channels=3)
    y = images[:1] + 0.2 * torch.randn(1, 3, 8, 8, generator=generator())
    for symmetry, commutes in (("d4", True), (None, False)):
        estimate = lemmse.LEMMSE(images, patch_size=3, symmetry=symmetry)
        pairs = zip(eight(y), eight(estimate(y, 0.2)), strict=True)
        errors = [(estimate(turned, 0.2) - wanted).abs().max().item() for turned, wanted in pairs]
        assert (max(errors) < 1e-5) == commutes


def test_it_commutes_behind_a_symmetric_blur():
    images = photos(5, (8, 8))
    blur = ops.Blur.gaussian(0.8, (8, 8))
    estimate = d4(images, blur, "tikhonov", patch_size=3)
    y = blur.measure(images[:1], 0.1, generator())
    for turned, wanted in zip(eight(y), eight(estimate(y, 0.1)), strict=True):
        assert torch.allclose(estimate(turned, 0.1), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", [None, "tikhonov"])
def test_behind_a_symmetric_operator_it_is_lemmse_with_transformed_images_added(kind):
    images = photos(4, (8, 8))
    blur = ops.Blur.gaussian(0.8, (8, 8))
    y = blur.measure(photos(1, (8, 8), split="test"), 0.1, generator())
    options = {"preinverse": kind, "patch_size": 3}
    symmetric = lemmse.LEMMSE(images, blur, symmetry="d4", **options).posterior(y, 0.1)
    added = lemmse.LEMMSE(torch.cat(eight(images)), blur, **options).posterior(y, 0.1)
    for name in ("mean", "variance", "log_density", "weight"):
        assert torch.allclose(getattr(symmetric, name), getattr(added, name), atol=1e-4)


def test_the_constraint_raises_the_risk_on_the_training_set():
    images = photos(24, (9, 9))
    free, bound = lemmse.LEMMSE(images, patch_size=5), d4(images, patch_size=5)
    g = generator(1)
    differences = []
    for _ in range(8):
        y = images + 0.1 * torch.randn(images.shape, generator=g)
        differences.append(((bound(y, 0.1) - images) ** 2 - (free(y, 0.1) - images) ** 2).mean())
    differences = torch.stack(differences)
    assert differences.mean() > 3 * differences.std() / math.sqrt(len(differences))


def test_patches_of_one_pixel_have_no_orientation():
    images = photos(5, (8, 9))
    y = images[:1] + 0.1
    plain = lemmse.LEMMSE(images, patch_size=1)
    assert torch.allclose(d4(images, patch_size=1)(y, 0.2), plain(y, 0.2), atol=1e-6)


def test_tweedie():
    images = photos(4, (7, 8)).double()
    estimate = d4(images, patch_size=3, dtype=torch.float64, exact=True)
    y = images[:1] + 0.2 * torch.randn(1, 1, 7, 8, generator=generator()).double()
    y.requires_grad_(True)
    posterior = estimate.posterior(y, 0.2)
    posterior.log_density[0, 3, 4].backward()
    wanted = y[0, 0, 3, 4] + 0.2**2 * y.grad[0, 0, 3, 4]
    assert torch.isclose(posterior.mean[0, 0, 3, 4], wanted, rtol=1e-8)


@pytest.mark.parametrize("name", ["denoising", "inpainting aware"])
def test_gradient(name, path):  # noqa: F811
    size = (6, 7)
    build, kind = CASES[name]
    operator = build(size)
    images = photos(4, size).double()
    estimate = d4(images, operator, kind, patch_size=3, dtype=torch.float64, tolerance=1e-12)
    check_gradient(estimate, operator.measure(images[:2], 0.2, generator()), 0.2)


def test_a_batch_with_its_own_noise_levels(path):  # noqa: F811
    estimate = d4(photos(5, (8, 9)), patch_size=3)
    y = torch.rand(3, 1, 8, 9, generator=generator())
    sigma = torch.tensor([0.05, 0.3, 1.0])
    alone = [estimate(y[i : i + 1], float(sigma[i])) for i in range(3)]
    assert torch.allclose(estimate(y, sigma), torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("symmetry", ["D4", "flips", 8, True])
def test_unknown_symmetry(symmetry):
    with pytest.raises(ValueError, match="symmetry"):
        lemmse.LEMMSE(torch.rand(2, 1, 8, 8), symmetry=symmetry)
