"""What the estimators share: the operator, checks of the input; the training set, the posterior."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed

from ..devices import plain_mode, precise
from ..operators import Identity, as_operator
from ..operators.checks import RANGE, check_finite, check_images, describe, noise_levels
from ..reduction import Screen, State, largest_of_all, processes
from .module import PreparedModule, prepared
from .units import Units, check_extreme, largest_number, unit_of

IMAGES_AT_ONCE = 256

NoiseLevel = float | Sequence[float] | np.ndarray | Tensor


@dataclass(frozen=True)
class Posterior:
    r"""What an estimator knows about each pixel beyond its best value.

    Every pixel's estimate is a weighted average :math:`\sum_j w_j v_j` over training pixels.
    Gradients flow through ``mean`` and ``log_density``; the others have none.

    Attributes:
        mean: :math:`\sum_j w_j v_j`, the estimate, (B, C, H, W).
        variance: :math:`\sum_j w_j (v_j - \mathrm{mean})^2`, (B, C, H, W).
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


class Estimator(PreparedModule):
    r"""Base of all estimators: functions of measurements and their noise levels, without weights.

    An estimator is a torch module. ``.to`` moves it to a device; ``state_dict`` holds the numbers
    that it was computed from; pickles and copies work, and prepare again what they need. It keeps
    a copy of the training images, and the forward operator itself, which must not be changed
    afterwards. It computes the same numbers whatever mode torch is in (autocast, inference mode,
    another default device or dtype, float32 products in lower precision), and several threads may
    call it at once.
    """

    def __init__(self, images: Tensor, operator: object):
        super().__init__()
        check_images(images, "the training images", None)
        check_extreme(largest_number(images), "the training images")
        self.image_shape = tuple(images.shape[1:])
        self.operator = as_operator(Identity() if operator is None else operator, self.image_shape)
        fits = self.operator.image_shape
        if fits is not None and tuple(fits) != self.image_shape[3 - len(fits) :]:
            raise ValueError(
                f"expected training images whose shape ends in {tuple(fits)}, as the operator "
                f"does, got {tuple(images.shape)}"
            )

    @plain_mode()
    def forward(self, y: Tensor, sigma: NoiseLevel) -> Tensor:
        """Estimates the images behind some measurements; gradients flow into y and sigma.

        Args:
            y: measurements, as ``operator.measure`` makes them, on the device of the estimator.
            sigma: standard deviation of the noise, > 0: a number or one for each image, as a
                tensor, an array or a list of shape (), (1,), (B,) or (B, 1, 1, 1).

        Returns:
            (B, C, H, W), in the precision of y, or in float32 if that is lower.

        Raises:
            ValueError: if y does not fit the operator, sigma is not positive, or one of them is
                more than 1e12 times as large or (sigma) as small as the measured training images.
        """
        return self._estimate(*self._checked(y, sigma)).to(answer_dtype(y))

    def _estimate(self, y: Tensor, sigma: Tensor) -> Tensor:
        """The estimates of checked arguments."""
        raise NotImplementedError

    @property
    def _device(self) -> torch.device:
        """Where the estimator's numbers are."""
        return next(iter(self.buffers())).device

    @prepared
    def _scale(self) -> float:
        """The largest number among the measured training images; 1 if all are black."""
        raise NotImplementedError

    @prepared
    def _blank(self) -> Tensor:
        """The measurement of a black image, (1, ...): its shape is that of all measurements."""
        high = {"dtype": precise(self._device), "device": self._device}
        return self.operator.A(torch.zeros(1, *self.image_shape, **high))

    @prepared
    def _noisy(self) -> int:
        """How many real numbers of a measurement carry noise; k-space has some that do not."""
        return int(self.operator.support(self._blank).sum())

    def _checked(
        self, y: Tensor, sigma: NoiseLevel, blank: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The measurements and noise levels (B,), in the precision used for queries.

        Args:
            y, sigma: as for a call.
            blank: a measurement of the right shape, (1, ...); None: that of the training images.
        """
        if not isinstance(y, Tensor) or y.layout != torch.strided or y.ndim < 2 or len(y) == 0:
            raise ValueError(
                "expected y to be a batch of measurements, a tensor with two dimensions or more, "
                f"got {describe(y)}"
            )
        if not (y.is_floating_point() or y.is_complex()):
            raise ValueError(f"expected y to hold real or complex numbers, got {y.dtype}")
        if y.device != self._device:
            raise ValueError(
                f"expected y on the device of the estimator, {self._device}, got {y.device}"
            )
        blank = self._blank if blank is None else blank
        if y.shape[1:] != blank.shape[1:] or y.is_complex() != blank.is_complex():
            kind, shape = "complex" if blank.is_complex() else "real", tuple(blank.shape[1:])
            raise ValueError(
                f"expected y to be {kind} measurements of shape (B, {str(shape)[1:]}, "
                f"got {describe(y)}"
            )
        check_finite(y, "y")
        high = precise(y.device)
        levels = noise_levels(sigma, len(y), high, y.device, scale=self._scale)
        y = y.to(high.to_complex() if y.is_complex() else high)
        largest = RANGE * max(self._scale, levels.max().item())
        found = y.detach().abs().max().item()
        if found > largest:
            raise ValueError(
                f"expected numbers in y of at most {largest:.3g}, {RANGE:.0e} times the largest "
                f"number in the measured training images or sigma, got {found:.3g}"
            )
        # Tensors of inference mode may not take part in gradients; their copies may.
        return tuple(t.clone() if t.is_inference() else t for t in (y, levels))

    def _largest_measured(self, images: Tensor) -> float:
        """The largest number in the measurements of some images, 0 if there are none."""
        high = precise(images.device)
        parts = (self.operator.A(part.to(high)) for part in images.split(IMAGES_AT_ONCE))
        largest = max((part.abs().max().item() for part in parts), default=0.0)
        check_extreme(largest, "the measured training images")
        return largest


class WeightedAverage(Estimator):
    """Base of the four estimators whose pixels are weighted averages of training pixels.

    Casting one changes the precision of its keys: ``.double()`` is ``dtype=torch.float64``,
    ``.float()`` is ``dtype=torch.float32``, and half precisions leave it as it is.

    Under ``torch.distributed`` every process keeps its share of the training set, and all
    processes must call the estimator together, with the same measurements.

    Inside, measurements with their noise levels, and pixels, are counted in units that make them
    numbers near 1: images of any scale give the same estimates in their units.
    """

    def __init__(self, images: Tensor, operator: object, dtype: torch.dtype):
        super().__init__(images, operator)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"expected dtype to be torch.float32 or torch.float64, got {dtype}")
        if len(images) < processes():
            raise ValueError(
                f"expected at least one image for each of {processes()} processes, "
                f"got {len(images)} in all"
            )
        self.total_images = len(images)
        self.dtype = dtype
        own, ids = _own_share(images)
        self.register_buffer("images", own.detach().clone())
        self.register_buffer("image_ids", ids)
        self._blank  # noqa: B018 (an operator that does not suit the images says so now)

    @plain_mode()
    def posterior(self, y: Tensor, sigma: NoiseLevel) -> Posterior:
        """Everything the estimator knows: see `Posterior`. Arguments and errors as for a call."""
        state = self._evaluate(*self._checked(y, sigma), details=True)
        return self._posterior_of(state, self.image_shape[1:], answer_dtype(y))

    def _posterior_of(self, state: State, image_size: tuple[int, int], dtype: torch.dtype):
        """The posterior of all pixels of images of some size, from their states (B, H*W)."""
        rest = state.details
        mean = self._images_of(state, image_size)

        def plane(t: Tensor) -> Tensor:
            return t.unflatten(1, image_size)

        with torch.no_grad():
            variance = as_images(rest.variance, image_size) * self._pixel_units.unit**2
            pixels = self.image_shape[1] * self.image_shape[2]
            pixel = rest.source % pixels
            width = self.image_shape[2]
            source = torch.stack([rest.source // pixels, pixel // width, pixel % width], -1)
            effective_samples = (2 * state.log_sum - rest.log_square).exp()
            weight = (rest.top - state.log_sum).exp()
        return Posterior(
            mean=mean.to(dtype),
            variance=variance.to(dtype),
            log_density=plane(state.log_sum).to(dtype),
            effective_samples=plane(effective_samples).to(dtype),
            weight=plane(weight).to(dtype),
            source=plane(source),
        )

    def _estimate(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self._images_of(self._evaluate(y, sigma, details=False), self.image_shape[1:])

    def _images_of(self, state: State, image_size: tuple[int, int]) -> Tensor:
        """The estimates, (B, C, H, W), from the state of every pixel, (B, H*W)."""
        return as_images(self._pixel_units.back(state.mean), image_size)

    def _evaluate(self, y: Tensor, sigma: Tensor, details: bool) -> State:
        """The state of every pixel, (B, H*W); its ``log_sum`` is the log-density.

        Args:
            y, sigma: from `_checked`, in units of ``_unit``; means and variances are in
                ``_pixel_units``.
            details: whether to return `Details`.
        """
        raise NotImplementedError

    def _checked(
        self, y: Tensor, sigma: NoiseLevel, blank: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As the others do, then both in units of ``_unit``."""
        y, levels = super()._checked(y, sigma, blank)
        return (y, levels) if self._unit == 1 else (y / self._unit, levels / self._unit)

    def _log_normaliser(self, rank: int, log_pdet: Tensor, sigma: Tensor, samples: int) -> Tensor:
        r"""What turns a log-sum of exponentials into the log-density of a Gaussian mixture.

        .. math:: -\tfrac{r}{2} \log(2 \pi \sigma^2) - \tfrac12 \log \mathrm{pdet}(Q Q^T) - \log M

        Args:
            rank, log_pdet: of Q Q^T.
            sigma: in units of ``_unit``.
            samples: M.
        """
        log_variance = 2 * sigma.log() + 2 * math.log(self._unit)
        return -(rank * (math.log(2 * math.pi) + log_variance) + log_pdet) / 2 - math.log(samples)

    def _cast(self, dtype: torch.dtype) -> None:
        if dtype in (torch.float32, torch.float64):
            self.dtype = dtype

    @prepared
    def _scale(self) -> float:
        return self._largest_of_all(self._largest_measured(self.images)) or 1.0

    @prepared
    def _unit(self) -> float:
        """The unit of measurements and noise levels."""
        return unit_of(self._scale)

    @prepared
    def _pixel_units(self) -> Units:
        """The units in which pixels are averaged.

        Their zero is the mean where rounding to the estimator's precision would cost the digits
        that images far from zero have.
        """
        largest = self._largest_of_all(largest_number(self.images)) or 1.0
        high = precise(self._device)
        zero = None
        if torch.promote_types(self.images.dtype, self.dtype) != self.dtype:
            zero = self.images.sum((0, 2, 3), dtype=high)
            if processes() > 1:
                distributed.all_reduce(zero)
            zero = zero / (self.total_images * self.image_shape[1] * self.image_shape[2])
        return Units(zero, unit_of(largest))

    def _largest_of_all(self, largest: float) -> float:
        """The largest of the numbers that the processes have."""
        if processes() == 1:
            return largest
        high = {"dtype": precise(self._device), "device": self._device}
        return largest_of_all(torch.tensor(largest, **high)).item()

    def _as_pixels(self, flat: Tensor) -> Tensor:
        """(..., C*H*W) to (..., H*W, C)."""
        return flat.unflatten(-1, (self.image_shape[0], -1)).mT

    def _screened(self, keys_of: Callable[[Tensor], Tensor]) -> Screen:
        """A source of whole images, each with one key.

        Keys are kept in the estimator's precision. Where that does not do, some are made anew in
        the best one: the digits that were rounded off are needed then.

        Args:
            keys_of: takes images (n, C, H, W) to their keys (n, d), in the precision of the images.
        """
        high, unit = precise(self._device), self._unit
        values = self._pixel_units.of(self.images.flatten(2).mT, self.dtype).mT.flatten(1)

        def made(x: Tensor) -> Tensor:
            return keys_of(x.to(high)) / unit

        parts = self.images.split(IMAGES_AT_ONCE)
        if self._pixel_units.zero is None and all(
            torch.equal(made(x), v.to(high))
            for x, v in zip(parts, values.split(IMAGES_AT_ONCE), strict=True)
        ):
            return Screen(values, values, self.image_ids)  # in the same memory
        centre = made(self.images.mean(0, keepdim=True, dtype=high))[0]
        keys = torch.cat([(made(x) - centre).to(self.dtype) for x in parts])
        return Screen(keys, values, self.image_ids, lambda i: made(self.images[i]) - centre, centre)


def as_images(pixels: Tensor, image_size: tuple[int, int]) -> Tensor:
    """(B, H*W, C) to (B, C, H, W)."""
    return pixels.mT.unflatten(2, image_size)


def answer_dtype(y: Tensor) -> torch.dtype:
    """The precision of answers: the measurement's, but no lower than float32."""
    return torch.promote_types(y.dtype.to_real() if y.is_complex() else y.dtype, torch.float32)


def _own_share(images: Tensor) -> tuple[Tensor, Tensor]:
    """This process's part of the training set, and its images' indices in the whole set."""
    ids = torch.arange(len(images), device=images.device)
    if processes() == 1:
        return images, ids
    rank, world = distributed.get_rank(), processes()
    return images[rank::world], ids[rank::world]
