"""Cutting patches out of images."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from .field import Field, as_field

MODES = {"zeros": "constant"}  # where torch calls a padding otherwise


def extract(x: Tensor, field: Field | int, locations: Tensor | None = None) -> Tensor:
    r"""Cuts the patches centred at the given pixels.

    .. math:: (\Pi_n x)_{c, i, j} = (E x)[c, r + i - p, s + j - p],
        \qquad n = (r, s),\; p = (P - 1) / 2

    where E continues the image beyond its border.

    Args:
        x: images, (B, C, H, W).
        field: P, odd, for circular boundaries; or a field, of which the padding counts and not the
            mask: hidden elements are cut, too.
        locations: the pixels n = row * W + column, (L,); None means all H*W, in order.

    Returns:
        (B, L, C*P*P), the elements of a patch in the order (C, P, P).

    Raises:
        ValueError: if x is not a batch of images or the patch does not fit.

    Example:
        >>> import torch
        >>> extract(torch.arange(9.0).view(1, 1, 3, 3), 3)[0, 0].int().tolist()
        [8, 6, 7, 2, 0, 1, 5, 3, 4]
        >>> extract(torch.ones(1, 1, 3, 3), as_field(3, "zeros"))[0, 0].int().tolist()
        [0, 0, 0, 0, 1, 1, 0, 1, 1]
    """
    if x.ndim != 4:
        raise ValueError(f"expected images of shape (B, C, H, W), got shape {tuple(x.shape)}")
    field = field if isinstance(field, Field) else as_field(field)
    field.check_fits(x.shape[-2:])
    if locations is None:
        margin, mode = field.patch_size // 2, MODES.get(field.padding, field.padding)
        padded = functional.pad(x, (margin,) * 4, mode=mode)
        return functional.unfold(padded, field.patch_size).transpose(1, 2)
    pixels = field.pixels(x.shape[-2:], locations.to(x.device))
    flat = x.flatten(2)
    if field.padding == "zeros":
        flat = functional.pad(flat, (0, 1))  # index -1 finds a zero
    return flat[:, :, pixels].transpose(1, 2).flatten(2)


def patch_pixels(patch_size: int, image_size: tuple[int, int]) -> Tensor:
    """The pixels of every circular patch: (H*W, P*P), indices row * W + column, centre by centre.

    Example:
        >>> patch_pixels(3, (4, 4))[5].tolist()
        [0, 1, 2, 4, 5, 6, 8, 9, 10]
    """
    return as_field(patch_size).pixels(image_size)
