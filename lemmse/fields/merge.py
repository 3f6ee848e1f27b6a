"""Equal vectors, counted instead of repeated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import precise

ROWS = 1 << 16  # vectors compared at once


@dataclass(frozen=True)
class Merged:
    """Distinct vectors of a set, from `merge_equal`.

    Attributes:
        keys: (M, d).
        counts: how often each occurs, (M,).
        values: mean over the occurrences of each of the values columns, (M, c).
        spread: their variance over the occurrences, (M, c).
        first: index of the first occurrence, (M,).
    """

    keys: Tensor
    counts: Tensor
    values: Tensor
    spread: Tensor
    first: Tensor


def merge_equal(keys: Tensor, values: Tensor) -> Merged:
    """Merges identical rows of keys, averaging their values; bit for bit, nothing approximate.

    Equal rows meet by sorting a 64-bit hash of their bits; neighbours are merged only after
    comparing them, so that a collision of hashes can cost a merge but never make a false one.

    Args:
        keys: (m, d), float32 or float64.
        values: (m, c).

    Returns:
        The distinct keys, in no particular order.

    Example:
        >>> keys, values = torch.tensor([[1.0], [2], [1]]), torch.tensor([[0.0], [5], [1]])
        >>> merged = merge_equal(keys, values)
        >>> sorted(zip(merged.counts.tolist(), merged.values[:, 0].tolist(), strict=True))
        [(1, 5.0), (2, 0.5)]
    """
    hashes, order = torch.sort(_hash_rows(keys), stable=True)
    new = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
    alike = (hashes[1:] == hashes[:-1]).nonzero()[:, 0] + 1
    for part in alike.split(ROWS):
        new[part] = (keys[order[part]] != keys[order[part - 1]]).any(1)
    label = new.cumsum(0) - 1
    counts = torch.bincount(label)

    # float64 sums: thousands of copies of one flat patch must not lose digits.
    def mean(columns: Tensor) -> Tensor:
        totals = columns.new_zeros(len(counts), columns.shape[1])
        return totals.index_add_(0, label, columns) / counts[:, None]

    sorted_values = values[order].to(precise(values.device))
    means = mean(sorted_values)
    spread = mean((sorted_values - means[label]).square())
    first = order[new]
    return Merged(keys[first], counts, means.to(values.dtype), spread.to(values.dtype), first)


def _hash_rows(keys: Tensor) -> Tensor:
    """A 64-bit hash of each row: an odd random multiple of every word, summed modulo 2^64."""
    bits = torch.int32 if keys.dtype == torch.float32 else torch.int64
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (keys.shape[1],), generator=generator) * 2 + 1
    total = torch.zeros(len(keys), dtype=torch.int64, device=keys.device)
    for column, factor in zip(keys.T, factors.tolist(), strict=True):
        # Adding zero makes -0 and 0, which are equal, the same bits.
        total += (column + 0.0).view(bits).long() * factor
    return total
