"""Units: estimators compute in numbers near 1, whatever the units of images and measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import precise

STEP = 16
"""Units are powers of 2^16: numbers of the usual sizes, up to 256, stay what they are."""

EXTREME = 1e100
"""Numbers larger than this, and sets of numbers smaller than its inverse, are refused."""


def unit_of(largest: float) -> float:
    """The unit in which a number is between 2^-9 and 2^8: a power of two, which rounds nothing.

    Squares of float32 numbers vanish below 1e-23 and overflow above 1e19, and the smallest of
    those that matter are 1e12 times below the largest.

    Example:
        >>> unit_of(1.0), unit_of(255.0), unit_of(65535.0) == 2**16
        (1.0, 1.0, True)
    """
    return 2.0 ** (STEP * round(math.frexp(largest)[1] / STEP))


@dataclass(frozen=True)
class Units:
    """A zero for each channel and a unit for all, in which pixels are averaged.

    Attributes:
        zero: (C,), in the best precision; None where nothing would be gained.
        unit: from `unit_of`.
    """

    zero: Tensor | None
    unit: float

    def of(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """Pixels (..., C) in these units, rounded to a precision only then."""
        if self.zero is not None:
            pixels = pixels.to(self.zero) - self.zero
        if self.unit != 1:
            pixels = pixels.to(precise(pixels.device)) / self.unit
        return pixels.to(dtype)

    def back(self, pixels: Tensor) -> Tensor:
        """From averages in these units, (..., C), to those of the images."""
        if self.unit != 1:
            pixels = pixels * self.unit
        return pixels if self.zero is None else pixels + self.zero.to(pixels)


def largest_number(x: Tensor) -> float:
    """The largest absolute value of a tensor, without a copy of it."""
    low, high = x.detach().aminmax()
    return max(-low.item(), high.item())


def check_extreme(largest: float, name: str) -> None:
    """Raises ValueError where squares of numbers up to this would be 0 or infinite.

    Args:
        largest: the largest absolute value; 0 is none at all.
        name: of the numbers.
    """
    if largest and not 1 / EXTREME <= largest <= EXTREME:
        raise ValueError(
            f"expected the largest number in {name} to be between {1 / EXTREME:.0e} and "
            f"{EXTREME:.0e}, got {largest:.3g}: choose other units"
        )
