"""Checks of arguments: each raises ``ValueError`` saying what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

REAL = (torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)


def describe(value: object) -> str:
    """Returns a short description of an argument, for error messages."""
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    return f"{type(value).__name__} {value!r}"


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
    try:
        matrix = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        matrix = None
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


def check_noise_level(sigma: object, batch: int) -> None:
    """Checks a noise level: a number, or a tensor with one number for each image; zero allowed.

    Raises:
        ValueError: if it is negative, not finite, or of another shape.
    """
    level = torch.as_tensor(sigma) if isinstance(sigma, Real | Tensor) else None
    wanted = f"expected sigma to be a number or a tensor of shape ({batch},), finite and >= 0"
    if level is None or level.is_complex() or level.shape not in ((), (batch,)):
        raise ValueError(f"{wanted}, got {describe(sigma)}")
    if not (torch.isfinite(level) & (level >= 0)).all():
        raise ValueError(f"{wanted}, got {sigma!r}")


def check_positive_integers(**numbers: int) -> None:
    """Raises ValueError unless all these arguments are positive integers."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
            raise ValueError(f"{name}: expected a positive integer, got {number!r}")
