"""Keys that are made chunk by chunk and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from .dense import Keys, Slope, attend, pull
from .rounding import largest_radius
from .state import State

Result = TypeVar("Result")


class Stream:
    r"""Keys that are made chunk by chunk: memory does not grow with their number.

    The work is done in the keys' own precision unless one of all the keys turns out to be so large
    that its rounding would be felt; then it begins again in that of the queries. So it depends on
    the set of keys alone, not on their order.

    Args:
        make: returns an iterator over the chunks, with keys of the precision that it is given;
            called once for each reduction.
        dtype: the keys' own precision.
    """

    def __init__(self, make: Callable[[torch.dtype], Iterable[Keys]], dtype: torch.dtype):
        self.make = make
        self.dtype = dtype
        self._radius = 0.0  # the largest norm of a key seen so far

    def attend(self, queries: Tensor, precision: Tensor, details: bool) -> State:
        """Reduces over the keys; see `dense.attend`."""
        return self.reduced(
            queries,
            precision,
            lambda chunks, dtype: attend(queries, precision, chunks, dtype, details),
        )

    def pull(self, queries: Tensor, precision: Tensor, slope: Slope) -> Tensor:
        """The sums behind the gradient; see `dense.pull`."""
        return self.reduced(
            queries,
            precision,
            lambda chunks, dtype: pull(queries, precision, chunks, dtype, slope),
        )

    def reduced(
        self,
        queries: Tensor,
        precision: Tensor,
        function: Callable[[Iterable[Keys], torch.dtype], Result],
    ) -> Result:
        """Calls a function of all chunks and of the precision to compute logits in."""
        if self.dtype != queries.dtype:
            limit = largest_radius(queries, precision, self.dtype)
            if self._radius <= limit:
                try:
                    return function(self._watched(limit), self.dtype)
                except _TooLarge:
                    pass
        return function(self.make(queries.dtype), queries.dtype)

    def _watched(self, limit: float) -> Iterator[Keys]:
        """The chunks, as long as all norms are below the limit."""
        for chunk in self.make(self.dtype):
            self._radius = max(self._radius, chunk.keys.norm(dim=-1).max().item())
            if self._radius > limit:
                raise _TooLarge
            yield chunk


class _TooLarge(Exception):
    """A key for which the lower precision does not do."""
