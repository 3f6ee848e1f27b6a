"""Fields: which pixels around a location are seen, and what is seen beyond the border."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators.checks import as_integer, as_numbers, describe

PADDINGS = ("circular", "zeros", "reflect", "replicate")
"""What is seen beyond the border: names of torch."""

USUAL = 5  # patch size, where nothing else is said
LARGEST = 9999  # patch size and period: beyond it they are a slip of the keyboard
OUTSIDE = -1  # the coordinate of a pixel that is not there


@dataclass(frozen=True, eq=False)
class Field:
    r"""What a function of local patches sees at each location: shape, period and padding.

    At location n = (r, c) it sees, of an image that is continued beyond its border, the pixels
    n + (i - p, j - p), p = (P - 1)/2, where ``mask[r mod s, c mod s, i, j]`` is true. Two locations
    have the same function if their phases (r mod s, c mod s) agree.

    Attributes:
        mask: (s, s, P, P) boolean, P odd; s is the period.
        padding: "circular", "zeros", "reflect" (the border pixel stands once) or "replicate".

    Raises:
        ValueError: if the mask has another shape, or the padding is unknown.

    Example:
        >>> cross = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
        >>> field = Field(cross.bool().expand(1, 1, 3, 3), "zeros")
        >>> field.patch_size, field.period
        (3, 1)
    """

    mask: Tensor
    padding: str = "circular"

    def __post_init__(self) -> None:
        mask = self.mask
        if mask.ndim != 4 or mask.dtype != torch.bool or mask.shape[0] != mask.shape[1]:
            raise ValueError(
                "expected a boolean mask of shape (s, s, P, P), one for each of the s^2 phases, "
                f"got {describe(mask)}"
            )
        size = as_integer(mask.shape[3], "P, the side of the mask, which is odd,", 1)
        if mask.shape[2] != size or size % 2 == 0:
            raise ValueError(f"expected a square mask with an odd side, got {tuple(mask.shape)}")
        if not mask.flatten(2).any(2).all():
            raise ValueError("expected a field in which every phase sees a pixel")
        if self.padding not in PADDINGS:
            raise ValueError(f"expected padding to be one of {PADDINGS}, got {self.padding!r}")

    @property
    def patch_size(self) -> int:
        """P."""
        return self.mask.shape[3]

    @property
    def period(self) -> int:
        """s."""
        return self.mask.shape[0]

    @property
    def is_symmetric(self) -> bool:
        """Whether flips and quarter turns leave it as it is (period 1 and a symmetric mask)."""
        mask = self.mask[0, 0]
        return self.period == 1 and bool((mask == mask.T).all() and (mask == mask.flip(0)).all())

    def check_fits(self, image_size: tuple[int, int]) -> None:
        """Raises ValueError unless the field makes sense on images of this size.

        A circular patch is at most as large as the image. Other patches may reach as far as the
        opposite border, not farther.
        """
        least = min(image_size)
        most = least if self.padding == "circular" else 2 * least - 1
        if self.patch_size > most:
            raise ValueError(
                f"expected patch_size of at most {most} for images of size {tuple(image_size)} "
                f"and {self.padding} padding, got {self.patch_size}"
            )

    def phase(self, locations: Tensor, width: int) -> Tensor:
        """The phases of locations row * width + column, as (row mod s) * s + column mod s.

        Example:
            >>> as_field(3, period=2).phase(torch.tensor([0, 1, 4, 5]), width=4).tolist()
            [0, 1, 2, 3]
        """
        rows = locations.div(width, rounding_mode="floor")
        return rows % self.period * self.period + locations % width % self.period

    def coordinates(self, side: int) -> Tensor:
        """Along one axis, where what is seen comes from: (side, P), -1 where nothing is there.

        Example:
            >>> as_field(3, padding="reflect").coordinates(4).tolist()
            [[1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 2]]
        """
        reach = torch.arange(self.patch_size) - self.patch_size // 2
        place = torch.arange(side)[:, None] + reach
        if self.padding == "circular":
            return place % side
        if self.padding == "zeros":
            return torch.where((place >= 0) & (place < side), place, OUTSIDE)
        if self.padding == "replicate":
            return place.clamp(0, side - 1)
        place = place.abs()
        return torch.where(place < side, place, 2 * (side - 1) - place)

    def pixels(self, image_size: tuple[int, int], locations: Tensor | None = None) -> Tensor:
        """The pixels seen at locations, the mask apart: (L, P*P) indices, -1 where nothing is.

        Args:
            image_size: (H, W).
            locations: (L,) indices row * W + column; None means all, in order.

        Example:
            >>> as_field(3, padding="zeros").pixels((4, 4), torch.tensor([5, 0])).tolist()
            [[0, 1, 2, 4, 5, 6, 8, 9, 10], [-1, -1, -1, -1, 0, 1, -1, 4, 5]]
        """
        height, width = image_size
        if locations is None:
            locations = torch.arange(height * width)
        rows = self.coordinates(height).to(locations.device)
        columns = self.coordinates(width).to(locations.device)
        rows = rows[locations.div(width, rounding_mode="floor")][:, :, None]
        columns = columns[locations % width][:, None, :]
        there = (rows != OUTSIDE) & (columns != OUTSIDE)
        return torch.where(there, rows * width + columns, OUTSIDE).flatten(1)

    def views(self, image_size: tuple[int, int]) -> Views:
        """The different views that locations have, relative to themselves."""
        rows, columns = (self._views_along(side) for side in image_size)
        row_offset, row_phase, row_label = rows
        column_offset, column_phase, column_label = columns
        label = row_label[:, None] * len(column_phase) + column_label[None, :]
        shape = (len(row_phase), len(column_phase), self.patch_size, self.patch_size)
        down = row_offset[:, None, :, None].expand(shape)
        right = column_offset[None, :, None, :].expand(shape)
        seen = self.mask[row_phase[:, None], column_phase[None, :]]
        seen = seen & (down != self._nowhere) & (right != self._nowhere)
        phase = row_phase[:, None] * self.period + column_phase[None, :]
        offsets = torch.stack([down, right], -1).flatten(0, 1).flatten(1, 2)
        return Views(label.flatten(), phase.flatten(), offsets, seen.flatten(0, 1).flatten(1))

    @property
    def _nowhere(self) -> int:
        """An offset that no pixel has."""
        return 2 * self.patch_size

    def _views_along(self, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Along one axis: the different offsets (K, P), their phases (K,), and whose (side,)."""
        here = torch.arange(side)[:, None]
        if self.padding == "circular":  # beyond the border everything goes on as inside
            offset = (torch.arange(self.patch_size) - self.patch_size // 2).expand(side, -1)
        else:
            place = self.coordinates(side)
            offset = torch.where(place == OUTSIDE, self._nowhere, place - here)
        table = torch.cat([offset, here % self.period], 1)
        kinds, label = table.unique(dim=0, return_inverse=True)
        return kinds[:, :-1], kinds[:, -1], label


@dataclass(frozen=True)
class Views:
    """The K different views that the locations of an image have through a field.

    Attributes:
        label: which view a location has, (L,).
        phase: of each view, (K,).
        offsets: where its elements come from, relative to the location, (K, P*P, 2); two elements
            with the same offset are copies of one pixel.
        seen: which elements are seen, (K, P*P): in the mask, and not a padded zero.
    """

    label: Tensor
    phase: Tensor
    offsets: Tensor
    seen: Tensor

    @property
    def first(self) -> Tensor:
        """For each element the first one that is a copy of the same pixel, (K, P*P)."""
        same = (self.offsets[:, :, None] == self.offsets[:, None, :]).all(-1)
        same &= self.seen[:, None, :]
        return same.int().argmax(-1)  # the first of the largest ones


def as_field(
    patch_size: object = None,
    padding: str = "circular",
    period: object = 1,
    field: object = None,
) -> Field:
    """Returns a field from the arguments of an estimator.

    Args:
        patch_size: P, odd; None is the side of the given field, 5 without one.
        padding: one of `PADDINGS`.
        period: s; 1 also stands for the number of phases of the given field.
        field: None, where all of the P x P patch is seen; a mask (P, P), or one for each of the
            phases, (s, s, P, P), boolean or of zeros and ones; or a `Field`.

    Raises:
        ValueError: if the arguments are of the wrong kind or contradict each other.

    Example:
        >>> blind = torch.ones(3, 3)
        >>> blind[1, 1] = 0
        >>> as_field(field=blind, period=2).mask.shape
        torch.Size([2, 2, 3, 3])
    """
    period = as_integer(period, "period", 1, LARGEST)
    if field is None:
        size = USUAL if patch_size is None else as_odd(patch_size)
        return Field(torch.ones(period, period, size, size, dtype=torch.bool), padding)
    if isinstance(field, Field):
        if padding not in ("circular", field.padding):
            raise ValueError(f"expected padding {field.padding!r} like the field, got {padding!r}")
        mask, padding = field.mask, field.padding
    else:
        mask = _as_mask(field)
        if mask.ndim == 2:
            mask = mask.expand(period, period, *mask.shape).clone()
    result = Field(mask, padding)
    if period not in (1, result.period):
        raise ValueError(f"expected period {result.period} like the field, got {period}")
    if patch_size is not None and as_odd(patch_size) != result.patch_size:
        raise ValueError(
            f"expected patch_size {result.patch_size} like the field, got {patch_size}"
        )
    return result


def _as_mask(value: object) -> Tensor:
    """A mask of two or four dimensions, boolean, on the CPU."""
    wanted = "expected field to be a Field or a mask (P, P) or (s, s, P, P) of zeros and ones"
    mask = as_numbers(value)
    if mask is None or mask.is_complex() or mask.ndim not in (2, 4) or mask.numel() == 0:
        raise ValueError(f"{wanted}, got {describe(value if mask is None else mask)}")
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"{wanted}, got other values too")
    return mask.detach().cpu() == 1


def as_odd(patch_size: object) -> int:
    """Returns a patch size; ValueError unless it is odd and positive."""
    size = as_integer(patch_size, "patch_size, which is odd,", 1, LARGEST)
    if size % 2 == 0:
        raise ValueError(f"expected patch_size to be odd, got {size}")
    return size
