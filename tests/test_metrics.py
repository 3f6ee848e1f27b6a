"""Metrics against their formulas, scikit-image, and bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lemmse import metrics


def pair(batch=3, channels=3, size=16, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, channels, size, size, generator=g, dtype=dtype)
    noise = torch.randn(x.shape, generator=g, dtype=dtype)
    return x, x + 0.1 * torch.arange(1, batch + 1).view(-1, 1, 1, 1) * noise


def test_mse_is_the_mean_per_image():
    x, y = pair()
    expected = [np.mean((p - q) ** 2) for p, q in zip(x.numpy(), y.numpy(), strict=True)]
    assert torch.allclose(metrics.mse(x, y), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("data_range", [1.0, 255])
def test_psnr_agrees_with_scikit_image(data_range):
    x, y = pair()
    expected = [
        peak_signal_noise_ratio(p, q, data_range=data_range)
        for p, q in zip(x.numpy(), y.numpy(), strict=True)
    ]
    ours = metrics.psnr(x, y, data_range)
    assert torch.allclose(ours, torch.tensor(expected, dtype=torch.float64))
    assert ours[0] > ours[1] > ours[2]


@given(error=st.floats(1e-6, 1.0))
def test_psnr_of_a_constant_error(error):
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    assert math.isclose(metrics.psnr(x, x + error).item(), -20 * math.log10(error), abs_tol=1e-9)


@pytest.mark.parametrize(("error", "decibels"), [(1e-23, 460), (1e-38, 760), (1e30, -600)])
def test_psnr_of_errors_whose_square_float32_cannot_hold(error, decibels):
    x = torch.zeros(1, 1, 4, 4)
    assert metrics.psnr(x, x + error).item() == pytest.approx(decibels, abs=1e-4)


def test_psnr_of_errors_whose_square_float64_cannot_hold():
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    assert metrics.psnr(x, x + 1e-200, data_range=1e-100).item() == pytest.approx(2000)
    assert metrics.psnr(x, x + 1e200).item() == pytest.approx(-4000)


def test_errors_far_below_the_images_are_not_rounded_away():
    x = torch.full((1, 1, 4, 4), 300.0)
    y = x.clone()
    y[..., 0, 0] = torch.nextafter(x[0, 0, 0, 0], torch.tensor(torch.inf))
    step = (y - x).double().amax()
    assert metrics.mse(x, y).item() == pytest.approx((step**2 / 16).item(), rel=1e-6)


def test_psnr_of_equal_images_is_infinite_with_gradient_zero():
    x, y = pair(batch=2)
    y[0] = x[0]
    y.requires_grad_()
    value = metrics.psnr(x, y)
    assert value[0] == math.inf
    assert value[1].isfinite()
    value.sum().backward()
    assert torch.equal(y.grad[0], torch.zeros_like(x[0]))


def test_psnr_is_differentiable():
    x, y = pair(batch=2, channels=1, size=3)
    assert torch.autograd.gradcheck(metrics.psnr, (x, y.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_keep_type_and_shape(dtype):
    x, y = pair(batch=2, dtype=dtype)
    for metric in (metrics.mse, metrics.psnr, metrics.ssim):
        assert metric(x, y).dtype == dtype
        assert metric(x, y).shape == (2,)


def test_ssim_agrees_with_scikit_image_on_every_channel():
    x, y = pair()
    expected = [
        np.mean(
            [
                structural_similarity(
                    x[b, c].numpy(),
                    y[b, c].numpy(),
                    data_range=1.0,
                    gaussian_weights=True,
                    use_sample_covariance=False,
                )
                for c in range(3)
            ]
        )
        for b in range(3)
    ]
    ours = metrics.ssim(x, y)
    assert torch.allclose(ours, torch.tensor(expected, dtype=torch.float64))
    assert ours[0] > ours[1] > ours[2]


def test_ssim_of_equal_images_is_one():
    x, _ = pair()
    assert torch.allclose(metrics.ssim(x, x), torch.ones(3, dtype=torch.float64))


def test_ssim_of_a_tensor_with_gradient():
    x, y = pair(batch=1)
    assert metrics.ssim(x.requires_grad_(), y) < 1


@pytest.mark.parametrize("metric", [metrics.mse, metrics.psnr, metrics.ssim])
@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (torch.rand(1, 16, 16), torch.rand(1, 16, 16), r"\(B, C, H, W\), got \(1, 16, 16\)"),
        ([[0.0]], torch.rand(1, 1, 16, 16), "got list"),
        (torch.rand(1, 1, 16, 16), torch.rand(2, 1, 16, 16), r"equal shapes.*\(1.*\(2"),
        (torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16).double(), "float32.*float64"),
        (torch.ones(1, 1, 16, 16).byte(), torch.ones(1, 1, 16, 16).byte(), "uint8"),
        (torch.rand(1, 1, 16, 16), torch.full((1, 1, 16, 16), math.nan), "y: .*NaN"),
        (torch.full((1, 1, 16, 16), math.inf), torch.rand(1, 1, 16, 16), "x: .*infinity"),
        (torch.rand(0, 1, 16, 16), torch.rand(0, 1, 16, 16), "at least one pixel"),
    ],
)
def test_bad_images_are_refused(metric, x, y, says):
    with pytest.raises(ValueError, match=says):
        metric(x, y)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
@pytest.mark.parametrize("data_range", [0, -1.0, math.nan, math.inf])
def test_bad_data_range_is_refused(metric, data_range):
    with pytest.raises(ValueError, match="data_range"):
        metric(*pair(), data_range=data_range)


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 10 x 10"):
        metrics.ssim(*pair(size=10))


def test_paired_gain_is_that_of_the_means_and_its_error_that_of_the_bootstrap():
    g = torch.Generator().manual_seed(0)
    hardness = torch.rand(200, generator=g).double() + 0.5  # both methods find the same images hard
    reference = hardness * (1 + 0.1 * torch.rand(200, generator=g).double())
    errors = hardness * (0.8 + 0.1 * torch.rand(200, generator=g).double())
    gain, error = metrics.paired_gain(errors, reference)
    assert gain == pytest.approx(10 * math.log10(reference.mean() / errors.mean()))
    draws = torch.randint(200, (4000, 200), generator=g)
    again = 10 * (reference[draws].mean(1) / errors[draws].mean(1)).log10()
    assert error == pytest.approx(again.std().item(), rel=0.1)
    # An image that is measured twice is still one image.
    twice = metrics.paired_gain(errors[:, None].expand(-1, 2), reference[:, None].expand(-1, 2))
    assert twice == pytest.approx((gain, error))


@pytest.mark.parametrize(
    ("errors", "reference", "what"),
    [
        (torch.ones(3), torch.ones(4), "equal shapes"),
        (torch.ones(1), torch.ones(1), "at least two images"),
        (torch.ones(3), torch.ones(3).long(), "floating-point"),
        (torch.tensor([1.0, math.nan]), torch.ones(2), "finite"),
        (-torch.ones(3), torch.ones(3), "negative"),
        (torch.zeros(3), torch.ones(3), "all zero"),
        ([1.0, 2.0], torch.ones(2), "floating-point"),
    ],
)
def test_paired_gain_explains_bad_input(errors, reference, what):
    with pytest.raises(ValueError, match=what):
        metrics.paired_gain(errors, reference)


def test_iou_counts_pixels():
    g = torch.Generator().manual_seed(0)
    found, true = torch.rand(2, 5, 1, 6, 4, generator=g) > 0.5
    expected = []
    for p, q in zip(found.numpy(), true.numpy(), strict=True):
        a, b = ({tuple(place) for place in np.argwhere(mask)} for mask in (p, q))
        expected.append(len(a & b) / len(a | b))
    assert metrics.iou(found, true).tolist() == pytest.approx(expected)
    assert torch.equal(metrics.iou(found, true), metrics.iou(true, found))


def test_iou_of_empty_masks():
    empty = torch.zeros(2, 3, dtype=torch.bool)
    some = torch.tensor([[False, False, False], [True, False, False]])
    assert metrics.iou(empty, some).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("found", "true", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 3).bool(), "found: expected a bool tensor"),
        (torch.ones(2, 3).bool(), torch.ones(2, 3).long(), "true: expected a bool tensor"),
        (torch.ones(3).bool(), torch.ones(3).bool(), "found: expected a bool tensor"),
        (torch.ones(2, 0).bool(), torch.ones(2, 0).bool(), "found: expected at least one pixel"),
        (torch.ones(2, 3).bool(), torch.ones(1, 3).bool(), r"got \(2, 3\) and \(1, 3\)"),
        ([[True]], torch.ones(1, 1).bool(), "found: expected a bool tensor .* got a list"),
    ],
)
def test_iou_says_what_it_expects(found, true, message):
    with pytest.raises(ValueError, match=message):
        metrics.iou(found, true)
