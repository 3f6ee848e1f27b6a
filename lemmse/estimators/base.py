"""What all estimators share: the training set, checks of the input, the posterior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor, distributed

from ..devices import precise
from ..operators import Identity, as_operator
from ..operators.checks import check_finite, check_images
from ..reduction import Keys, State, Stream, processes


@dataclass(frozen=True)
class Posterior:
    r"""What an estimator knows about each pixel beyond its best value.

    Every pixel's estimate is a weighted average :math:`\sum_j w_j v_j` over training pixels.

    Attributes:
        mean: :math:`\sum_j w_j v_j`, the estimate, (B, C, H, W).
        variance: :math:`\sum_j w_j v_j^2 - \mathrm{mean}^2`, (B, C, H, W).
        log_density: logarithm of the density of what the estimator saw at that pixel (its patch of
            B y; the whole measurement for `MMSE`) under the training distribution, (B, H, W). Where
            the noise is degenerate, it is the density on the subspace on which the noise lives.
        effective_samples: :math:`1 / \sum_j w_j^2`, (B, H, W).
        weight: the largest weight :math:`w_j`, (B, H, W).
        source: the training pixel that has it, as (image, row, column), int64 (B, H, W, 3).
    """

    mean: Tensor
    variance: Tensor
    log_density: Tensor
    effective_samples: Tensor
    weight: Tensor
    source: Tensor


class Estimator:
    """Base of the four estimators; subclasses say which keys a pixel attends to.

    Under ``torch.distributed`` every process keeps its share of the training set, and all
    processes must call the estimator together, with the same measurements.
    """

    def __init__(self, images: Tensor, operator: object, dtype: torch.dtype):
        check_images(images, "the training images", None)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"expected dtype to be torch.float32 or torch.float64, got {dtype}")
        self.total_images = len(images)
        self.image_shape = tuple(images.shape[1:])
        self.operator = as_operator(Identity() if operator is None else operator, self.image_shape)
        fits = self.operator.image_shape
        if fits is not None and tuple(fits) != self.image_shape[3 - len(fits) :]:
            raise ValueError(
                f"expected training images whose shape ends in {tuple(fits)}, as the operator "
                f"does, got {tuple(images.shape)}"
            )
        if len(images) < processes():
            raise ValueError(
                f"expected at least one image for each of {processes()} processes, "
                f"got {len(images)} in all"
            )
        self.dtype = dtype
        self.images, self.image_ids = _own_share(images)

    def __call__(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Estimates the images behind some measurements; gradients flow into y.

        Args:
            y: measurements, as ``operator.measure`` makes them.
            sigma: standard deviation of the noise, > 0: a number, or one for each image, (B,).

        Returns:
            (B, C, H, W), in the precision of y.

        Raises:
            ValueError: if y does not fit the operator, or sigma is not positive.
        """
        state = self._evaluate(*self._checked(y, sigma), details=False)
        return self._as_images(state.mean).to(real_dtype(y))

    def posterior(self, y: Tensor, sigma: float | Tensor) -> Posterior:
        """Everything the estimator knows: see `Posterior`. Arguments and errors as for a call.

        Gradients flow through ``mean`` and ``log_density``.
        """
        state = self._evaluate(*self._checked(y, sigma), details=True)
        rest, dtype = state.details, real_dtype(y)
        mean = self._as_images(state.mean)
        variance = (self._as_images(rest.second) - mean.detach().square()).clamp_min(0)

        def plane(t: Tensor) -> Tensor:
            return t.unflatten(1, self.image_shape[1:])

        pixels = self.image_shape[1] * self.image_shape[2]
        pixel = rest.source % pixels
        width = self.image_shape[2]
        source = torch.stack([rest.source // pixels, pixel // width, pixel % width], -1)
        log_sum = state.log_sum.detach()
        return Posterior(
            mean=mean.to(dtype),
            variance=variance.to(dtype),
            log_density=plane(state.log_sum).to(dtype),
            effective_samples=plane((2 * log_sum - rest.log_square).exp()).to(dtype),
            weight=plane((rest.top - log_sum).exp()).to(dtype),
            source=plane(source),
        )

    def _evaluate(self, y: Tensor, sigma: Tensor, details: bool) -> State:
        """The state of every pixel, (B, H*W); its ``log_sum`` is the log-density."""
        raise NotImplementedError

    def _checked(self, y: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        """The measurements and noise levels (B,), in the precision used for queries."""
        if not isinstance(y, Tensor) or y.ndim < 2 or len(y) == 0:
            raise ValueError(
                "expected y to be a batch of measurements, a tensor with two dimensions or more, "
                f"got {tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__}"
            )
        if not (y.is_floating_point() or y.is_complex()):
            raise ValueError(f"expected y to hold real or complex numbers, got {y.dtype}")
        check_finite(y, "y")
        if y.device != self.images.device:
            raise ValueError(
                f"expected y on the device of the training images, {self.images.device}, "
                f"got {y.device}"
            )
        high = precise(y.device)
        return y.to(high.to_complex() if y.is_complex() else high), _levels(sigma, y)

    def _as_images(self, pixels: Tensor) -> Tensor:
        """(B, H*W, C) to (B, C, H, W)."""
        return pixels.mT.unflatten(2, self.image_shape[1:])

    def _as_pixels(self, flat: Tensor) -> Tensor:
        """(..., C*H*W) to (..., H*W, C)."""
        return flat.unflatten(-1, (self.image_shape[0], -1)).mT

    def _held(self, keys: Tensor) -> Stream:
        """A source of whole images: keys (n, d), one for each training image."""
        held = Keys(keys.to(self.dtype), self.images.flatten(1).to(self.dtype), self.image_ids)
        return Stream(lambda: [held])


def log_normaliser(rank: int, log_pdet: Tensor, sigma: Tensor, samples: int) -> Tensor:
    r"""What turns a log-sum of exponentials into the log-density of a Gaussian mixture.

    .. math:: -\tfrac{r}{2} \log(2 \pi \sigma^2) - \tfrac12 \log \mathrm{pdet}(Q Q^T) - \log M
    """
    return -(rank * (2 * math.pi * sigma.square()).log() + log_pdet) / 2 - math.log(samples)


def _own_share(images: Tensor) -> tuple[Tensor, Tensor]:
    """This process's part of the training set, and its images' indices in the whole set."""
    ids = torch.arange(len(images), device=images.device)
    if processes() == 1:
        return images, ids
    rank, world = distributed.get_rank(), processes()
    return images[rank::world], ids[rank::world]


def real_dtype(y: Tensor) -> torch.dtype:
    """The precision of a measurement, whose numbers may be complex."""
    return y.dtype.to_real() if y.is_complex() else y.dtype


def _levels(sigma: float | Tensor, y: Tensor) -> Tensor:
    wanted = f"expected sigma to be a positive number or a tensor of shape ({len(y)},)"
    if isinstance(sigma, bool) or not isinstance(sigma, Real | Tensor):
        raise ValueError(f"{wanted}, got {type(sigma).__name__} {sigma!r}")
    levels = torch.as_tensor(sigma, dtype=precise(y.device), device=y.device)
    if levels.ndim > 1 or (levels.ndim == 1 and len(levels) != len(y)):
        raise ValueError(f"{wanted}, got shape {tuple(levels.shape)}")
    if not (torch.isfinite(levels).all() and (levels > 0).all()):
        raise ValueError(f"{wanted}, all finite and > 0, got {sigma}")
    return levels.expand(len(y))
