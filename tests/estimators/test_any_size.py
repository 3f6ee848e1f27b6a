"""The function is learned from patches: measurements may be of another size."""

import pytest
import torch
from brute_force import BruteForce
from test_estimators import generator, photos, tolerance

import lemmse
from lemmse import operators as ops
from lemmse.estimators import local
from lemmse.fields.field import PADDINGS

SMALL, LARGE = (8, 9), (12, 11)  # of the same phases at their borders


def hole(size):
    mask = torch.ones(size)
    mask[2:5, 2:5] = 0
    return ops.Mask(mask)


def both(padding, period, build, kind):
    """The estimator, its brute force, and one of the other size."""
    mask = torch.ones(3, 3).bool()
    masks = mask.expand(period, period, 3, 3).tolist()
    images = photos(3, SMALL)
    operator = build(SMALL)
    estimate = lemmse.LEMMSE(images, operator, kind, padding=padding, field=mask, period=period)
    apply = estimate.preinverse.apply
    reference = BruteForce(images, operator, apply, (3, 3), masks=masks, padding=padding)
    other = build(LARGE)
    apply = other.preinverse(kind, (1, *LARGE)).apply
    like = BruteForce(photos(1, LARGE), other, apply, (3, 3), masks=masks, padding=padding)
    return estimate, reference, like, other, apply


CASES = {
    "denoising": (lambda size: ops.Identity(), None),
    "blur agnostic": (lambda size: ops.Blur.gaussian(0.7, size), None),
    "blur tikhonov": (lambda size: ops.Blur.gaussian(0.7, size), "tikhonov"),
    "inpainting": (hole, "pinv"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("padding", "period"), [(p, s) for p in PADDINGS for s in (1, 2)])
def test_measurements_of_another_size(padding, period, name):
    build, kind = CASES[name]
    estimate, reference, like, operator, apply = both(padding, period, build, kind)
    for sigma in (0.02, 0.3):
        y = operator.measure(photos(1, LARGE, split="test"), sigma, generator())
        wanted, rest = reference(apply(y.double())[0], sigma, like)
        own = {} if kind is None else {"operator": operator}
        bound = tolerance(sigma) if name != "blur tikhonov" else 1e-3  # nearly the same noise
        found = estimate(y, sigma, **own)
        assert (found[0] - wanted).abs().max() <= bound
        posterior = estimate.posterior(y, sigma, **own)
        assert torch.equal(posterior.mean, found)
        assert (posterior.log_density[0] - rest["log_density"]).abs().max() <= 0.05
        pixels = [(0, 0), (11, 10), (5, 5)]
        some = estimate.at(y, sigma, pixels, **own)
        whole = torch.stack([found[0, :, r, c] for r, c in pixels])
        torch.testing.assert_close(some[0], whole, rtol=0, atol=1e-5)
        voters = estimate.voters(y, sigma, pixels, k=2, **own)
        assert (voters.source[..., 1:] < torch.tensor(SMALL)).all()


def test_large_images_go_in_parts(monkeypatch, capsys):
    estimate = lemmse.LEMMSE(photos(3, SMALL), patch_size=3)
    y = photos(2, LARGE, split="test").requires_grad_()
    whole = estimate(y, 0.1)
    (gradient,) = torch.autograd.grad(whole.square().sum(), y)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(local, "QUERIES", 16)
    parts = estimate(y, 0.1, progress=True)
    assert "132/132" in capsys.readouterr().err
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)
    (by_parts,) = torch.autograd.grad(parts.square().sum(), y)
    torch.testing.assert_close(by_parts, gradient, rtol=1e-4, atol=1e-5)


def refused(estimate, y, message, operator=None):
    with pytest.raises(ValueError, match=message):
        estimate(y, 0.1, operator=operator)


def test_noise_of_another_structure_is_refused():
    images, y = photos(3, SMALL), torch.rand(1, 1, *LARGE)
    blur, narrow, wide = (ops.Blur.gaussian(*a) for a in [(1.5, SMALL), (0.7, LARGE), (1.5, LARGE)])
    estimate = lemmse.LEMMSE(images, blur, "tikhonov", patch_size=3)
    refused(estimate, y, "expected y to be real measurements of shape")
    refused(estimate, y, "to 1% in variance, got", narrow)
    refused(estimate, y, "another filter", wide)  # wraps around in the small images
    refused(estimate, y, "both circulant or both masks", ops.Mask.central(4, LARGE))
    rays = ops.Tomography([0.0, 90.0], SMALL)
    far = ops.Tomography([0.0, 90.0], LARGE)
    refused(
        lemmse.LEMMSE(images, rays, "fbp", patch_size=3), y, "both circulant or both masks", far
    )
    matrix = lemmse.LEMMSE(images, None, torch.eye(72), patch_size=3)
    refused(matrix, y, "pre-inverse has a name", ops.Identity())
    aware = lemmse.LEMMSE(images, hole(SMALL), "pinv", patch_size=3)
    dots = torch.ones(LARGE)
    dots[5, 5] = 0
    refused(aware, y, "nothing was learned for it", ops.Mask(dots))


def test_sizes_that_make_no_sense_are_refused():
    estimate = lemmse.LEMMSE(photos(3, SMALL), patch_size=5)
    refused(estimate, torch.rand(1, 1, 4, 20), "patch_size of at most 4")
    refused(estimate, torch.rand(1, 3, 20, 20), "expected y to be real measurements")
    refused(estimate, torch.rand(1, 1, *LARGE), "expected y to be", ops.Blur.gaussian(1.0, (7, 7)))
