"""How far two batches of images are apart: mean squared error, PSNR, SSIM, IoU; who is nearer."""

import math

import torch
from torch import Tensor

from .devices import precise
from .operators.checks import describe

# Wang et al. weigh the window by a Gaussian of std 1.5, cut at 3.5 std: 11 pixels.
SSIM_WINDOW = 11


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of every image of a batch.

        mse_b = (1 / CHW) sum_i (x_bi - y_bi)^2

    Args:
        x, y: images (B, C, H, W), floating point.

    Returns:
        (B,), in squared units of the images; computed in float64. Differentiable.

    Raises:
        ValueError: wrong rank, unequal shapes or types, not floating point, NaN or infinity,
            no image.

    Example:
        >>> import torch
        >>> mse(torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5))
        tensor([0.2500, 0.2500])
    """
    return _differences(x, y).square().mean(1).to(x.dtype)


def psnr(x: Tensor, y: Tensor, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio of every image of a batch, in decibels.

        psnr_b = 10 log10(data_range^2 / mse_b)

    Args:
        x, y: images (B, C, H, W), floating point.
        data_range: largest value minus smallest value an image can have.

    Returns:
        (B,), in dB; infinity where the two images are equal, and only there: computed in float64,
        relative to the largest difference. Differentiable; the gradient is 0 where the images are
        equal.

    Raises:
        ValueError: see `mse`; or `data_range` is not a positive finite number.

    Example:
        >>> import torch
        >>> psnr(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.1))
        tensor([20.])
    """
    _check_range(data_range)
    differences = _differences(x, y)
    # What the largest difference is changes nothing: its gradient is left out.
    largest = differences.detach().abs().amax(1, keepdim=True)
    differs = largest > 0
    relative = torch.where(differs, differences / torch.where(differs, largest, 1), 1)
    peak = torch.where(differs, largest, 1).log10() - math.log10(data_range)
    decibels = -10 * relative.square().mean(1, keepdim=True).log10() - 20 * peak
    return torch.where(differs, decibels, torch.inf)[:, 0].to(x.dtype)


