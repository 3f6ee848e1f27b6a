"""The state of a softmax reduction: what is kept of the keys seen so far, and how states merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Rounding of a variance in units of the second moment's last digit: sums of a million terms.
ROUNDING = 32


@dataclass(frozen=True)
class State:
    r"""A softmax-weighted average over some keys, in a form that merges exactly.

    For logits :math:`\ell_{ij}` of query i and key j, with :math:`w_{ij} \propto e^{\ell_{ij}}`:

    Attributes:
        log_sum: :math:`\log \sum_j e^{\ell_{ij}}`, (..., n).
        mean: :math:`\sum_j w_{ij} v_j`, (..., n, c).
        details: further statistics, or None where they were not asked for.
    """

    log_sum: Tensor
    mean: Tensor
    details: Details | None = None

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> State:
        """Undoes `tensors`."""
        return cls(tensors[0], tensors[1], Details(*tensors[2:]) if len(tensors) > 2 else None)

    def tensors(self) -> list[Tensor]:
        """The fields, in order: two of them, or six with details."""
        d = self.details
        rest = [] if d is None else [d.variance, d.log_square, d.top, d.source]
        return [self.log_sum, self.mean, *rest]

    def shift(self, offset: Tensor) -> State:
        """Adds a constant to all logits of a query; offset broadcasts against (..., n)."""
        details = self.details and self.details.shift(offset.detach())
        return State(self.log_sum + offset, self.mean, details)

    def merge(self, other: State) -> State:
        """The state over the keys of both."""
        return combine([self, other], torch.stack).collapse(0)

    def collapse(self, dim: int) -> State:
        """Merges along one of the leading dimensions: its entries are states over separate keys."""
        log_sum = torch.logsumexp(self.log_sum, dim)
        share = torch.exp(self.log_sum - log_sum.unsqueeze(dim))
        # Relative to one of the entries: equal means stay what they are, digit for digit.
        first = self.mean.detach().narrow(dim, 0, 1)
        mean = (share[..., None] * (self.mean - first)).sum(dim) + first.squeeze(dim)
        details = self.details
        if details is not None:
            deviation = self.mean.detach() - mean.detach().unsqueeze(dim)
            details = details.collapse(dim, share.detach(), deviation)
        return State(log_sum, mean, details)


@dataclass(frozen=True)
class Details:
    r"""What a posterior needs beyond the mean; no gradients.

    Attributes:
        variance: :math:`\sum_j w_{ij} (v_j - \mathrm{mean}_i)^2`, (..., n, c).
        log_square: :math:`\log \sum_j e^{2 \ell_{ij}}`, for the effective sample size, (..., n).
        top: the largest logit, (..., n).
        source: the identifier of the key that has it, int64 (..., n).
    """

    variance: Tensor
    log_square: Tensor
    top: Tensor
    source: Tensor

    def shift(self, offset: Tensor) -> Details:
        """See `State.shift`."""
        return Details(self.variance, self.log_square + 2 * offset, self.top + offset, self.source)

    def collapse(self, dim: int, share: Tensor, deviation: Tensor) -> Details:
        """See `State.collapse`.

        The variance is the mean of the variances and the variance of the means.

        Args:
            dim: the dimension that goes.
            share: each entry's part of the total weight.
            deviation: the mean of each entry minus the mean of all.
        """
        variance = (share[..., None] * (self.variance + deviation.square())).sum(dim)
        log_square = torch.logsumexp(self.log_square, dim)
        top, winner = self.top.max(dim)
        source = self.source.gather(dim, winner.unsqueeze(dim)).squeeze(dim)
        return Details(variance, log_square, top, source)


def variance_of(moments: Tensor) -> Tensor:
    """The variances behind sums of w, w v and w v^2 that carry the rounding of float64.

    Args:
        moments: (..., 1 + 2c, n), for values v counted from one of them: where all values that have
            any weight are that one, the variance is exactly 0.

    Returns:
        (..., n, c).
    """
    columns = moments.shape[-2] // 2
    total, first, second = moments.split([1, columns, columns], -2)
    second = second / total
    variance = second - (first / total).square()
    # What is left below the rounding of the two terms is nothing.
    rounding = ROUNDING * torch.finfo(moments.dtype).eps * second
    return torch.where(variance > rounding, variance, 0.0).mT


def combine(states: Sequence[State], function: Callable[[list[Tensor]], Tensor]) -> State:
    """Applies a function to each field of some states, all together.

    Args:
        states: states with the same fields.
        function: takes the tensors of one field and returns one tensor; it may touch the leading
            dimensions only, which all fields share (stack, concatenate, reshape, convert).
    """
    fields = zip(*(state.tensors() for state in states), strict=True)
    return State.of([function(list(field)) for field in fields])
