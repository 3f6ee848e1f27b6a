"""A convolutional deep image prior: a small decoder from fixed noise to an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from .activations import Activation, activation
from .network import Network, seeds


@dataclass
class ConvolutionalPrior(Network):
    """Coarse noise; then, per level: enlarge twice, convolve 3 x 3, activate; last, mix channels.

    Boundaries are circular. The last layer, 1 x 1, is linear, and 1/2, the middle of the grey
    scale, is added to it. Weights start uniform on [-a, a], a = 1 / sqrt(fan-in). There are no
    biases: the one of the last layer alone would give the loss a curvature as large as the number
    of pixels, and force a step so small that all else hardly moves.

    Attributes:
        start: theta_0 as vectors, (runs, p).
        u: the fixed input, (runs, width, H / 2^levels, W / 2^levels), of iid N(0, 1).
        image_shape: (C, H, W).
        phi: the activation.
        levels: how often the resolution doubles.

    Source:
        Ulyanov, Vedaldi, Lempitsky, Deep image prior, CVPR 2018, for the idea; Heckel and Hand,
        Deep decoder, ICLR 2019, for a network that is a decoder only.

    Example:
        >>> prior = ConvolutionalPrior.draw((1, 32, 32), generator=torch.Generator(), runs=2)
        >>> prior.output().shape
        torch.Size([2, 1, 32, 32])
    """

    start: Tensor
    u: Tensor
    image_shape: tuple[int, int, int]
    phi: Activation
    levels: int = field(init=False)
    _enlarge: list[tuple[Tensor, Tensor]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.phi = activation(self.phi)
        factor = self.image_shape[1] // self.u.shape[2]
        self.levels = factor.bit_length() - 1
        expected = sum(self._sizes())
        if self.start.shape != (len(self.u), expected):
            raise ValueError(
                f"start: expected {(len(self.u), expected)}, got {tuple(self.start.shape)}"
            )
        # Interpolation and padding as matrices on rows and columns: 6 times as fast on a processor.
        sizes = [[side * 2**level for side in self.u.shape[2:]] for level in range(self.levels)]
        self._enlarge = [(_doubling(h).to(self.u), _doubling(w).to(self.u)) for h, w in sizes]

    @classmethod
    def draw(
        cls,
        image_shape: tuple[int, int, int],
        generator: torch.Generator,
        runs: int = 1,
        width: int = 32,
        levels: int = 2,
        activation: str | Activation = "tanh",
        dtype: torch.dtype = torch.float32,
    ) -> ConvolutionalPrior:
        """Random networks.

        Args:
            image_shape: (C, H, W); 2^levels must divide H and W.
            generator: on the CPU; the first runs of a batch do not depend on how many follow.
            runs: how many networks.
            width: channels.
            levels: how often the resolution doubles.
            activation: as for `TwoLayer`.
            dtype: of all.

        Raises:
            ValueError: sizes that do not fit.
        """
        height, width_of_image = image_shape[1:]
        scale = 2**levels
        if min(width, levels, runs) < 1 or height % scale or width_of_image % scale:
            raise ValueError(
                "expected width, levels and runs of at least 1, and H and W divisible by "
                f"2^levels = {scale}, got {width}, {levels}, {runs} and {tuple(image_shape)}"
            )
        coarse = (width, height // scale, width_of_image // scale)
        inputs, starts = [], []
        for seed in seeds(generator, runs):
            inputs.append(torch.randn(coarse, generator=seed, dtype=torch.float64))
            parts = []
            for shape in _layers(image_shape[0], width, levels):
                fan = torch.Size(shape[1:]).numel()
                weights = torch.rand(shape, generator=seed, dtype=torch.float64)
                parts.append((2 * weights - 1).flatten() / fan**0.5)
            starts.append(torch.cat(parts))
        return cls(
            torch.stack(starts).to(dtype), torch.stack(inputs).to(dtype), image_shape, activation
        )

    def to(self, *args, **kwargs) -> ConvolutionalPrior:
        """The network on another device or in another precision, as `torch.Tensor.to`."""
        start, u = self.start.to(*args, **kwargs), self.u.to(*args, **kwargs)
        return ConvolutionalPrior(start, u, self.image_shape, self.phi)

    def select(self, runs: Tensor) -> ConvolutionalPrior:
        """The network with some of the runs only."""
        return ConvolutionalPrior(self.start[runs], self.u[runs], self.image_shape, self.phi)

    def output(self, theta: Tensor | None = None) -> Tensor:
        """The images, (runs, trials, C, H, W); at theta_0 (runs, C, H, W)."""
        if theta is None:
            return self.output(self.start[:, None])[:, 0]
        runs, trials = theta.shape[:2]
        x = self.u[:, None].expand(-1, trials, *self.u.shape[1:]).flatten(0, 2)[None]
        return self._apply(x, theta.flatten(0, 1)).reshape(runs, trials, *self.image_shape)

    def linearised(self, theta: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The images at theta, and v -> J(theta)^T v."""
        output, transposed = torch.func.vjp(self.output, theta)
        return output, lambda v: transposed(v)[0]

    def single(self, run: int, theta: Tensor) -> Tensor:
        """The image of one run as a vector, at theta (p,)."""
        return self._apply(self.u[run][None], theta[None]).flatten()

    def _apply(self, x: Tensor, theta: Tensor) -> Tensor:
        """Many networks side by side as groups of channels: x (1, b width, h, w), theta (b, p)."""
        networks = len(theta)
        *inner, last = theta.split(self._sizes(), dim=1)
        *shapes, last_shape = self._shapes()
        for weights, shape, (rows, columns) in zip(inner, shapes, self._enlarge, strict=True):
            x = rows @ x @ columns.T
            weights = weights.reshape(networks * shape[0], *shape[1:])
            x = self.phi.value(F.conv2d(x, weights, groups=networks))
        weights = last.reshape(networks * last_shape[0], *last_shape[1:])
        return 0.5 + F.conv2d(x, weights, groups=networks)

    def _shapes(self) -> list[tuple[int, ...]]:
        return _layers(self.image_shape[0], self.u.shape[1], self.levels)

    def _sizes(self) -> list[int]:
        return [torch.Size(shape).numel() for shape in self._shapes()]


def _doubling(size: int) -> Tensor:
    """The matrix (2 size + 2, size): linear interpolation, then one circular value at each end."""
    doubled = F.interpolate(torch.eye(size)[None], scale_factor=2, mode="linear")[0].T
    return torch.cat([doubled[-1:], doubled, doubled[:1]])


def _layers(colours: int, width: int, levels: int) -> list[tuple[int, ...]]:
    """Shapes of the weights of all layers."""
    return [(width, width, 3, 3)] * levels + [(colours, width, 1, 1)]
