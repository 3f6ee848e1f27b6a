"""Random problems of a given size and condition number."""

from __future__ import annotations

import torch
from torch import Tensor

from .network import seeds


def random_problem(
    m: int,
    n: int,
    condition: float,
    generator: torch.Generator,
    runs: int = 1,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Matrices with singular values from 1 to 1 / condition, and images to be measured.

    The singular values are spread evenly on a logarithmic scale, the singular vectors are random,
    and the entries of the images are independent and uniform on [-1, 1].

    Args:
        m: measurements.
        n: numbers in an image.
        condition: at least 1.
        generator: on the CPU; the first runs do not depend on how many follow.
        runs: how many problems.
        dtype: of both.

    Returns:
        A, (runs, m, n), of rank min(m, n) and norm 1, and the images, (runs, n).

    Raises:
        ValueError: sizes below 1, or a condition below 1.

    Example:
        >>> A, truth = random_problem(3, 5, 2.0, torch.Generator())
        >>> torch.linalg.svdvals(A[0]).numpy().round(3)
        array([1.   , 0.707, 0.5  ])
    """
    if min(m, n, runs) < 1 or not 1 <= condition < float("inf"):
        raise ValueError(
            f"expected m, n, runs and condition of at least 1, got {m}, {n}, {runs}, {condition}"
        )
    rank = min(m, n)
    values = condition ** -torch.linspace(0, 1, rank, dtype=torch.float64)
    matrices, images = [], []
    for seed in seeds(generator, runs):
        left, right = (
            torch.linalg.qr(torch.randn(size, rank, generator=seed, dtype=torch.float64))[0]
            for size in (m, n)
        )
        matrices.append((left * values) @ right.T)
        images.append(2 * torch.rand(n, generator=seed, dtype=torch.float64) - 1)
    return torch.stack(matrices).to(dtype), torch.stack(images).to(dtype)
