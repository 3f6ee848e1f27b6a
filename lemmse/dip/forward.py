"""The forward operator of a batch of runs and trials: a matrix, or an operator of the package."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import Operator
from ..operators.checks import check_finite


class Forward:
    """A and its adjoint on (runs, trials, *shape).

    Args:
        A: a matrix (m, n); one for each run, (runs, m, n); or an `Operator` on images.

    Raises:
        ValueError: anything else, or a matrix with NaN or infinity.
    """

    def __init__(self, A: Tensor | Operator):
        if isinstance(A, Operator):
            self.matrix = None
        elif torch.is_tensor(A) and A.is_floating_point() and A.ndim in (2, 3):
            check_finite(A, "A")
            self.matrix = A
        else:
            what = f"a tensor {tuple(A.shape)}" if torch.is_tensor(A) else type(A).__name__
            raise ValueError(
                f"A: expected a real matrix (m, n) or (runs, m, n), or an Operator, got {what}"
            )
        self.A = A

    def check(self, image: Tensor) -> None:
        """Raises ValueError unless A takes images like these, (runs, trials, *image)."""
        if self.matrix is None:
            return  # an operator checks its images itself
        runs, n = len(image), image.shape[2:].numel()
        *several, _, width = self.matrix.shape
        if image.ndim != 3 or width != n or several not in ([], [runs]):
            raise ValueError(
                f"A: expected a matrix (m, {n}) or ({runs}, m, {n}) for networks whose images are "
                f"vectors, or an Operator, got {tuple(self.matrix.shape)} for images of shape "
                f"{tuple(image.shape[2:])}"
            )
        if self.matrix.dtype != image.dtype or self.matrix.device != image.device:
            raise ValueError(
                f"A: expected the type and device of the network, {image.dtype} on {image.device}, "
                f"got {self.matrix.dtype} on {self.matrix.device}"
            )

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
