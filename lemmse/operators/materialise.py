"""Linear maps written out as matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from .checks import check_finite, describe

COLUMNS_AT_ONCE = 256


def real_vectors(y: Tensor) -> Tensor:
    """Flattens a batch to (B, m) real numbers; of complex ones, real parts, then imaginary parts.

    Example:
        >>> import torch
        >>> real_vectors(torch.tensor([[1 + 2j, 3 + 4j]]))
        tensor([[1., 3., 2., 4.]])
    """
    y = y.flatten(1)
    return torch.cat([y.real, y.imag], dim=1) if y.is_complex() else y


def from_real_vectors(vectors: Tensor, shape: Sequence[int], is_complex: bool) -> Tensor:
    """Undoes :func:`real_vectors`: (B, m) real numbers become a batch of the given shape."""
    if is_complex:
        vectors = torch.complex(*vectors.chunk(2, dim=1))
    return vectors.reshape(-1, *shape)


def home(function: Callable) -> tuple[torch.device, torch.dtype]:
    """Returns the device and precision that a function works in.

    They are those of the first floating-point parameter or buffer of the module that it is, or is
    a method of; without one, the CPU and float64.
    """
    while isinstance(function, partial):
        function = function.func
    owner = function if isinstance(function, nn.Module) else getattr(function, "__self__", None)
    tensors = (*owner.parameters(), *owner.buffers()) if isinstance(owner, nn.Module) else ()
    for tensor in tensors:
        if tensor.is_floating_point() or tensor.is_complex():
            return tensor.device, tensor.dtype.to_real()
    return torch.device("cpu"), torch.float64


@torch.no_grad()
def materialise(
    function: Callable[[Tensor], Tensor], shape: Sequence[int], is_complex: bool = False
) -> Tensor:
    """Writes a linear map out as a matrix, column by column: ``M[:, i] = f(e_i)``.

    The map is evaluated in the precision of its own parameters, in float64 if it has none, on
    batches of unit vectors. The result is compared with the map at two random points, to within
    1e-6 relative to the largest value in float64 and 1e-3 in float32.

    Args:
        function: takes a batch of inputs of this shape and returns a batch of tensors of any one
            shape.
        shape: shape of one input.
        is_complex: whether inputs are complex; they then count as twice as many real numbers,
            the real parts first.

    Returns:
        float64 matrix (outputs, inputs), on the CPU.

    Raises:
        ValueError: if the function is not linear, does not keep the batch dimension, or returns
            something else than finite tensors.

    Example:
        >>> from lemmse.operators import materialise
        >>> materialise(lambda x: x.flip(1), (3,))
        tensor([[0., 0., 1.],
                [0., 1., 0.],
                [1., 0., 0.]], dtype=torch.float64)
    """
    device, dtype = home(function)

    def evaluate(vectors: Tensor) -> Tensor:
        batch = from_real_vectors(vectors.to(device, dtype), shape, is_complex)
        values = function(batch)
        if not isinstance(values, Tensor) or values.ndim == 0 or len(values) != len(vectors):
            raise ValueError(
                f"expected a function that takes {describe(batch)} to a tensor with the same "
                f"first dimension, got {describe(values)}"
            )
        check_finite(values, "the values of the function")
        return real_vectors(values.reshape(len(values), -1)).to("cpu", torch.float64)

    count = math.prod(shape) * (2 if is_complex else 1)
    unit_vectors = torch.eye(count, dtype=torch.float64)
    matrix = torch.cat([evaluate(rows) for rows in unit_vectors.split(COLUMNS_AT_ONCE)]).T
    points = torch.randn(2, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values, expected = evaluate(points), points @ matrix.T
    tolerance = 1e-6 if dtype == torch.float64 else 1e-3
    error = (values - expected).abs().max()
    if error > tolerance * torch.maximum(values.abs().max(), expected.abs().max()):
        raise ValueError(
            "expected a linear function, but its value at a random point differs by "
            f"{error.item():.1e} from the combination of its values at the unit vectors"
        )
    return matrix.contiguous()
