"""The Haar wavelet transform: an orthonormal basis in which photographs are sparse."""

from __future__ import annotations

import torch
from torch import Tensor


def haar(x: Tensor) -> Tensor:
    r"""Wavelet coefficients of images, in place of their pixels.

    Each square of pixels (a, b; c, d) becomes

    .. math:: \tfrac12 (a + b + c + d), \quad \tfrac12 (a - b + c - d), \quad
        \tfrac12 (a + b - c - d), \quad \tfrac12 (a - b - c + d)

    which fill the four quarters of the image. The upper left one, the sums, is transformed again,
    for as long as both its sides are even. The transform is orthogonal.

    Args:
        x: (..., H, W).

    Returns:
        The same shape.

    Source: A. Haar, Zur Theorie der orthogonalen Funktionensysteme, Math. Ann. 69, 1910.

    Example:
        >>> haar(torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
        tensor([[2., 0.],
                [0., 0.]])
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        return x
    rows = x[..., ::2, :], x[..., 1::2, :]
    sums, *rest = _mixed(*[row[..., start::2] for row in rows for start in (0, 1)])
    top, bottom = torch.cat([haar(sums), rest[0]], -1), torch.cat(rest[1:], -1)
    return torch.cat([top, bottom], -2)


def inverse_haar(coefficients: Tensor) -> Tensor:
    """Images from wavelet coefficients: the inverse, and the transpose, of `haar`.

    Example:
        >>> x = torch.rand(1, 1, 4, 4)
        >>> bool((inverse_haar(haar(x)) - x).abs().max() < 1e-6)
        True
    """
    if coefficients.shape[-2] % 2 or coefficients.shape[-1] % 2:
        return coefficients
    (sums, first), (second, third) = (half.chunk(2, -1) for half in coefficients.chunk(2, -2))
    a, b, c, d = _mixed(inverse_haar(sums), first, second, third)
    rows = torch.stack([a, b], -1).flatten(-2), torch.stack([c, d], -1).flatten(-2)
    return torch.stack(rows, -2).flatten(-3, -2)


def _mixed(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, ...]:
    """The four combinations; applied twice, they give back what they were made of."""
    return (a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2
