"""Fields of all kinds: paddings, periods, masks, against brute force in float64."""

import pytest
import torch
from brute_force import BruteForce
from test_estimators import assert_posterior_agrees, generator, photos, tolerance

import lemmse
from lemmse import operators as ops
from lemmse.estimators import local
from lemmse.fields import Field, as_field
from lemmse.fields.field import PADDINGS
from lemmse.reduction import index

FULL = torch.ones(3, 3).bool()
CROSS = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]]).bool()
BLIND = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]]).bool()
CAUSAL = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]]).bool()
HOLES = torch.zeros(5, 5).bool()
HOLES[::2, ::2] = True  # as a dilated convolution sees it
MASKS = {"full": FULL, "cross": CROSS, "blind": BLIND, "causal": CAUSAL, "holes": HOLES}

PROBLEMS = {
    "denoising": (lambda size: ops.Identity(), None),
    "inpainting agnostic": (lambda size: ops.Mask.central(3, size), None),
    "inpainting aware": (lambda size: ops.Mask.central(3, size), "pinv"),
    "blur agnostic": (lambda size: ops.Blur.gaussian(0.7, size), None),
    "blur tikhonov": (lambda size: ops.Blur.gaussian(0.7, size), "tikhonov"),
    "tomography": (lambda size: ops.Tomography([0.0, 40.0, 80.0, 130.0], size), "tikhonov"),
}
CASES = [
    (padding, period, mask, problem)
    for padding in PADDINGS
    for period in (1, 2)
    for mask in MASKS
    for problem in ("denoising", "inpainting agnostic", "inpainting aware", "blur agnostic")
]
CASES += [
    (padding, 1, mask, problem)
    for padding in PADDINGS
    for mask in ("full", "holes")
    for problem in ("blur tikhonov", "tomography")
]
SIZES = [(5, 6), (6, 5), (5, 5), (6, 6)]


def pair(padding, period, mask, problem, size, channels=1, estimator=lemmse.LEMMSE, **options):
    """The estimator and its brute force."""
    images = photos(3, size, channels)
    build, kind = PROBLEMS[problem]
    operator = build(size)
    mask = MASKS[mask] if isinstance(mask, str) else mask
    if estimator is lemmse.LEMMSE:
        options["period"] = period
    estimate = estimator(images, operator, kind, padding=padding, field=mask, **options)
    masks = mask.expand(period, period, *mask.shape[-2:]).tolist()
    reference = BruteForce(
        images,
        operator,
        estimate.preinverse.apply,
        mask.shape[-2:],
        masks=masks,
        padding=padding,
        own_location_only=estimator is lemmse.LocalMMSE,
        symmetry="symmetry" in options,
    )
    return estimate, reference


def assert_exact(estimate, reference, size, channels=1, sigmas=(0.001, 0.05, 1.0)):
    truth = torch.cat([estimate.images[1:2], photos(1, size, channels, "test")])
    for sigma in sigmas:
        y = estimate.operator.measure(truth, sigma, generator())
        z = estimate.preinverse.apply(y.double())
        wanted = torch.stack([reference(entry, sigma)[0] for entry in z])
        error = (estimate(y, sigma) - wanted).abs().max().item()
        assert error <= tolerance(sigma), (sigma, error)


@pytest.mark.parametrize(("padding", "period", "mask", "problem"), CASES)
def test_lemmse_is_exact_for_every_field(padding, period, mask, problem):
    """On grey images; their sizes are even and odd in turns, so all meet all over the cases."""
    size = SIZES[CASES.index((padding, period, mask, problem)) % 4]
    estimate, reference = pair(padding, period, mask, problem, size)
    assert_exact(estimate, reference, size)


