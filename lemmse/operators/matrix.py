"""Operators given by any matrix or linear function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from .base import RANK_TOLERANCE, Constant, Operator
from .checks import (
    REAL,
    as_matrix,
    batch_of,
    check_images,
    check_positive,
    check_sizes,
    check_tensor,
)
from .materialise import WrittenOut, is_single, write_out
from .structure import General

SINGLE_RANK_TOLERANCE = 1e-6
GAP = 1e3
"""So far below all others, singular values of a function at most 1e-6 are rounding errors."""

ROUNDING_MARGIN = 4
"""How far the norm of random errors, at most twice their relative size, may be exceeded."""


class MatrixOperator(Operator):
    """Any linear operator, as a dense float64 matrix: ``A x = M vec(x)``.

    Inverses come from the singular value decomposition ``M = U diag(s) V^T``, computed in float64
    when first needed and kept: ``A_dagger`` is ``V diag(1/s) U^T`` over ``s > 1e-10 max s``,
    ``A_tikhonov`` is ``V diag(s / (s^2 + lambda)) U^T``. Numbers that were rounded to float32 are
    told by their values, whatever their dtype: there the threshold is ``1e-6 max s``. It is at
    least four times the rounding error of a callable, which is measured. Rounded geometry does not
    show in that (an angle in float32, say, from which all else follows in float64): so values of a
    callable below ``1e-6 max s`` count as zero, too, if all others are a thousand times larger.

    Args:
        matrix: (m, H*W), applied to each channel, or (m, C*H*W), applied to whole images; or a
            linear callable on batches (B, 1, H, W) or (B, C, H, W), written out as a matrix, or
            what `write_out` makes of one. Complex values of a callable count as real ones, real
            parts first.
        image_shape: (H, W) or (C, H, W); says which of the two is meant.

    Measurements are (B, C, m) in the first case and (B, m) in the second.

    Raises:
        ValueError: if the matrix is not a finite real matrix of that width, or the callable is not
            linear.

    Example:
        >>> import torch
        >>> from lemmse.operators import MatrixOperator
        >>> rows = MatrixOperator(lambda x: x.sum(-1), (2, 3))
        >>> rows.A(torch.arange(6.0).reshape(1, 1, 2, 3))
        tensor([[[ 3., 12.]]])
    """

    def __init__(
        self, matrix: Tensor | Callable[[Tensor], Tensor] | WrittenOut, image_shape: Sequence[int]
    ):
        super().__init__()
        self.image_shape = check_sizes(image_shape, "image_shape", ranks=(2, 3))
        if callable(matrix):
            matrix = write_out(matrix, (1, *self.image_shape)[-3:])
        self.is_function = isinstance(matrix, WrittenOut)
        if not isinstance(matrix, WrittenOut):
            matrix = as_matrix(matrix, "the matrix")
            matrix = WrittenOut(matrix, rounding=0.0, single=is_single(matrix))
        self.rank_tolerance = max(
            SINGLE_RANK_TOLERANCE if matrix.single else RANK_TOLERANCE,
            ROUNDING_MARGIN * matrix.rounding,
        )
        matrix = matrix.matrix
        if matrix.shape[1] != math.prod(self.image_shape):
            raise ValueError(
                f"expected a matrix with {math.prod(self.image_shape)} columns for images of shape "
                f"{self.image_shape}, got {tuple(matrix.shape)}"
            )
        self.matrix = Constant(matrix)
        self.measurement_shape: tuple[int, ...] = (len(matrix),)

    @cached_property
    def svd(self) -> tuple[Constant, Tensor, Constant]:
        """U, s and V^T of the matrix, without the singular values that count as zero."""
        u, s, vh = torch.linalg.svd(self.matrix.value, full_matrices=False)
        small = s <= SINGLE_RANK_TOLERANCE * s.max()
        some = self.is_function and bool(small.any()) and not bool(small.all())
        gap = some and bool(s[~small].amin() > GAP * s[small].amax())
        rank = int((~small if gap else s > self.rank_tolerance * s.max()).sum())
        return Constant(u[:, :rank]), s[:rank].clone(), Constant(vh[:rank])

    def A(self, x: Tensor) -> Tensor:
        check_images(x, "x", self.image_shape)
        vectors = x.flatten(-len(self.image_shape))
        return (vectors @ self.matrix.like(x).T).unflatten(-1, self.measurement_shape)

    def A_adjoint(self, y: Tensor) -> Tensor:
        vectors = self.measurement_vectors(y)
        return self.images(vectors @ self.matrix.like(y))

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.filtered(y, 1 / self.svd[1])

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        return self.filtered(y, self.tikhonov_factors(regularisation))

    def tikhonov_factors(self, regularisation: float) -> Tensor:
        """Returns ``s / (s^2 + lambda)``."""
        s = self.svd[1]
        return s / (s**2 + check_positive(regularisation, "regularisation"))

    def filtered(self, y: Tensor, factors: Tensor) -> Tensor:
        """Returns ``V diag(factors) U^T y``."""
        u, _, vh = self.svd
        coefficients = self.measurement_vectors(y) @ u.like(y)
        return self.images(coefficients * factors.to(y) @ vh.like(y))

    def measurement_vectors(self, y: Tensor) -> Tensor:
        """Checks measurements and flattens them to (B, C, m) or (B, m)."""
        leading = batch_of(self.image_shape)[: -len(self.image_shape)]
        check_tensor(y, "y", REAL, (*leading, *self.measurement_shape))
        return y.flatten(len(leading))

    def images(self, vectors: Tensor) -> Tensor:
        """Gives vectors of pixels the shape of images."""
        return vectors.unflatten(-1, self.image_shape)

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> General | None:
        if kind == "adjoint":
            matrix = self.matrix.value.T
        elif kind in ("pinv", "tikhonov"):
            u, s, vh = self.svd
            factors = 1 / s if kind == "pinv" else self.tikhonov_factors(regularisation)
            matrix = vh.value.T * factors @ u.value.T
        else:
            return None
        return General(matrix.contiguous(), per_channel=len(self.image_shape) == 2)
