"""Linear maps written out as matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..devices import plain_mode
from .checks import check_finite, describe

COLUMNS_AT_ONCE = 256
BATCH_TOLERANCE = 1e-3
"""How far rounding may change a value, relative to the largest, with the size of the batch."""


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


def numbers_within(function: object) -> Iterator[Tensor]:
    """Yields the floating-point tensors inside a module or object, or the one a method belongs to.

    They are the parameters and buffers of a module, and the tensors and modules among the
    attributes of it and of any other object.
    """
    while isinstance(function, partial):
        function = function.func
    owner = getattr(function, "__self__", function)
    values = list(getattr(owner, "__dict__", {}).values())
    modules = [m for m in (owner, *values) if isinstance(m, nn.Module)]
    inside = [t for m in modules for t in (*m.parameters(), *m.buffers())] + values
    for value in inside:
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
            yield value


def home(function: object) -> tuple[torch.device, torch.dtype]:
    """Returns the device and precision that a function works in.

    They are those of the first of its :func:`numbers_within`; without one, the CPU and float64.
    """
    for tensor in numbers_within(function):
        return tensor.device, tensor.dtype.to_real()
    return torch.device("cpu"), torch.float64


def is_single(numbers: Tensor) -> bool:
    """Whether numbers are known in float32 only, whatever their dtype.

    That is so if they survive a rounding to float32. Short numbers, of at most 11 binary digits
    as in half precision, are taken for exact: 0.25, say.

    Example:
        >>> import torch
        >>> third = torch.tensor([1 / 3], dtype=torch.float64)
        >>> is_single(third), is_single(third.float().double()), is_single(third.round())
        (False, True, False)
    """
    if numbers.is_complex():
        return is_single(torch.view_as_real(numbers.resolve_conj()))
    digits = torch.frexp(numbers.double()).mantissa * 2**11
    return not torch.equal(digits, digits.round()) and torch.equal(
        numbers.float().double(), numbers.double()
    )


@dataclass(frozen=True)
class WrittenOut:
    """A linear map as a matrix, and how well the matrix is known.

    Attributes:
        matrix: float64 (outputs, inputs), on the CPU.
        rounding: the measured error, relative in the Frobenius norm.
        single: whether the map computes in float32, or from numbers that were rounded to it.
    """

    matrix: Tensor
    rounding: float
    single: bool


@torch.no_grad()
@plain_mode()
def write_out(
    function: Callable[[Tensor], Tensor],
    shape: Sequence[int],
    is_complex: bool = False,
    numbers: Sequence[Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> WrittenOut:
    """Writes a linear map out and measures its rounding errors: see :func:`materialise`.

    Args:
        function, shape, is_complex: as there.
        numbers: what the map is made of; None stands for its :func:`numbers_within`.
        dtype: the precision of its inputs; None stands for that of the first of the numbers.
    """
    device, own = home(function)
    dtype = own if dtype is None else dtype
    numbers = list(numbers_within(function)) if numbers is None else numbers

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
    unit_vectors = torch.eye(count, dtype=torch.float64, device="cpu")
    matrix = torch.cat([evaluate(rows) for rows in unit_vectors.split(COLUMNS_AT_ONCE)]).T
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, count, generator=generator, dtype=torch.float64, device="cpu")
    values, expected = evaluate(points), points @ matrix.T
    single = any(map(is_single, (matrix, *numbers)))
    half = any(t.dtype in (torch.float16, torch.bfloat16) for t in numbers)
    largest = torch.maximum(values.abs().max(), expected.abs().max())
    alone = torch.cat([evaluate(point) for point in points.split(1)])
    if (values - alone).abs().max() > BATCH_TOLERANCE * largest:
        raise ValueError("expected a function that treats each entry of a batch by itself")
    error = values - expected
    if error.abs().max() > (3e-2 if half else 1e-3 if single else 1e-6) * largest:
        raise ValueError(
            "expected a linear function, but its value at a random point differs by "
            f"{error.abs().max().item():.1e} from the combination of its values at the unit vectors"
        )
    rounding = (error.norm() / expected.norm().clamp_min(torch.finfo(torch.float64).tiny)).item()
    return WrittenOut(matrix.contiguous(), rounding, single)


def materialise(
    function: Callable[[Tensor], Tensor], shape: Sequence[int], is_complex: bool = False
) -> Tensor:
    """Writes a linear map out as a matrix, column by column: ``M[:, i] = f(e_i)``.

    The map is evaluated in the precision of its own numbers, in float64 if it has none, on batches
    of unit vectors. The result is compared with the map at two random points, to within 1e-6
    relative to the largest value, 1e-3 if the map computes in float32 or from such numbers, 3e-2
    if from numbers in half precision.

    Args:
        function: takes a batch of inputs of this shape and returns a batch of tensors of any one
            shape.
        shape: shape of one input.
        is_complex: whether inputs are complex; they then count as twice as many real numbers,
            the real parts first.

    Returns:
        float64 matrix (outputs, inputs), on the CPU.

    Raises:
        ValueError: if the function is not linear, does not treat each entry of a batch by itself,
            or returns something else than finite tensors.

    Example:
        >>> from lemmse.operators import materialise
        >>> materialise(lambda x: x.flip(1), (3,))
        tensor([[0., 0., 1.],
                [0., 1., 0.],
                [1., 0., 0.]], dtype=torch.float64)
    """
    return write_out(function, shape, is_complex).matrix