@pytest.mark.parametrize("problem", ["denoising", "inpainting aware", "blur agnostic"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_lemmse_is_exact_for_fields_of_colour_images(padding, problem):
    for period, mask, size in ((1, "full", (5, 6)), (2, "cross", (5, 5))):
        estimate, reference = pair(padding, period, mask, problem, size, channels=3)
        assert_exact(estimate, reference, size, channels=3, sigmas=(0.01, 0.2))


@pytest.mark.parametrize("problem", ["denoising", "inpainting aware", "blur agnostic"])
@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
def test_indexed_keys_of_fields_are_exact(padding, problem, monkeypatch):
    monkeypatch.setattr(local, "LEAST_INDEXED", 0)
    monkeypatch.setattr(index, "BLOCK", 16)
    estimate, reference = pair(padding, 2, "full", problem, (6, 7))
    assert_exact(estimate, reference, (6, 7))


@pytest.mark.parametrize("padding", PADDINGS)
def test_phases_may_see_different_pixels(padding):
    """A stride-2 convolution of size 4 and a pixel shuffle: rows -1..2, or -2..1, by phase."""
    mask = torch.zeros(2, 2, 5, 5).bool()
    for a in range(2):
        for b in range(2):
            mask[a, b, 1 - a : 5 - a, 1 - b : 5 - b] = True
    for size in ((6, 6), (7, 6)):
        estimate, reference = pair(padding, 2, mask, "denoising", size)
        assert_exact(estimate, reference, size)
    assert torch.equal(as_field(field=mask).mask, mask)


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
def test_a_patch_may_be_larger_than_the_image(padding):
    mask = torch.ones(7, 7).bool()
    estimate, reference = pair(padding, 1, mask, "denoising", (4, 5))
    assert_exact(estimate, reference, (4, 5))


@pytest.mark.parametrize("problem", ["denoising", "inpainting aware", "tomography"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_local_mmse_takes_fields(padding, problem):
    size = (5, 6)
    estimate, reference = pair(padding, 1, "cross", problem, size, estimator=lemmse.LocalMMSE)
    assert_exact(estimate, reference, size)


@pytest.mark.parametrize("mask", ["full", "cross", "blind", "holes"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_symmetric_fields_take_a_symmetry(padding, mask):
    size = (5, 5)
    estimate, reference = pair(padding, 1, mask, "denoising", size, symmetry="d4")
    assert_exact(estimate, reference, size, sigmas=(0.05,))
    y = torch.rand(1, 1, *size, generator=generator())
    turned = estimate(y.rot90(1, (2, 3)), 0.1)
    torch.testing.assert_close(turned, estimate(y, 0.1).rot90(1, (2, 3)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("problem", ["denoising", "inpainting aware", "blur tikhonov"])
@pytest.mark.parametrize(("padding", "period"), [("zeros", 2), ("reflect", 1), ("replicate", 2)])
def test_posteriors_of_fields(padding, period, problem):
    size = (6, 7)
    for sigma in (0.02, 0.3):
        estimate, reference = pair(padding, period, "full", problem, size)
        y = estimate.operator.measure(photos(1, size, split="test"), sigma, generator())
        assert_posterior_agrees(estimate, reference, y, sigma)


@pytest.mark.parametrize("padding", PADDINGS)
def test_some_pixels_and_their_voters(padding):
    size = (6, 7)
    estimate, reference = pair(padding, 2, "full", "inpainting aware", size)
    y = estimate.operator.measure(photos(2, size, split="test"), 0.1, generator())
    pixels = torch.tensor([[5, 6], [0, 0], [3, 3], [2, 0]])
    whole = estimate(y, 0.1)[:, :, pixels[:, 0], pixels[:, 1]].mT
    torch.testing.assert_close(estimate.at(y, 0.1, pixels), whole, rtol=0, atol=1e-5)
    _, wanted = reference(estimate.preinverse.apply(y.double())[0], 0.1)
    index = pixels[:, 0] * size[1] + pixels[:, 1]
    largest = wanted["weights"][index].topk(3).values
    found = estimate.voters(y, 0.1, pixels, k=3)
    torch.testing.assert_close(found.weight[0].double(), largest, rtol=2e-2, atol=2e-3)
    assert (found.source[..., 1:] % 2 == (pixels % 2)[:, None]).all()  # of their own phase


@pytest.mark.parametrize("padding", PADDINGS)
def test_gradients_of_fields_are_finite_differences(padding):
    estimate, _ = pair(padding, 2, "cross", "blur agnostic", (5, 6), dtype=torch.float64)
    y = torch.rand(1, 1, 5, 6, generator=generator(), dtype=torch.float64).requires_grad_()
    direction = torch.randn(y.shape, generator=generator(1), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((estimate(y, 0.3) * direction).sum(), y)
    step = 1e-5 * torch.randn(y.shape, generator=generator(2), dtype=torch.float64)
    with torch.no_grad():
        change = ((estimate(y + step, 0.3) - estimate(y - step, 0.3)) * direction).sum()
    torch.testing.assert_close(change, 2 * (gradient * step).sum(), rtol=1e-5, atol=1e-12)


def test_the_border_patterns_of_zero_padding():
    """For P = 5 there are 24 of them and the interior."""
    groups = lemmse.LEMMSE(photos(2, (8, 9)), padding="zeros").groups
    assert len(groups) == 25
    assert max(len(group.locations) for group in groups) == 4 * 5


def test_period_one_with_circular_padding_is_the_plain_estimator():
    images, y = photos(4, (6, 6)), photos(1, (6, 6), split="test")
    plain = lemmse.LEMMSE(images, patch_size=3)(y, 0.1)
    assert torch.equal(plain, lemmse.LEMMSE(images, field=FULL)(y, 0.1))
    assert torch.equal(plain, lemmse.LEMMSE(images, field=Field(FULL[None, None]))(y, 0.1))


WRONG = {
    "padding": ({"padding": "mirror"}, "padding to be one of"),
    "period": ({"period": 0}, "period to be an integer from 1 to 9999"),
    "even": ({"patch_size": 4}, "patch_size to be odd"),
    "even mask": ({"field": torch.ones(4, 4)}, "square mask with an odd side"),
    "oblong mask": ({"field": torch.ones(3, 5)}, "square mask with an odd side"),
    "values": ({"field": torch.full((3, 3), 0.5)}, "zeros and ones"),
    "rank": ({"field": torch.ones(3)}, r"\(P, P\) or \(s, s, P, P\)"),
    "empty phase": ({"field": torch.zeros(3, 3)}, "every phase sees a pixel"),
    "phases": ({"field": torch.ones(2, 2, 3, 3), "period": 3}, "period 2 like the field"),
    "side": ({"field": torch.ones(3, 3), "patch_size": 5}, "patch_size 3 like the field"),
    "both paddings": (
        {"field": Field(FULL[None, None], "zeros"), "padding": "reflect"},
        "'zeros' like the field",
    ),
    "too large": ({"patch_size": 13, "padding": "zeros"}, "patch_size of at most 11"),
    "too large on a circle": ({"patch_size": 7}, "patch_size of at most 6"),
    "causal d4": ({"field": CAUSAL, "symmetry": "d4"}, "symmetry=None"),
    "strided d4": ({"period": 2, "symmetry": "d4"}, "symmetry=None"),
}


@pytest.mark.parametrize("name", WRONG)
def test_fields_that_make_no_sense_are_refused(name):
    options, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        lemmse.LEMMSE(photos(2, (6, 6)), **options)
