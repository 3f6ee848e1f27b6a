"""Three architectures with a receptive field of exactly P x P."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from ..operators.checks import check_positive_integers
from .base import LocalNetwork, Pointwise, ResidualBlock, Skip, convolution, cropped


class Chain(LocalNetwork):
    """A local network that is a convolution, residual blocks, and a 1 x 1 convolution, in a row.

    Subclasses define ``first``, ``blocks`` and ``last``.
    """

    first: nn.Module
    blocks: nn.ModuleList
    last: nn.Module

    def body(self, z: Tensor, embedding: Tensor) -> Tensor:
        """See `LocalNetwork`."""
        # Channels side by side in memory: every layer keeps it, and pointwise ones need it.
        h = self.first(z).contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            h = block(h, embedding)
        return self.last(h)


class PatchMLP(Chain):
    """A multilayer perceptron applied to every P x P patch.

    One P x P convolution, then layers that mix only the channels of a pixel.

    Args:
        channels, patch_size, skip, marks_zeros, padding, largest_sigma: see `LocalNetwork`.
        width: channels inside.
        depth: number of residual blocks.
        blind: hide the pixel itself; only its neighbours in the patch are seen. Such a network can
            learn from the measurements alone (`Problem.self_supervised`).

    Raises:
        ValueError: see `LocalNetwork`.

    Source:
        [LE], the architecture "PatchMLP".

    Example:
        >>> PatchMLP(1, 5)(torch.rand(2, 1, 28, 28), 0.1).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        channels: int,
        patch_size: int,
        width: int = 128,
        depth: int = 4,
        skip: Skip | None = None,
        marks_zeros: bool = False,
        padding: str = "circular",
        blind: bool = False,
        largest_sigma: float = 1.0,
    ):
        super().__init__(
            channels, patch_size, skip, marks_zeros, padding, largest_sigma=largest_sigma
        )
        check_positive_integers(width=width, depth=depth)
        if blind:
            self.skip = self.skip.blind()
        self.first = convolution(self.inputs, width, patch_size, padding)
        if blind:
            parametrize.register_parametrization(self.first, "weight", Blind())
        self.blocks = nn.ModuleList(ResidualBlock(width, 2 * width) for _ in range(depth))
        self.last = Pointwise(width, channels)


