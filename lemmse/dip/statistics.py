"""Intervals for probabilities."""

from __future__ import annotations

import torch
from torch import Tensor


def wilson(successes: Tensor | int, total: Tensor | int, z: float = 1.96) -> tuple[Tensor, Tensor]:
    """Wilson's score interval for the probability of success.

    .. math:: \\frac{p + z^2/2N \\pm z \\sqrt{p (1 - p)/N + z^2/4N^2}}{1 + z^2/N}

    Args:
        successes: how many of the runs succeeded.
        total: N, how many runs there were.
        z: quantile of the normal distribution; 1.96: 95 %.

    Returns:
        Lower and upper end, float64.

    Source:
        E. B. Wilson, Journal of the American Statistical Association 22 (1927).

    Example:
        >>> low, high = wilson(50, 50)
        >>> round(low.item(), 3), high.item()
        (0.929, 1.0)
    """
    N = torch.as_tensor(total, dtype=torch.float64)
    p = torch.as_tensor(successes, dtype=torch.float64) / N
    if bool((N < 1).any()) or bool(((p < 0) | (p > 1)).any()):
        raise ValueError(f"expected 0 <= successes <= total, got {successes} of {total}")
    middle, half = p + z**2 / (2 * N), z * (p * (1 - p) / N + z**2 / (4 * N**2)).sqrt()
    scale = 1 + z**2 / N
    return ((middle - half) / scale).clamp_min(0), ((middle + half) / scale).clamp_max(1)