def ssim(x: Tensor, y: Tensor, data_range: float = 1.0) -> Tensor:
    """Structural similarity of every image of a batch, averaged over pixels and channels.

        ssim(p, q) = (2 m_p m_q + c_1)(2 s_pq + c_2)
                     / ((m_p^2 + m_q^2 + c_1)(s_p^2 + s_q^2 + c_2))

    with m, s^2 and s_pq the local means, variances and covariance under a Gaussian window of std
    1.5 (11 x 11 pixels), c_1 = (0.01 data_range)^2 and c_2 = (0.03 data_range)^2. Computed by
    scikit-image on the CPU, image by image.

    Args:
        x, y: images (B, C, H, W), floating point, at least 11 x 11 pixels.
        data_range: largest value minus smallest value an image can have.

    Returns:
        (B,), at most 1, which is reached by equal images. Not differentiable.

    Raises:
        ValueError: see `psnr`; or the images are smaller than the window.

    Source:
        Wang, Bovik, Sheikh, Simoncelli, Image quality assessment: from error visibility to
        structural similarity, IEEE Transactions on Image Processing 13 (2004), equation 13.

    Example:
        >>> import torch
        >>> x = torch.rand(1, 3, 16, 16)
        >>> ssim(x, x)
        tensor([1.])
    """
    from skimage.metrics import structural_similarity

    _check_range(data_range)
    _check_pair(x, y)
    if min(x.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"ssim: expected images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, "
            f"got {x.shape[-2]} x {x.shape[-1]}"
        )
    values = [
        structural_similarity(
            p,
            q,
            data_range=data_range,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for p, q in zip(_float64(x), _float64(y), strict=True)
    ]
    return torch.tensor(values, dtype=x.dtype, device=x.device)


def iou(found: Tensor, true: Tensor) -> Tensor:
    """Intersection over union of every mask of a batch.

        iou_b = #(found_b and true_b) / #(found_b or true_b)

    with # the number of pixels.

    Args:
        found, true: masks (B, ...), bool, with at least one pixel.

    Returns:
        (B,) float32, from 0 to 1, which is reached by equal masks, empty ones among them.

    Raises:
        ValueError: not two bool tensors (B, ...) of the same shape, or no pixel.

    Source:
        Jaccard, Etude comparative de la distribution florale dans une portion des Alpes et des
        Jura, Bulletin de la Societe vaudoise des sciences naturelles 37 (1901).

    Example:
        >>> import torch
        >>> iou(torch.tensor([[True, True, False]]), torch.tensor([[False, True, False]]))
        tensor([0.5000])
    """
    for name, masks in (("found", found), ("true", true)):
        if not isinstance(masks, Tensor) or masks.dtype != torch.bool or masks.ndim < 2:
            raise ValueError(f"{name}: expected a bool tensor (B, ...), got {describe(masks)}")
        if masks.numel() == 0:
            raise ValueError(f"{name}: expected at least one pixel, got {describe(masks)}")
    if found.shape != true.shape:
        raise ValueError(
            f"found and true: expected equal shapes, got {tuple(found.shape)} and "
            f"{tuple(true.shape)}"
        )
    union = (found | true).flatten(1).sum(1)
    shared = (found & true).flatten(1).sum(1)
    return torch.where(union > 0, shared / union.clamp(min=1), 1.0)


def paired_gain(errors: Tensor, reference: Tensor) -> tuple[float, float]:
    """By how many dB one mean squared error is below another on the same images.

        gain = 10 log10(mean r / mean e)

    The standard error is that over the images, with both errors of an image taken together:
    sd(r_i / mean r - e_i / mean e) (10 / log 10) / sqrt(n), from the linearised logarithms.

    Args:
        errors: e, mean squared error of every image, (n,) or (n, ...), where what lies behind the
            first dimension is averaged: an image that was measured several times counts once.
        reference: r, those of the other method, of the same shape.

    Returns:
        The gain and its standard error, in dB.

    Raises:
        ValueError: not two floating-point tensors of the same shape, fewer than two images, or
            an error that is negative or not finite, or a mean error that is zero.

    Example:
        >>> import torch
        >>> gain, error = paired_gain(torch.tensor([0.1, 0.2]), torch.tensor([1.0, 2.0]))
        >>> round(gain, 3), round(error, 3)
        (10.0, 0.0)
    """
    means = []
    for name, values in (("errors", errors), ("reference", reference)):
        if not isinstance(values, Tensor) or not values.is_floating_point() or not values.ndim:
            raise ValueError(f"{name}: expected a floating-point tensor (n, ...), got {values!r}")
        if len(values) < 2 or not values.numel():
            raise ValueError(f"{name}: expected at least two images, got {tuple(values.shape)}")
        by_image = values.detach().cpu().double().reshape(len(values), -1).mean(1)
        if not by_image.isfinite().all() or (by_image < 0).any() or not by_image.mean() > 0:
            raise ValueError(f"{name}: expected finite squared errors, not negative nor all zero")
        means.append(by_image)
    ours, other = means
    if errors.shape != reference.shape:
        raise ValueError(
            "errors and reference: expected equal shapes, "
            f"got {tuple(errors.shape)} and {tuple(reference.shape)}"
        )
    influence = other / other.mean() - ours / ours.mean()
    spread = influence.std().item() / math.sqrt(len(influence))
    gain = 10 * (other.mean() / ours.mean()).log10().item()
    return gain, 10 / math.log(10) * spread


def _differences(x: Tensor, y: Tensor) -> Tensor:
    """x - y, checked, in the best precision of the device, (B, C*H*W)."""
    _check_pair(x, y)
    high = precise(x.device)
    return (x.to(high) - y.to(high)).flatten(1)


def _float64(x: Tensor):
    return x.detach().cpu().double().numpy()


def _check_range(data_range: float) -> None:
    if not 0 < data_range < float("inf"):
        raise ValueError(f"data_range: expected a positive finite number, got {data_range}")


def _check_pair(x: Tensor, y: Tensor) -> None:
    for name, images in (("x", x), ("y", y)):
        if not isinstance(images, Tensor) or images.ndim != 4:
            got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"{name}: expected a tensor of shape (B, C, H, W), got {got}")
        if not images.is_floating_point():
            raise ValueError(f"{name}: expected floating-point images, got {images.dtype}")
        if images.numel() == 0:
            raise ValueError(
                f"{name}: expected at least one pixel, got shape {tuple(images.shape)}"
            )
        if not images.isfinite().all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    if x.shape != y.shape or x.dtype != y.dtype or x.device != y.device:
        raise ValueError(
            f"x and y: expected equal shapes, types and devices, got {tuple(x.shape)} {x.dtype} "
            f"on {x.device} and {tuple(y.shape)} {y.dtype} on {y.device}"
        )
