"""The training pixels that vote for a pixel of an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Voters:
    r"""The largest weights of some pixels' averages :math:`\sum_j w_j v_j`, and whose they are.

    Attributes:
        weight: the k largest weights of each pixel, descending, (B, n, k). What is missing from 1
            belongs to the training pixels that are not listed.
        source: the training pixels that have them, as (image, row, column), int64 (B, n, k, 3).
    """

    weight: Tensor
    source: Tensor


def pixel_indices(
    pixels: Tensor | Sequence[tuple[int, int]] | None, image_size: tuple[int, int]
) -> Tensor:
    """Indices row * W + column of pixels given as (row, column) pairs; None means all, in order.

    Raises:
        ValueError: if these are not pairs of integers inside the image, or there are none.

    Example:
        >>> pixel_indices([(0, 1), (2, 3)], (3, 4)).tolist()
        [1, 11]
    """
    height, width = image_size
    if pixels is None:
        return torch.arange(height * width)
    wanted = "expected pixels to be pairs (row, column) of integers"
    try:
        pairs = torch.as_tensor(pixels).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{wanted}, got {pixels!r}") from error
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0:
        raise ValueError(f"{wanted}, a list of them or shape (n, 2), got {tuple(pairs.shape)}")
    if pairs.is_floating_point() or pairs.is_complex() or pairs.dtype == torch.bool:
        raise ValueError(f"{wanted}, got {pairs.dtype}")
    outside = (pairs < 0).any(1) | (pairs >= torch.tensor([height, width])).any(1)
    if outside.any():
        first = tuple(pairs[outside][0].tolist())
        raise ValueError(f"expected pixels inside images of size {height} x {width}, got {first}")
    return pairs[:, 0].long() * width + pairs[:, 1]
