"""Operators of other libraries, such as deepinv."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from .base import Operator
from .checks import COMPLEX, REAL, check_finite, check_images, check_tensor, describe
from .materialise import (
    BATCH_TOLERANCE,
    WrittenOut,
    numbers_within,
    real_vectors,
    write_out,
)
from .matrix import MatrixOperator
from .structure import General

GAUSSIAN = {"GaussianNoise", "ZeroNoise"}
"""Noise models of deepinv that the estimators' formula is right for."""


class ForeignOperator(Operator):
    """Makes an operator of an object of another library that has linear ``A`` and ``A_adjoint``.

    The object is evaluated on its own device and in its own precision; results have those of the
    input. The inverses come from A written out as a matrix: iterative ones, which many libraries
    use, stop early and so are neither exact nor linear.

    Args:
        physics: the object; its methods take and return batches of tensors.
        image_shape: (C, H, W) of the images.

    Raises:
        ValueError: if A or A_adjoint fails on images of this shape, or returns something else than
            finite tensors of floating-point numbers, one for each entry of the batch and from it
            alone.

    Warns:
        UserWarning: if the object has a ``noise_model`` that is not Gaussian.

    Example:
        >>> from lemmse.operators import Identity
        >>> ForeignOperator(Identity(), (1, 8, 8)).image_shape
        (1, 8, 8)
    """

    def __init__(self, physics: object, image_shape: tuple[int, int, int]):
        super().__init__()
        self.physics = physics
        self.image_shape = image_shape
        self.name = type(physics).__name__
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(2, *image_shape, generator=generator, dtype=torch.float64, device="cpu")
        y = self._evaluate("A", x)
        self.measurement_shape, self.is_complex = tuple(y.shape[1:]), y.is_complex()
        back = self._evaluate("A_adjoint", y)
        if back.shape != x.shape or back.is_complex():
            raise ValueError(
                f"expected {self.name} to work on real images of shape {image_shape}, but its "
                f"A_adjoint returns {describe(back[0])}"
            )
        for method, batch, values in (("A", x, y), ("A_adjoint", y, back)):
            error = (self._evaluate(method, batch[:1]) - values[:1]).abs().max()
            if error > BATCH_TOLERANCE * values.abs().max():
                raise ValueError(
                    f"expected {self.name}.{method} to treat each entry of a batch by itself, but "
                    "the first of two gives something else than alone"
                )
        warn_unless_gaussian(physics)

    def A(self, x: Tensor) -> Tensor:
        check_images(x, "x", self.image_shape)
        return self._evaluate("A", x)

    def A_adjoint(self, y: Tensor) -> Tensor:
        self._check_measurement(y)
        return self._evaluate("A_adjoint", y)

    def A_dagger(self, y: Tensor) -> Tensor:
        self._check_measurement(y)
        return self.dense.A_dagger(real_vectors(y))

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        self._check_measurement(y)
        return self.dense.A_tikhonov(real_vectors(y), regularisation)

    @cached_property
    def dense(self) -> MatrixOperator:
        """The same operator as a matrix."""
        return MatrixOperator(self._written_out(self.A, self.image_shape), self.image_shape)

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> General | None:
        if kind in ("pinv", "tikhonov"):
            return self.dense.structure(kind, image_shape, regularisation)
        if kind == "adjoint":
            shape = self.measurement_shape
            matrix = self._written_out(self.A_adjoint, shape, self.is_complex).matrix
            return General(matrix, per_channel=image_shape[0] == 1)
        return None

    def example_measurement(self, image_shape: tuple[int, int, int]) -> Tensor:
        return self.A(torch.zeros(1, *image_shape, dtype=torch.float64, device="cpu"))

    def _written_out(
        self, function: Callable, shape: tuple[int, ...], is_complex: bool = False
    ) -> WrittenOut:
        return write_out(function, shape, is_complex, self._numbers(), torch.float64)

    def _check_measurement(self, y: Tensor) -> None:
        check_tensor(y, "y", COMPLEX if self.is_complex else REAL, ("B", *self.measurement_shape))

    def _numbers(self) -> list[Tensor]:
        """The tensors that A is made of: all in the object, but those of its noise model."""
        noise = {id(t) for t in numbers_within(getattr(self.physics, "noise_model", None))}
        return [t for t in numbers_within(self.physics) if id(t) not in noise]

    def _evaluate(self, method: str, x: Tensor) -> Tensor:
        """Calls a method of the object, in its precision; the result has the precision of x."""
        wanted = f"expected {self.name}.{method} to take {describe(x)} to a tensor"
        y = self._call(method, x, wanted)
        if not isinstance(y, Tensor) or not (y.is_floating_point() or y.is_complex()):
            raise ValueError(f"{wanted} of real or complex numbers, got {describe(y)}")
        if y.ndim < 2 or len(y) != len(x):
            raise ValueError(f"{wanted} with the same first dimension, got {describe(y)}")
        check_finite(y, f"what {self.name}.{method} returns")
        real = x.dtype.to_real()
        return y.to(x.device, real.to_complex() if y.is_complex() else real)

    def _call(self, method: str, x: Tensor, wanted: str) -> object:
        """Calls a method in the first precision that it works in: that of its numbers, if it can.

        Nothing else tells the precision of an object whose numbers are out of sight, or mixed.
        """
        numbers = self._numbers()
        device = numbers[0].device if numbers else x.device
        errors = []
        for dtype in dict.fromkeys([t.dtype.to_real() for t in numbers] + list(REAL[::-1])):
            try:
                moved = x.to(device, dtype.to_complex() if x.is_complex() else dtype)
                return getattr(self.physics, method)(moved)
            except Exception as error:  # of any kind: the code is not ours
                errors.append(error)
        kind = type(errors[0]).__name__
        raise ValueError(f"{wanted}, but it raised {kind}: {errors[0]}") from errors[0]


def warn_unless_gaussian(physics: object) -> None:
    """Warns if an object says that its noise is not Gaussian."""
    noise = getattr(physics, "noise_model", None)
    if noise is not None and not GAUSSIAN & {kind.__name__ for kind in type(noise).__mro__}:
        warnings.warn(
            f"{type(physics).__name__} has {type(noise).__name__}, but the estimators' formulas "
            "are those of white Gaussian noise",
            stacklevel=2,
        )
