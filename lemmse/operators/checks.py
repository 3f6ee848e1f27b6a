"""Checks of arguments: each raises ``ValueError`` saying what was expected and what came."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

REAL = (torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)


def describe(value: object) -> str:
    """Returns a short description of an argument, for error messages."""
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    kinds = {type(entry).__name__ for entry in value} if isinstance(value, list | tuple) else set()
    if kinds & {"Tensor", "ndarray", "list", "tuple"}:
        return f"a {type(value).__name__} of {len(value)} entries ({', '.join(sorted(kinds))})"
    return f"{type(value).__name__} {reprlib.repr(value)}"


def check_finite(x: Tensor, name: str) -> None:
    """Raises ValueError if x holds NaN or infinity."""
    if not torch.isfinite(x).all():
        raise ValueError(f"expected finite values in {name}, but it contains NaN or Inf")


def check_tensor(x: object, name: str, dtypes: Sequence[torch.dtype], shape: Sequence) -> None:
    """Checks type, precision, shape and finiteness of a tensor.

    Args:
        x: the argument.
        name: what to call it in the message.
        dtypes: the accepted dtypes.
        shape: expected size of each dimension: a number, or a letter where any size will do.

    Raises:
        ValueError: if x is not such a tensor.
    """
    wanted = (
        f"a {' or '.join(str(d) for d in dtypes)} tensor of shape ({', '.join(map(str, shape))})"
    )
    if not isinstance(x, Tensor) or x.dtype not in dtypes:
        raise ValueError(f"expected {name} to be {wanted}, got {describe(x)}")
    fits = x.ndim == len(shape) and all(
        isinstance(size, str) or size == actual for size, actual in zip(shape, x.shape, strict=True)
    )
    if not fits or x.numel() == 0:
        raise ValueError(f"expected {name} to be {wanted}, not empty, got {describe(x)}")
    check_finite(x, name)


def batch_of(image_shape: Sequence[int] | None) -> tuple:
    """Returns the shape of a batch of images: letters stand for the sizes that are free."""
    return ("B", "C", "H", "W")[: 4 - len(image_shape or ())] + tuple(image_shape or ())


def check_images(x: object, name: str, image_shape: Sequence[int] | None) -> None:
    """Checks that x is a finite batch of real images of the given shape.

    Raises:
        ValueError: if it is not.
    """
    check_tensor(x, name, REAL, batch_of(image_shape))


def check_sizes(sizes: object, name: str, ranks: Sequence[int]) -> tuple[int, ...]:
    """Returns a shape as a tuple of positive integers.

    Raises:
        ValueError: if an entry is not a positive integer, or their number is not in ``ranks``.
    """
    wanted = " or ".join(
        {2: "(height, width)", 3: "(channels, height, width)"}[rank] for rank in ranks
    )
    valid = (
        isinstance(sizes, Sequence)
        and len(sizes) in ranks
        and all(isinstance(s, Integral) and s > 0 for s in sizes)
    )
    if not valid:
        raise ValueError(f"expected {name} to be {wanted}, positive integers, got {sizes!r}")
    return tuple(int(s) for s in sizes)


def check_image_shape(image_shape: object, fits: Sequence[int] | None) -> tuple[int, int, int]:
    """Returns (C, H, W).

    Args:
        image_shape: the argument; None stands for ``fits`` if that is a full shape.
        fits: the ``image_shape`` of an operator.

    Raises:
        ValueError: if it is not three positive integers, or images of this shape do not fit.
    """
    if image_shape is None and fits is not None and len(fits) == 3:
        return tuple(fits)
    shape = check_sizes(image_shape, "image_shape", ranks=(3,))
    if fits is not None and shape[3 - len(fits) :] != tuple(fits):
        raise ValueError(f"expected image_shape to end in {tuple(fits)}, got {shape}")
    return shape


def as_matrix(value: object, name: str) -> Tensor:
    """Returns a real matrix as float64 tensor on the CPU.

    Raises:
        ValueError: if it is not a finite, non-empty, real array of two dimensions.
    """
    matrix = as_numbers(value)
    if matrix is None or matrix.is_complex() or matrix.ndim != 2 or matrix.numel() == 0:
        got = describe(value if matrix is None else matrix)
        raise ValueError(f"expected {name} to be a real matrix, not empty, got {got}")
    check_finite(matrix, name)
    return matrix.detach().to("cpu", torch.float64)


def check_positive(value: object, name: str) -> float:
    """Returns a number as float.

    Raises:
        ValueError: if it is not a finite number above zero.
    """
    if not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"expected {name} to be a finite number > 0, got {value!r}")
    return float(value)


RANGE = 1e12
"""Noise levels lie within this factor of the scale of the data, either way."""


def noise_levels(
    sigma: object,
    batch: int,
    dtype: torch.dtype,
    device: torch.device,
    zero: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Returns noise levels as one number for each image; gradients flow back to sigma.

    Args:
        sigma: a number, or numbers as a tensor, a NumPy array or a list: one for all images, of
            shape () or (1,), or one for each of them, (B,); either with further dimensions of
            size 1, as in (B, 1, 1, 1).
        batch: B.
        dtype, device: of the result.
        zero: whether 0 is allowed.
        scale: the largest absolute value of the data; sigma must then be zero or within a factor of
            1e12 of it.

    Returns:
        (B,).

    Raises:
        ValueError: if sigma is something else (boolean and complex numbers are), has another shape,
            is negative, zero, not finite, or out of proportion to the data.

    Example:
        >>> import torch
        >>> noise_levels([0.1, 0.2], 2, torch.float32, torch.device("cpu"))
        tensor([0.1000, 0.2000])
    """
    least = ">= 0" if zero else "> 0"
    wanted = f"expected sigma to be a number {least}, or one for each of {batch} images"
    given = as_numbers(sigma)
    if given is None or given.dtype == torch.bool or given.is_complex():
        raise ValueError(f"{wanted}, got {describe(sigma)}")
    count = given.shape[0] if given.ndim else 1
    if given.numel() != count or count not in (1, batch):
        raise ValueError(f"{wanted}, got {describe(sigma)}")
    levels = given.to(device, dtype).flatten()
    exact = levels.detach()
    if not (torch.isfinite(exact) & ((exact >= 0) if zero else (exact > 0))).all():
        raise ValueError(f"{wanted}, finite in {dtype}, got {reprlib.repr(given.tolist())}")
    if scale:  # nothing is out of proportion to black images
        near = (exact >= scale / RANGE) & (exact <= scale * RANGE)
        if not (near | (exact == 0)).all():
            raise ValueError(
                f"expected sigma to be within a factor of {RANGE:.0e} of the data's largest value, "
                f"{scale:.3g}, got {reprlib.repr(given.tolist())}"
            )
    return levels.expand(batch)


