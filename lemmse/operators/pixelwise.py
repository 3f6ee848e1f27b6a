"""Operators that act on each pixel by itself: the identity and masks."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

from .base import Constant, Operator
from .checks import as_numbers, check_images, check_positive, check_sizes, describe
from .structure import Diagonal, Stationary


class Identity(Operator):
    """Denoising: ``A x = x``, on images of any size.

    Example:
        >>> import torch
        >>> from lemmse.operators import Identity
        >>> x = torch.rand(2, 3, 8, 8)
        >>> torch.equal(Identity().A_dagger(x), x)
        True
    """

    def A(self, x: Tensor) -> Tensor:
        check_images(x, "x", None)
        return x

    def A_adjoint(self, y: Tensor) -> Tensor:
        check_images(y, "y", None)
        return y

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.A_adjoint(y)

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        return self.A_adjoint(y) / (1 + check_positive(regularisation, "regularisation"))

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> Stationary:
        gain = 1 / (1 + regularisation) if kind == "tikhonov" else 1.0
        return Stationary(torch.full(image_shape[1:], gain**2, dtype=torch.float64, device="cpu"))


class Mask(Operator):
    """Inpainting: ``A x = m * x``, with m one where a pixel is visible and zero where it is hidden.

    A is an orthogonal projection, so ``A = A_adjoint = A_dagger``. Measurements keep the shape of
    images: hidden pixels hold zero, plus noise.

    Args:
        mask: (H, W), the same for every channel, or (C, H, W); boolean, or numbers 0 and 1.

    Raises:
        ValueError: if the mask has another shape or other values.

    Example:
        >>> import torch
        >>> from lemmse.operators import Mask
        >>> mask = Mask.central(2, (4, 4))
        >>> mask.A(torch.ones(1, 1, 4, 4))[0, 0]
        tensor([[1., 1., 1., 1.],
                [1., 0., 0., 1.],
                [1., 0., 0., 1.],
                [1., 1., 1., 1.]])
    """

    def __init__(self, mask: Tensor):
        super().__init__()
        mask = check_mask(mask, ranks=(2, 3))
        mask = mask[None] if mask.ndim == 2 else mask
        self.image_shape = tuple(mask.shape if len(mask) > 1 else mask.shape[1:])
        self.mask = Constant(mask)

    @classmethod
    def central(cls, size: int, image_size: Sequence[int]) -> Mask:
        """Hides a central square.

        Args:
            size: side of the square in pixels; at most the smaller side of the image. The square
                starts at row ``(H - size) // 2`` and column ``(W - size) // 2``.
            image_size: (H, W).

        Raises:
            ValueError: if the square does not fit into the image, or a size is not positive.

        Example:
            >>> from lemmse.operators import Mask
            >>> int(Mask.central(15, (28, 28)).mask.value.sum())
            559
        """
        height, width = check_sizes(image_size, "image_size", ranks=(2,))
        if not isinstance(size, Integral) or not 1 <= size <= min(height, width):
            raise ValueError(
                f"expected size to be an integer from 1 to {min(height, width)}, got {size!r}"
            )
        mask = torch.ones(height, width, dtype=torch.bool, device="cpu")
        top, left = (height - size) // 2, (width - size) // 2
        mask[top : top + size, left : left + size] = False
        return cls(mask)

    @classmethod
    def random(cls, fraction: float, image_size: Sequence[int], seed: int = 0) -> Mask:
        """Hides ``round(fraction * H * W)`` pixels chosen at random.

        Args:
            fraction: share of the pixels to hide, from 0 to 1.
            image_size: (H, W).
            seed: seed of the choice.

        Raises:
            ValueError: if the fraction is not between 0 and 1, or a size is not positive.

        Example:
            >>> from lemmse.operators import Mask
            >>> int(Mask.random(0.25, (8, 8), seed=0).mask.value.sum())
            48
        """
        height, width = check_sizes(image_size, "image_size", ranks=(2,))
        if not isinstance(fraction, Real) or not 0 <= fraction <= 1:
            raise ValueError(f"expected fraction to be a number from 0 to 1, got {fraction!r}")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(height * width, generator=generator, device="cpu")
        mask = torch.ones(height * width, dtype=torch.bool, device="cpu")
        mask[order[: round(fraction * height * width)]] = False
        return cls(mask.reshape(height, width))

    def A(self, x: Tensor) -> Tensor:
        check_images(x, "x", self.image_shape)
        return x * self.mask.like(x)

    def A_adjoint(self, y: Tensor) -> Tensor:
        check_images(y, "y", self.image_shape)
        return y * self.mask.like(y)

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.A_adjoint(y)

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        return self.A_adjoint(y) / (1 + check_positive(regularisation, "regularisation"))

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> Diagonal:
        mask = self.mask.value
        return Diagonal(mask / (1 + regularisation) if kind == "tikhonov" else mask)


def check_mask(mask: object, ranks: Sequence[int]) -> Tensor:
    """Returns a mask as boolean tensor.

    Raises:
        ValueError: if it is not a non-empty array of zeros and ones with that many dimensions.
    """
    tensor = as_numbers(mask)
    if tensor is None or tensor.is_complex() or tensor.ndim not in ranks or tensor.numel() == 0:
        raise ValueError(
            f"expected a mask of {' or '.join(map(str, ranks))} dimensions, boolean or of numbers "
            f"0 and 1, got {describe(mask if tensor is None else tensor)}"
        )
    if not ((tensor == 0) | (tensor == 1)).all():
        raise ValueError("expected a mask of zeros and ones only, got other values too")
    return tensor == 1
