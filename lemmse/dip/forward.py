"""The forward operator of a batch of runs and trials: a matrix, or an operator of the package."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import Operator


class Forward:
    """A and its adjoint on (runs, trials, *shape).

    Args:
        A: a matrix (m, n); one for each run, (runs, m, n); or an `Operator` on images.

    Raises:
        ValueError: anything else.
    """

    def __init__(self, A: Tensor | Operator):
        if isinstance(A, Operator):
            self.matrix = None
        elif torch.is_tensor(A) and A.is_floating_point() and A.ndim in (2, 3):
            self.matrix = A
        else:
            what = f"a tensor {tuple(A.shape)}" if torch.is_tensor(A) else type(A).__name__
            raise ValueError(
                f"A: expected a real matrix (m, n) or (runs, m, n), or an Operator, got {what}"
            )
        self.A = A

    def select(self, runs: Tensor) -> Forward:
        """The operator of some of the runs only."""
        per_run = self.matrix is not None and self.matrix.ndim == 3
        return Forward(self.matrix[runs]) if per_run else self

    def __call__(self, x: Tensor) -> Tensor:
        """A x, for x (runs, trials, *image)."""
        if self.matrix is not None:
            return x @ self.matrix.mT
        return self.A.A(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def adjoint(self, r: Tensor) -> Tensor:
        """A^T r, for r (runs, trials, *measurement)."""
        if self.matrix is not None:
            return r @ self.matrix
        return self.A.A_adjoint(r.flatten(0, 1)).unflatten(0, r.shape[:2])