def as_numbers(value: object) -> Tensor | None:
    """Returns a number, list or array as a tensor, None if it is no such thing."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list | tuple) and any(isinstance(entry, Tensor) for entry in value):
        entries = [as_numbers(entry) for entry in value]
        alike = all(e is not None and e.shape == entries[0].shape for e in entries)
        return torch.stack(entries) if alike else None
    try:
        array = np.asarray(value)
        # torch lacks some of NumPy's integers and floats
        return torch.from_numpy(array.astype(np.float64) if array.dtype.kind in "iuf" else array)
    except (TypeError, ValueError):
        return None


def as_integer(value: object, name: str, least: int, most: int | None = None, why: str = "") -> int:
    """Returns an integer of Python, NumPy or torch as an int.

    Args:
        value: the argument.
        name: what to call it in the message.
        least, most: the range; most None means that there is no upper end.
        why: what the upper end is.

    Raises:
        ValueError: if it is not an integer in the range.

    Example:
        >>> as_integer(np.int64(5), "patch_size", 1)
        5
    """
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    bad = isinstance(value, bool) or not isinstance(value, Integral) or value < least
    if bad or (most is not None and value > most):
        span = f">= {least}" if most is None else f"from {least} to {most}"
        span = f"{span}, {why}" if why else span
        raise ValueError(f"expected {name} to be an integer {span}, got {reprlib.repr(value)}")
    return int(value)


def check_number(value: object, name: str, least: float, below: float = math.inf) -> float:
    """Returns a number as float.

    Raises:
        ValueError: if it is not a number in [least, below); infinity is below infinity.
    """
    fits = isinstance(value, Real) and not isinstance(value, bool) and value >= least
    if not fits or value >= below < math.inf:
        span = f"in [{least}, {below})" if below < math.inf else f">= {least}"
        raise ValueError(f"expected {name} to be a number {span}, got {reprlib.repr(value)}")
    return float(value)


def check_positive_integers(**numbers: int) -> None:
    """Raises ValueError unless all these arguments are positive integers."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
            raise ValueError(f"{name}: expected a positive integer, got {number!r}")
