r"""Small trained corrections: between steps on the data, or on their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..operators.checks import (
    REAL,
    check_positive_integers,
    check_sizes,
    check_tensor,
    noise_levels,
)
from .base import NoiseEmbedding, ResidualBlock
from .unrolled import SteppingNetwork

REACH = 3
"""A correction sees 7 x 7 pixels: three convolutions of size 3, one after the other."""


class Corrections(nn.Module):
    r"""K small residual networks, :math:`C_k(f, \sigma) = f + R_k(f, \sigma)`.

    :math:`R_k` is a convolution to ``width`` channels, a `ResidualBlock`, and a convolution back,
    all of size 3 and circular. All :math:`C_k` are told :math:`\sigma` by one `NoiseEmbedding`.

    Args:
        channels: C of the images.
        width: channels inside.
        copies: K.

    Raises:
        ValueError: a number is not a positive integer.

    Example:
        >>> corrections = Corrections(channels=1, width=8, copies=2)
        >>> f, sigma = torch.rand(3, 1, 8, 8), torch.full((3,), 0.1)
        >>> corrections(1, f, corrections.features(sigma)).shape
        torch.Size([3, 1, 8, 8])
    """

    def __init__(self, channels: int, width: int, copies: int):
        super().__init__()
        check_positive_integers(channels=channels, width=width, copies=copies)
        self.embedding = NoiseEmbedding()
        self.first = nn.ModuleList(nn.Conv2d(channels, width, 3) for _ in range(copies))
        self.block = nn.ModuleList(ResidualBlock(width, 2 * width, 3) for _ in range(copies))
        self.last = nn.ModuleList(nn.Conv2d(width, channels, 3) for _ in range(copies))
        with torch.no_grad():
            for layer in self.last:  # corrections start small
                layer.weight.mul_(0.1)
                layer.bias.zero_()

    def forward(self, k: int, f: Tensor, embedding: Tensor) -> Tensor:
        """:math:`C_k(f, \\sigma)`, computed in the precision of the weights.

        Args:
            k: which one, from 0.
            f: images, (B, C, H, W).
            embedding: the features of sigma, (B, 32).
        """
        h = functional.pad(f.to(self.first[k].weight.dtype), (REACH,) * 4, mode="circular")
        return f + self.last[k](self.block[k](self.first[k](h), embedding)).to(f.dtype)

    def features(self, sigma: Tensor) -> Tensor:
        """The features of noise levels sigma > 0, (B,), in the precision of the weights."""
        return self.embedding(sigma.to(self.last[0].weight.dtype))


class UnrolledProximal(SteppingNetwork):
    r"""Gradient steps on the data, each followed by a trained correction.

    .. math:: f_{k+1} = C_k \big( f_k + \alpha_k A^T (y - A f_k),\ \sigma / \|A\| \big),
        \qquad f_0 = 0

    The correction takes the place of the proximal step of the prior, which for ISTA is soft
    thresholding; the prior is then whatever the training images ask for. An operator that is not
    linear will do if it has ``A_vjp``, which takes the place of :math:`A^T`.

    Args:
        operator, image_shape: see `PhysicsNetwork`; at least 3 x 3 pixels.
        layers: K.
        width: channels inside the corrections; see `Corrections`.
        shared: one :math:`\alpha` and C for all layers.

    Attributes:
        log_step: logarithms of :math:`\alpha_k L`, trained, 0 at the start.
        corrections: the C_k, trained.

    Raises:
        ValueError: see `PhysicsNetwork`; layers or width is not a positive integer; or sigma is
            zero when the network is called.

    Source: [PHY], section on unrolling; Monga, Li, Eldar, Algorithm unrolling, IEEE Signal
        Processing Magazine 38(2), 2021.

    Example:
        >>> from lemmse.operators import Blur
        >>> net = UnrolledProximal(Blur.gaussian(1.0, (8, 8)), (1, 8, 8), layers=2, width=8)
        >>> net(torch.rand(3, 1, 8, 8), sigma=0.1).shape
        torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        operator: object,
        image_shape: Sequence[int],
        layers: int = 5,
        width: int = 16,
        shared: bool = False,
    ):
        super().__init__(operator, image_shape, layers, shared)
        check_large_enough(self.image_shape)
        self.corrections = Corrections(self.image_shape[0], width, self.copies)

    def checked(self, y: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        y, sigma = super().checked(y, sigma)
        return y, noise_levels(sigma, len(y), sigma.dtype, y.device)  # no zero: log sigma is used

    def layer(self, k: int, f: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
        features = self.corrections.features(sigma[:, 0, 0, 0])
        return self.corrections(k, f + self.towards_data(k, f, y), features)


class FullyLearned(nn.Module):
    r"""The counterpart of `UnrolledProximal` that knows nothing of the operator.

    .. math:: f_{k+1} = C_k(f_k, \sigma)

    with the same corrections. :math:`f_0 = y` if measurements have the shape of images; otherwise
    :math:`f_0` is a trained dense layer of y, the same for every channel if y has the channels of
    the image, which has as many weights as a whole inverse.

    Args:
        measurement_shape: shape of one measurement, real: (C, ...) or (m,).
        image_shape: (C, H, W), at least 3 x 3 pixels.
        layers: K.
        width: channels inside the corrections.
        shared: one C for all layers.

    Attributes:
        dense: the layer from y to f_0, or None.
        unit: mean and standard deviation of the measurements that the dense layer takes as 0 and 1.
        corrections: the C_k.

    Raises:
        ValueError: a shape or number is no such thing; when called, y is not real or of another
            shape, or sigma is not positive.

    Example:
        >>> net = FullyLearned((1, 8, 8), (1, 8, 8), layers=2, width=8)
        >>> net(torch.rand(3, 1, 8, 8), sigma=0.1).shape
        torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        measurement_shape: Sequence[int],
        image_shape: Sequence[int],
        layers: int = 5,
        width: int = 16,
        shared: bool = False,
    ):
        super().__init__()
        self.image_shape = check_sizes(image_shape, "image_shape", ranks=(3,))
        self.measurement_shape = tuple(measurement_shape)
        check_large_enough(self.image_shape)
        check_positive_integers(
            layers=layers, **{f"measurement_shape[{i}]": n for i, n in enumerate(measurement_shape)}
        )
        self.layers = layers
        self.copies = 1 if shared else layers
        self.dense = None
        self.register_buffer("unit", torch.tensor([0.0, 1.0]))
        if self.measurement_shape != self.image_shape:
            numbers, pixels = math.prod(self.measurement_shape), math.prod(self.image_shape)
            groups = self._groups()
            self.dense = nn.Linear(numbers // groups, pixels // groups)
        self.corrections = Corrections(self.image_shape[0], width, self.copies)

    def forward(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Reconstructs images.

        Args:
            y: measurements, ``(B, *measurement_shape)``.
            sigma: standard deviation of the noise in y, > 0: a number or (B,).

        Returns:
            (B, C, H, W), in the precision of y.

        Raises:
            ValueError: see the class.
        """
        check_tensor(y, "y", REAL, ("B", *self.measurement_shape))
        sigma = noise_levels(sigma, len(y), y.dtype, y.device)
        features, f = self.corrections.features(sigma), y
        if self.dense is not None:
            vectors = y.reshape(len(y), self._groups(), -1).to(self.dense.weight.dtype)
            vectors = (vectors - self.unit[0]) / self.unit[1]
            f = self.dense(vectors).reshape(len(y), *self.image_shape).to(y.dtype)
        for k in range(self.layers):
            f = self.corrections(min(k, self.copies - 1), f, features)
        return f

    def standardise(self, measurements: Tensor) -> None:
        """Measures what the dense layer takes as 0 and 1, over all numbers of all measurements.

        Args:
            measurements: of training images, ``(N, *measurement_shape)``.

        Raises:
            ValueError: they have another shape, or are all the same number.

        Example:
            >>> net = FullyLearned((4,), (1, 3, 3), layers=1, width=2)
            >>> net.standardise(torch.tensor([[1.0, 3.0, 1.0, 3.0]]))
            >>> net.unit
            tensor([2., 1.])
        """
        check_tensor(measurements, "measurements", REAL, ("B", *self.measurement_shape))
        spread = measurements.std(correction=0)
        if not spread > 0:
            raise ValueError("measurements: expected numbers that differ")
        self.unit.copy_(torch.stack([measurements.mean(), spread]))

    def _groups(self) -> int:
        """How many parts of y, and of the image, the dense layer treats alike."""
        several = len(self.measurement_shape) > 1
        channels = self.image_shape[0]
        return channels if several and self.measurement_shape[0] == channels else 1


def check_large_enough(image_shape: tuple[int, int, int]) -> None:
    """Raises ValueError unless images are as large as a correction reaches."""
    if min(image_shape[1:]) < REACH:
        raise ValueError(f"image_shape: expected sides of at least {REACH}, got {image_shape}")
