"""All circular shifts of some images as keys: correlations and convolutions by FFT."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fft import fft2, ifft2
from torch.nn import functional

from ..devices import precise
from ..reduction import Screen, State, combine, largest_of_all
from ..reduction.dense import GRADIENT_FLOOR, Slope
from ..reduction.rounding import LOGIT_ERROR, logit_error

IMAGES_AT_ONCE = 256  # planes that stay in the cache
LEAST = math.exp(GRADIENT_FLOOR + 1)


class Shifts:
    r"""The keys of a source, which are images, under all circular shifts: a source by itself.

    With the correlation :math:`(z \star k)[s] = \sum_n z[n + s]\, k[n]`, summed over channels,

    .. math:: \|T_s z - k\|^2 / 2 = \|z\|^2 / 2 + \|k\|^2 / 2 - (z \star k)[s],

    and the sum of all values, each moved back by its shift, is a sum of convolutions:

    .. math:: \sum_{s,k} w_k[s]\, (T_s^{-1} v_k)[n] = \sum_k (w_k * v_k)[n].

    All is computed in the precision of the keys. The rounding of a transform is less than that of
    dot products of as many numbers (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
    section 24.1).

    Args:
        source: keys and values that are images.
        image_shape: theirs, (C, H, W).
    """

    def __init__(self, source: Screen, image_shape: tuple[int, int, int]):
        self.image_shape, self.dtype = image_shape, source.keys.dtype
        self.images, high = len(source.keys), precise(source.keys.device)
        centre = source.centre.to(high).view(image_shape)
        # Shifts leave the mean of a channel where it is: without it fewer digits cancel.
        self.mean = centre.mean((1, 2), keepdim=True)
        removed = centre - source.kept_centre.to(high).view(image_shape) - self.mean
        values = source.values.unflatten(1, image_shape)
        self.zero = values.mean((0, 2, 3), dtype=high)[:, None, None]
        self.parts = [
            _Part.of((keys + removed).to(self.dtype), (part - self.zero).to(self.dtype))
            for keys, part in zip(
                source.keys.unflatten(1, image_shape).split(IMAGES_AT_ONCE),
                values.split(IMAGES_AT_ONCE),
                strict=True,
            )
        ]
        radius = torch.stack([part.radius for part in self.parts]).max()
        self.radius = largest_of_all(radius).item()

    def precise(self, z: Tensor, precision: Tensor) -> bool:
        """Whether `attend` is, for z (C, H, W) and 1 / sigma^2, (): the same on all processes."""
        size = self._centred(z.detach()).norm() * self.radius + self.radius**2 / 2
        return logit_error(size, precision.detach(), self.dtype).item() <= LOGIT_ERROR

    def near(self, z: Tensor, precision: Tensor, details: bool) -> Tensor:
        r"""Marks the shifts that may carry weight, (H*W), on all processes together.

        The others have together at most the rounding of the keys' precision, or its square where
        variances are wanted, since their root shows.

        Args:
            z: (C, H, W), in the best precision there is.
            precision: :math:`1 / \sigma^2`, ().
            details: whether variances are wanted.
        """
        z = self._centred(z.detach())
        spectrum = fft2(z.to(self.dtype))
        halves = [
            part.half_squares.sub(_correlations(spectrum, part.keys)).amin(0) for part in self.parts
        ]
        least = torch.stack(halves).amin((0, 3))
        eps = torch.finfo(self.dtype).eps
        skipped = eps**2 if details else eps
        margin = math.log(self.images * least.numel() / skipped) / precision.item()
        rounding = (z.numel() + 64) * eps / 2 * (z.norm() + self.radius).square().item()
        marks = least <= least.min() + margin + 2 * rounding
        return largest_of_all(marks.int()).bool().flatten()

    def attend(self, queries: Tensor, precision: Tensor, details: bool = False) -> State:
        """Reduces over all shifts of all keys, queries (n, C*H*W); details are not kept here."""
        rows = zip(queries, precision, strict=True)
        return combine([self._attend(query, p) for query, p in rows], torch.stack)

    def _attend(self, query: Tensor, precision: Tensor) -> State:
        z = self._centred(query.view(self.image_shape))
        spectrum, states = fft2(z.to(self.dtype)), []
        for part in self.parts:
            logits = part.logits(spectrum, precision)
            top = logits.max()
            weights = _weights(logits.sub_(top))
            total = weights.sum().to(query)
            mean = _convolution(weights, part.values).to(query) / total + self.zero.to(query)
            states.append(State(top.to(query) + total.log(), mean.flatten()))
        state = combine(states, torch.stack).collapse(0)
        return state.shift(-z.square().sum() * precision / 2)

    def pull(self, queries: Tensor, precision: Tensor, slope: Slope) -> Tensor:
        """The sums behind the gradient; see `dense.pull`."""
        rows = zip(queries, precision, slope.split(1), strict=True)
        return torch.stack([self._pull(*row) for row in rows])

    def _pull(self, query: Tensor, precision: Tensor, slope: Slope) -> Tensor:
        z = self._centred(query.view(self.image_shape))
        mean = slope.mean.view(self.image_shape) - self.zero.to(query)
        gradient = slope.grad_mean.view(self.image_shape)
        constant = slope.grad_log_sum[0] - (gradient * mean).sum()
        own = z.square().sum() * precision / 2
        log_sum = slope.log_sum[0] + own
        spectrum, slopes = fft2(z), fft2(gradient)
        along, plain, half, total = torch.zeros_like(z), 0.0, 0.0, 0.0
        for kept in self.parts:
            part = kept.to(query.dtype)  # terms of both signs cancel
            logits = part.logits(spectrum, precision)
            weights = _weights(logits - log_sum)
            total = total + weights.sum()
            a = weights.mul_(_correlations(slopes, part.values).add_(constant))
            along = along + _convolution(a, part.keys)
            plain = plain + a.sum()
            # No key, no weight: the logit of what fills the last pair is infinite.
            half = half + (a * logits.nan_to_num_(neginf=0.0)).sum()
        first = (along - z * plain).flatten()
        second = 2 * (own * plain - half) / precision
        return torch.cat([first, second.view(1), total.view(1)])

    def _centred(self, z: Tensor) -> Tensor:
        return z - self.mean.to(z)


@dataclass(frozen=True)
class _Part:
    """Some keys and values, two images in one complex image (see `_pairs`).

    Attributes:
        keys: their transforms, (p, C, H, W).
        half_squares: half the squared norm of the keys, (p, 1, 1, 2); infinite where there is none.
        radius: the largest norm of a key, ().
        values: transforms of the values, (p, C, H, W).
    """

    keys: Tensor
    half_squares: Tensor
    radius: Tensor
    values: Tensor

    @classmethod
    def of(cls, keys: Tensor, values: Tensor) -> _Part:
        """Of images (m, C, H, W)."""
        half = keys.flatten(1).square().sum(1) / 2
        radius = (2 * half.max()).sqrt()
        if len(half) % 2:
            half = torch.cat([half, half.new_full((1,), torch.inf)])
        half_squares = half.view(2, -1).T[:, None, None, :].contiguous()
        return cls(fft2(_pairs(keys)), half_squares, radius, fft2(_pairs(values)))

    def to(self, dtype: torch.dtype) -> _Part:
        """In another precision."""
        keys, values = (t.to(dtype.to_complex()) for t in (self.keys, self.values))
        return _Part(keys, self.half_squares.to(dtype), self.radius, values)

    def logits(self, spectrum: Tensor, precision: Tensor) -> Tensor:
        """Of all shifts of an image with a spectrum, (p, H, W, 2), but for its own norm."""
        correlations = _correlations(spectrum, self.keys)
        return correlations.sub_(self.half_squares).mul_(precision.to(correlations))


def _weights(logits: Tensor) -> Tensor:
    """Their exponentials; 0 where they are not felt: tiny numbers would make transforms slow."""
    weights = logits.clamp_(min=GRADIENT_FLOOR).exp_()
    return functional.threshold_(weights, LEAST, 0)


def _pairs(images: Tensor) -> Tensor:
    """The first half of some images, minus i times the second: (m, ...) to (p, ...), complex.

    Transforms are linear: the correlation of an image with such a pair has those with the two
    images as its real and imaginary part, and one transform does the work of two.
    """
    if len(images) % 2:
        images = torch.cat([images, torch.zeros_like(images[:1])])
    first, second = images.chunk(2)
    return torch.complex(first, -second)


def _correlations(spectrum: Tensor, pairs: Tensor) -> Tensor:
    """Of an image with pairs of others, by their transforms, summed over channels, (p, H, W, 2)."""
    return torch.view_as_real(ifft2((spectrum * pairs.conj()).sum(1)))


def _convolution(weights: Tensor, pairs: Tensor) -> Tensor:
    """The sum of weights (p, H, W, 2), each plane convolved with its image, (C, H, W)."""
    spectrum = fft2(torch.view_as_complex(weights))
    return ifft2((spectrum[:, None] * pairs).sum(0)).real
