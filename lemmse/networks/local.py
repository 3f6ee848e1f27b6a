"""Three architectures with a receptive field of exactly P x P."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..operators.checks import check_positive_integers
from .base import LocalNetwork, Pointwise, ResidualBlock, Skip, cropped


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
        channels, patch_size, skip, marks_zeros: see `LocalNetwork`.
        width: channels inside.
        depth: number of residual blocks.

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
    ):
        super().__init__(channels, patch_size, skip, marks_zeros)
        check_positive_integers(width=width, depth=depth)
        self.first = nn.Conv2d(self.inputs, width, patch_size)
        self.blocks = nn.ModuleList(ResidualBlock(width, 2 * width) for _ in range(depth))
        self.last = Pointwise(width, channels)


class ResNet(Chain):
    """A residual network: (P - 1)/2 blocks with a 3 x 3 convolution, then blocks without.

    Args:
        channels, patch_size, skip, marks_zeros: see `LocalNetwork`.
        width: channels inside.
        depth: number of residual blocks that mix only the channels of a pixel.

    Raises:
        ValueError: see `LocalNetwork`.

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
    ):
        super().__init__(channels, patch_size, skip, marks_zeros)
        check_positive_integers(width=width, depth=depth)
        self.first = Pointwise(self.inputs, width)
        spatial = [ResidualBlock(width, width, kernel_size=3) for _ in range(patch_size // 2)]
        pointwise = [ResidualBlock(width, 2 * width) for _ in range(depth)]
        self.blocks = nn.ModuleList(spatial + pointwise)
        self.last = Pointwise(width, channels)


class UNet(LocalNetwork):
    """An encoder and a decoder with skip connections, all at full resolution (stride 1).

    The (P - 1)/2 convolutions of size 3 x 3 are shared out: the encoder has one a level, the
    decoder has them on its inner levels, one fewer where the number is odd. Pooling would break the
    equivariance to shifts by one pixel.

    Args:
        channels, patch_size, skip, marks_zeros: see `LocalNetwork`.
        width: channels of the outermost level; the others have twice as many.

    Raises:
        ValueError: see `LocalNetwork`.

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
    ):
        super().__init__(channels, patch_size, skip, marks_zeros)
        check_positive_integers(width=width)
        reach = patch_size // 2
        down, self.up = reach - reach // 2, reach // 2
        widths = [width] + [2 * width] * down
        self.first = Pointwise(self.inputs, width)
        self.encoder = nn.ModuleList(
            Level(outer, inner, 3) for outer, inner in zip(widths, widths[1:], strict=False)
        )
        self.bottom = ResidualBlock(widths[-1], 2 * widths[-1])
        self.decoder = nn.ModuleList(
            Level(inner, outer, 3 if level >= down - self.up else 1, joined=outer)
            for level, (outer, inner) in enumerate(zip(widths, widths[1:], strict=False))
        )
        self.top = ResidualBlock(width, 2 * width)
        self.last = Pointwise(width, channels)

    def body(self, z: Tensor, embedding: Tensor) -> Tensor:
        """See `LocalNetwork`."""
        h = self.first(z)
        outer = []
        for level in self.encoder:
            outer.append(h)
            h = level(h, embedding)
        h = self.bottom(h, embedding)
        for level in reversed(self.decoder):
            h = level(h, embedding, outer.pop())
        return self.last(self.top(h, embedding))


class Level(nn.Module):
    """One level of the U-Net: a convolution to another width, a residual block.

    Args:
        before, after: channels.
        kernel_size: of the convolution.
        joined: channels of the encoder's features that are appended before the block (cropped to
            the size of what comes from below); 0: none.

    Example:
        >>> level = Level(8, 4, 3, joined=6)
        >>> level(torch.rand(1, 8, 5, 5), torch.rand(1, 32), torch.rand(1, 6, 9, 9)).shape
        torch.Size([1, 4, 3, 3])
    """

    def __init__(self, before: int, after: int, kernel_size: int, joined: int = 0):
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel_size)
        self.join = Pointwise(after + joined, after) if joined else None
        self.block = ResidualBlock(after, 2 * after)

    def forward(self, h: Tensor, embedding: Tensor, joined: Tensor | None = None) -> Tensor:
        """The features of the next level, given those of sigma, (B, 32)."""
        h = self.convolution(h)
        if self.join is not None:
            margin = (joined.shape[-1] - h.shape[-1]) // 2
            h = self.join(torch.cat([h, cropped(joined, margin)], dim=1))
        return self.block(h, embedding)