class Blind(nn.Module):
    """Makes the central weight of a kernel zero.

    Example:
        >>> Blind()(torch.ones(1, 1, 3, 3))[0, 0].int().tolist()
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Of the shape of the kernel, (K, C, P, P)."""
        shown = torch.ones_like(weight)
        shown[..., weight.shape[2] // 2, weight.shape[3] // 2] = 0
        return weight * shown


class ResNet(Chain):
    """A residual network: (P - 1)/2 blocks with a 3 x 3 convolution, then blocks without.

    With a stride s it works on cells of s x s pixels, with (P + 1)/(2 s) - 1 such blocks, and a
    dilation d makes each block see d times as far, and needs d times fewer.

    Args:
        channels, patch_size, skip, marks_zeros, padding, stride, largest_sigma: see
            `LocalNetwork`.
        width: channels inside.
        depth: number of residual blocks that mix only the channels of a pixel.
        dilation: d, the distance between the pixels that a convolution sees.
        normalised: whether the blocks with a 3 x 3 convolution normalise the features of each
            pixel, see `ResidualBlock`. Without, the network is nearer to LE-MMSE where there is
            much noise (`experiments.deficit`).

    Raises:
        ValueError: see `LocalNetwork`; or if stride and dilation do not give P.

    Source:
        [LE], the architecture "ResNet"; this one is smaller.

    Example:
        >>> ResNet(3, 7)(torch.rand(2, 3, 16, 16), 0.1).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        channels: int,
        patch_size: int,
        width: int = 96,
        depth: int = 3,
        skip: Skip | None = None,
        marks_zeros: bool = False,
        padding: str = "circular",
        stride: int = 1,
        dilation: int = 1,
        normalised: bool = True,
        largest_sigma: float = 1.0,
    ):
        super().__init__(channels, patch_size, skip, marks_zeros, padding, stride, largest_sigma)
        check_positive_integers(width=width, depth=depth, dilation=dilation)
        count = blocks_of(patch_size, stride, dilation)
        if stride == 1:
            self.first = Pointwise(self.inputs, width)
        else:
            self.first = nn.Conv2d(self.inputs, width, stride, stride=stride)
        spatial = [
            ResidualBlock(width, width, 3, padding, dilation, normalised) for _ in range(count)
        ]
        pointwise = [ResidualBlock(width, 2 * width) for _ in range(depth)]
        self.blocks = nn.ModuleList(spatial + pointwise)
        self.last = Pointwise(width, channels * stride**2)
        if stride > 1:
            self.last = nn.Sequential(self.last, nn.PixelShuffle(stride))


def blocks_of(patch_size: int, stride: int, dilation: int = 1) -> int:
    """How many 3 x 3 convolutions, on cells of stride x stride pixels, make the field P x P.

    Raises:
        ValueError: no number does.

    Example:
        >>> blocks_of(5, 1), blocks_of(7, 2), blocks_of(9, 1, dilation=2)
        (2, 1, 2)
    """
    reach = patch_size // 2 - (stride - 1)
    if reach < 0 or reach % (stride * dilation):
        raise ValueError(
            f"expected a patch_size of {2 * stride - 1} and multiples of {2 * stride * dilation} "
            f"more, for stride {stride} and dilation {dilation}, got {patch_size}"
        )
    return reach // (stride * dilation)


class UNet(LocalNetwork):
    """An encoder and a decoder with skip connections, all at full resolution unless it pools.

    The (P - 1)/2 convolutions of size 3 x 3 are shared out: the encoder has one a level, the
    decoder has them on its inner levels, one fewer where the number is odd. Pooling breaks the
    equivariance to shifts by one pixel. Pooled by s, encoder and decoder work on the means of cells
    of s x s pixels, with (P + 1)/(2 s) - 1 such convolutions, and one more level joins what they
    find with each pixel.

    Args:
        channels, patch_size, skip, marks_zeros, padding, largest_sigma: see `LocalNetwork`.
        width: channels of the outermost level; the others have twice as many.
        pooling: s, the `stride` of `LocalNetwork`.

    Raises:
        ValueError: see `LocalNetwork`; or if the pooling does not give P.

    Source:
        [LE], the architecture "U-Net"; this one is smaller.

    Example:
        >>> UNet(1, 11)(torch.rand(2, 1, 16, 16), 0.1).shape
        torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        channels: int,
        patch_size: int,
        width: int = 64,
        skip: Skip | None = None,
        marks_zeros: bool = False,
        padding: str = "circular",
        pooling: int = 1,
        largest_sigma: float = 1.0,
    ):
        super().__init__(channels, patch_size, skip, marks_zeros, padding, pooling, largest_sigma)
        check_positive_integers(width=width)
        reach = blocks_of(patch_size, pooling)
        down, self.up = reach - reach // 2, reach // 2
        widths = [width] + [2 * width] * down
        self.first = Pointwise(self.inputs, width)
        self.encoder = nn.ModuleList(
            Level(outer, inner, 3, padding=padding)
            for outer, inner in zip(widths, widths[1:], strict=False)
        )
        self.bottom = ResidualBlock(widths[-1], 2 * widths[-1])
        self.decoder = nn.ModuleList(
            Level(inner, outer, 3 if level >= down - self.up else 1, joined=outer, padding=padding)
            for level, (outer, inner) in enumerate(zip(widths, widths[1:], strict=False))
        )
        self.join = Pointwise(2 * width, width) if pooling > 1 else None
        self.top = ResidualBlock(width, 2 * width)
        self.last = Pointwise(width, channels)

    def body(self, z: Tensor, embedding: Tensor) -> Tensor:
        """See `LocalNetwork`."""
        h = self.first(z)
        if self.join is None:
            return self.last(self.top(self._inner(h, embedding), embedding))
        cells = self._inner(functional.avg_pool2d(h, self.stride), embedding)
        pixels = functional.interpolate(cells, scale_factor=self.stride)
        h = self.join(torch.cat([pixels, cropped(h, self.margin)], dim=1))
        return self.last(self.top(h, embedding))

    def _inner(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Encoder and decoder."""
        outer = []
        for level in self.encoder:
            outer.append(h)
            h = level(h, embedding)
        h = self.bottom(h, embedding)
        for level in reversed(self.decoder):
            h = level(h, embedding, outer.pop())
        return h


class Level(nn.Module):
    """One level of the U-Net: a convolution to another width, a residual block.

    Args:
        before, after: channels.
        kernel_size: of the convolution.
        joined: channels of the encoder's features that are appended before the block (cropped to
            the size of what comes from below); 0: none.
        padding: of the convolution, see `LocalNetwork`.

    Example:
        >>> level = Level(8, 4, 3, joined=6)
        >>> level(torch.rand(1, 8, 5, 5), torch.rand(1, 32), torch.rand(1, 6, 9, 9)).shape
        torch.Size([1, 4, 3, 3])
    """

    def __init__(
        self,
        before: int,
        after: int,
        kernel_size: int,
        joined: int = 0,
        padding: str = "circular",
    ):
        super().__init__()
        self.convolution = convolution(before, after, kernel_size, padding)
        self.join = Pointwise(after + joined, after) if joined else None
        self.block = ResidualBlock(after, 2 * after)

    def forward(self, h: Tensor, embedding: Tensor, joined: Tensor | None = None) -> Tensor:
        """The features of the next level, given those of sigma, (B, 32)."""
        h = self.convolution(h)
        if self.join is not None:
            margin = (joined.shape[-1] - h.shape[-1]) // 2
            h = self.join(torch.cat([h, cropped(joined, margin)], dim=1))
        return self.block(h, embedding)
