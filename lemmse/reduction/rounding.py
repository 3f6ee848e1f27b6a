r"""In which precision logits may be computed: derived from the rounding of one matrix product.

The logit :math:`(q \cdot k - \|k\|^2 / 2) / \sigma^2`, computed with unit roundoff u, is wrong by
about :math:`u\, (\|q\| \|k\| + \|k\|^2 / 2) / \sigma^2` at most: rounding errors of a dot product
are of both signs and do not add up to more.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Largest rounding error of a logit that float32 is trusted with. An error e of one of two logits
# that tie moves their mean by e/4 of the difference of the values; the bound is reached by keys as
# far away as the farthest only, which have no weight. This keeps results to 1e-4 of the range.
LOGIT_ERROR = 1e-3


def logit_error(size: Tensor, precision: Tensor, dtype: torch.dtype) -> Tensor:
    r"""Bound of the rounding error of logits.

    Args:
        size: :math:`\|q\| \|k\| + \|k\|^2 / 2` for the largest key, (..., n).
        precision: :math:`1 / \sigma^2`, (..., n).
        dtype: in which they are computed.
    """
    return torch.finfo(dtype).eps / 2 * size * precision


def largest_radius(queries: Tensor, precision: Tensor, dtype: torch.dtype) -> float:
    r"""The largest :math:`\|k\|` for which logits of this dtype are within LOGIT_ERROR.

    Args:
        queries: (..., n, d).
        precision: :math:`1 / \sigma^2`, (..., n).
        dtype: in which logits would be computed.
    """
    norm = queries.norm(dim=-1)
    allowed = 2 * LOGIT_ERROR / (torch.finfo(dtype).eps / 2 * precision)
    # The positive root of r^2 + 2 |q| r = allowed, in the form without cancellation.
    return (allowed / (norm + (norm.square() + allowed).sqrt())).min().item()


def subtracts_exactly(keys: Tensor, centre: Tensor) -> bool:
    """Whether keys - centre is free of rounding in float32; float64 has digits to spare."""
    return keys.dtype == torch.float64 or all(
        torch.equal((part - centre).double(), part.double() - centre.double())
        for part in keys.split(1 << 16)
    )
