"""The largest weights themselves: a top-k over all keys that, too, sees one tile at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from ..devices import plain_mode
from .dense import FLOOR, Keys, augment_keys, augment_queries, tiles
from .reduce import processes
from .stream import Stream


@dataclass(frozen=True)
class Top:
    r"""The k largest logits of each query, and what they are to be measured by.

    Attributes:
        log_sum: :math:`\log \sum_j e^{\ell_{ij}}` over all keys, (n,).
        logits: the largest :math:`\ell_{ij}`, descending, (n, k); minus infinity where there are
            fewer than k keys.
        sources: the identifiers of their keys, int64 (n, k); -1 where there is none.
    """

    log_sum: Tensor
    logits: Tensor
    sources: Tensor

    @property
    def weights(self) -> Tensor:
        r"""The normalised weights :math:`e^{\ell_{ij}} / \sum_j e^{\ell_{ij}}`, (n, k)."""
        return (self.logits - self.log_sum[:, None]).exp()

    def shift(self, offset: Tensor) -> Top:
        """Adds a constant to all logits of a query; offset broadcasts against (n,)."""
        return Top(self.log_sum + offset, self.logits + offset[..., None], self.sources)

    @classmethod
    def over(cls, parts: Sequence[Top]) -> Top:
        """The largest of all the parts, which are over separate keys of the same queries."""
        logits, which = torch.cat([part.logits for part in parts], 1).topk(parts[0].logits.shape[1])
        sources = torch.cat([part.sources for part in parts], 1).gather(1, which)
        log_sum = torch.stack([part.log_sum for part in parts]).logsumexp(0)
        return cls(log_sum, logits, sources)


def strongest(queries: Tensor, precision: Tensor, source: Stream, k: int) -> Top:
    r"""The k keys nearest to each query, on all processes together.

    The logits :math:`-\|q_i - k_j\|^2 / 2 \sigma_i^2` are those of `reduce`, computed in the same
    precision.

    Args:
        queries: (n, d), float64 for full accuracy.
        precision: :math:`1 / \sigma^2`, (n,).
        source: the keys, each standing for itself: not the merged ones of an `Index`.
        k: how many.

    Returns:
        The largest logits, in the dtype of the queries; no gradients.
    """
    queries, precision = queries.detach(), precision.detach().to(queries)
    with plain_mode():
        top = source.reduced(
            queries,
            precision,
            lambda chunks, dtype: _largest(queries, precision, chunks, dtype, k),
        )
        return _merge_processes(top)


def _largest(
    queries: Tensor, precision: Tensor, chunks: Iterable[Keys], dtype: torch.dtype, k: int
) -> Top:
    """The largest logits over all keys of all chunks, computed in this dtype."""
    augmented = augment_queries(queries, precision).to(dtype)
    top = Top(
        augmented.new_full((len(queries),), -torch.inf),
        augmented.new_full((len(queries), k), -torch.inf),
        torch.full((len(queries), k), -1, device=queries.device),
    )
    for tile in tiles(chunks, queries):
        logits = augmented @ augment_keys(tile.keys.to(dtype)).T
        top = _with_tile(top, logits, tile.sources)
    offset = -queries.square().sum(1) * precision / 2
    return Top(top.log_sum.to(queries), top.logits.to(queries), top.sources).shift(offset)


def _with_tile(top: Top, logits: Tensor, sources: Tensor) -> Top:
    """Adds a tile of logits, (n, keys)."""
    k = top.logits.shape[1]
    largest = logits.amax(1)
    best, held = top.logits.clone(), top.sources.clone()
    rows = (largest > top.logits[:, -1]).nonzero()[:, 0]  # few, once the best are known
    found, which = logits[rows].topk(min(k, logits.shape[1]), 1)
    candidates = torch.cat([top.logits[rows], found], 1)
    best[rows], order = candidates.topk(k, 1)
    held[rows] = torch.cat([top.sources[rows], sources[which]], 1).gather(1, order)
    part = (logits - largest[:, None]).clamp_(min=FLOOR).exp_().sum(1).log() + largest
    return Top(torch.logaddexp(top.log_sum, part), best, held)


def _merge_processes(top: Top) -> Top:
    """Merges what all processes found, in the same order everywhere."""
    if processes() == 1:
        return top
    fields = []
    for field in (top.log_sum, top.logits, top.sources):
        parts = [torch.empty_like(field) for _ in range(processes())]
        distributed.all_gather(parts, field.contiguous())
        fields.append(parts)
    return Top.over([Top(*parts) for parts in zip(*fields, strict=True)])
