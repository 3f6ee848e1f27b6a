"""Images from noise: a denoiser applied again and again while the noise level falls to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from .operators.checks import as_integer, check_images, check_positive


@dataclass(frozen=True)
class Step:
    """One step of a sampler.

    Attributes:
        sigma: the noise level at its start.
        noisy: the image at this noise level, (B, C, H, W).
        estimate: what the denoiser made of it, (B, C, H, W).
        result: the image at the next noise level, (B, C, H, W).
    """

    sigma: float
    noisy: Tensor
    estimate: Tensor
    result: Tensor


def noise_levels(largest: float, smallest: float, steps: int, rho: float = 7.0) -> Tensor:
    r"""Falling noise levels, dense where they are small, and a last 0.

    .. math:: \sigma_i = \Big( \sigma_0^{1/\rho} + \tfrac{i}{n - 1}
        \big(\sigma_{n-1}^{1/\rho} - \sigma_0^{1/\rho}\big) \Big)^{\rho}, \qquad \sigma_n = 0

    Args:
        largest, smallest: the first level and the last one above 0.
        steps: n, the number of levels above 0: that many denoisings.
        rho: 1 spaces the levels evenly; the larger, the more of them are small.

    Returns:
        (steps + 1,), float64, strictly falling.

    Raises:
        ValueError: unless largest > smallest > 0, steps >= 2 and rho > 0.

    Source:
        Karras, Aittala, Aila, Laine, Elucidating the design space of diffusion-based generative
        models, NeurIPS 2022, equation 5.

    Example:
        >>> noise_levels(3.0, 1.0, steps=3, rho=1).tolist()
        [3.0, 2.0, 1.0, 0.0]
    """
    largest, smallest = check_positive(largest, "largest"), check_positive(smallest, "smallest")
    rho = check_positive(rho, "rho")
    if largest <= smallest:
        raise ValueError(f"expected largest > smallest, got {largest} and {smallest}")
    steps = as_integer(steps, "steps", 2)
    roots = torch.linspace(largest ** (1 / rho), smallest ** (1 / rho), steps, dtype=torch.float64)
    return torch.cat([roots**rho, roots.new_zeros(1)])


def sample(
    denoiser: Callable[[Tensor, float], Tensor],
    start: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    stochastic: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Turns noise into images: see `trajectory`, of which this is the end.

    If the denoiser is the MMSE estimator of a density, images at the first noise level become
    images of that density, up to the error of the steps.

    Example:
        >>> from lemmse import MMSE
        >>> images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> noise = 10 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        >>> x = sample(MMSE(images), images.mean() + noise, noise_levels(10, 0.01, steps=20))
        >>> [bool(torch.isclose(image, images).flatten(1).all(1).any()) for image in x]
        [True, True]
    """
    for step in trajectory(denoiser, start, sigmas, stochastic=stochastic, generator=generator):
        result = step.result
    return result


def trajectory(
    denoiser: Callable[[Tensor, float], Tensor],
    start: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    stochastic: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    r"""The steps of `sample`, one by one.

    From level :math:`\sigma` to :math:`\sigma'`, with the estimate
    :math:`D = D(x, \sigma)` and new standard Gaussian noise e,

    .. math:: x' = D + \frac{\sqrt{\sigma'^2 - b^2}}{\sigma} (x - D) + b\, e, \qquad
        b = \eta\, \sigma' \sqrt{1 - \sigma'^2 / \sigma^2} .

    :math:`\eta = 0` is Euler's method for :math:`dx / d\sigma = (x - D) / \sigma`;
    :math:`\eta = 1` draws x' from the conditional law given x and the image, were the image D.

    Args:
        denoiser: called as ``denoiser(x, sigma)`` with x of the shape of ``start`` and sigma > 0;
            returns the estimates.
        start: images at the noise level ``sigmas[0]``, (B, C, H, W): as a rule the mean image plus
            ``sigmas[0]`` times noise, with ``sigmas[0]`` large.
        sigmas: falling noise levels, > 0 but for the last one, which may be 0.
        stochastic: :math:`\eta`, from 0 to 1.
        generator: of the new noise, on the device of ``start``.

    Yields:
        A `Step` for each level but the last; images of the dtype and device of ``start``.

    Raises:
        ValueError: if an argument is not as said, or the denoiser returns another shape.

    Source:
        Song, Meng, Ermon, Denoising diffusion implicit models, ICLR 2021, equations 12 and 16, in
        the parametrisation of Karras et al. 2022, where the image keeps its scale.

    Example:
        >>> x = torch.ones(1, 1, 2, 2)
        >>> [step.result.mean().item() for step in trajectory(lambda x, s: 0 * x, x, [4, 2, 1])]
        [0.5, 0.25]
    """
    check_images(start, "start", None)
    levels = _falling(sigmas)
    if isinstance(stochastic, bool) or not (isinstance(stochastic, Real) and 0 <= stochastic <= 1):
        raise ValueError(f"expected stochastic to be a number from 0 to 1, got {stochastic!r}")
    return _steps(denoiser, start, levels, float(stochastic), generator)


def _steps(denoiser, x, levels, stochastic, generator) -> Iterator[Step]:
    for sigma, following in zip(levels[:-1], levels[1:], strict=True):
        estimate = denoiser(x, sigma)
        if not isinstance(estimate, Tensor) or estimate.shape != x.shape:
            got = tuple(estimate.shape) if isinstance(estimate, Tensor) else type(estimate).__name__
            raise ValueError(f"expected the denoiser to return shape {tuple(x.shape)}, got {got}")
        fresh = stochastic * following * math.sqrt(1 - (following / sigma) ** 2)
        kept = math.sqrt(following**2 - fresh**2) / sigma
        result = estimate + kept * (x - estimate)
        if fresh > 0:
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            result = result + fresh * noise
        yield Step(sigma, x, estimate, result)
        x = result


def _falling(sigmas: Sequence[float] | Tensor) -> list[float]:
    levels = torch.as_tensor(sigmas, dtype=torch.float64)
    wanted = "expected sigmas to be two or more falling numbers, > 0 but for the last, >= 0"
    if (
        levels.ndim != 1
        or len(levels) < 2
        or not torch.isfinite(levels).all()
        or not (levels.diff() < 0).all()
        or levels[-1] < 0
    ):
        raise ValueError(f"{wanted}, got {sigmas}")
    return levels.tolist()
