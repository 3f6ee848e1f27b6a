r"""Softmax reduction over a set of keys, tile by tile.

The weights :math:`\exp(-\|q - k\|^2 / 2\sigma^2)` are an attention: up to a factor that depends on
the query alone, the logit is :math:`(q \cdot k - \|k\|^2 / 2) / \sigma^2`, one matrix product. Keys
are taken in tiles; a running maximum keeps the exponentials in range (Milakov & Gimelshein 2018,
arXiv 1805.02867), and a matrix of queries x keys never exists.

Tiles are laid out (keys, queries): the weighted sum is then a wide product (c, keys) x (keys,
queries), which a CPU's matrix kernels do four times faster than the transposed, narrow one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .state import Details, State

# Numbers in one tile of logits: 4 MB in float32 stays in the cache of a CPU; a GPU wants more work
# for each kernel it launches.
TILE = {"cpu": 1 << 20, "cuda": 1 << 26}

# A weight of e^-80 beside a largest one of 1 is far below the rounding of float32. Without this
# floor, results between 1e-38 and 1e-45 (denormal numbers) make exp on a CPU seven times slower.
FLOOR = -80.0


@dataclass(frozen=True)
class Keys:
    """A set of keys, or several sets side by side (leading dimension G).

    Attributes:
        keys: (m, d) or (G, m, d).
        values: what is averaged, (m, c) or (G, m, c).
        sources: identifiers of the keys, int64 (m) or (G, m).
        counts: how many equal keys each one stands for, (m), or None for one each.
        squares: mean of the squared values where a key stands for several, else None.
    """

    keys: Tensor
    values: Tensor
    sources: Tensor
    counts: Tensor | None = None
    squares: Tensor | None = None

    def tiles(self, size: int) -> Iterator[Keys]:
        """Cuts the set into tiles of at most ``size`` keys, along the dimension m."""
        columns = [self.keys, self.values, self.sources, self.counts, self.squares]
        along = [-2, -2, -1, -1, -2]
        for start in range(0, self.keys.shape[-2], size):
            length = min(size, self.keys.shape[-2] - start)
            yield Keys(
                *(
                    column if column is None else column.narrow(dim, start, length)
                    for column, dim in zip(columns, along, strict=True)
                )
            )


def tiles(chunks: Iterable[Keys], queries: Tensor) -> Iterator[Keys]:
    """Cuts chunks of keys into tiles of the right size beside these queries, (..., n, d)."""
    numbers = queries.shape[:-1].numel()
    size = max(64, TILE.get(queries.device.type, TILE["cuda"]) // max(1, numbers))
    for chunk in chunks:
        yield from chunk.tiles(size)


def augment_queries(queries: Tensor, precision: Tensor) -> Tensor:
    """Queries (..., n, d) times 1 / sigma^2, (..., n), with the factor of -||k||^2 / 2 appended."""
    return torch.cat([queries * precision[..., None], precision[..., None]], -1)


def augment_keys(keys: Tensor) -> Tensor:
    """Keys (..., m, d) with -||k||^2 / 2 appended: times an augmented query, that is the logit."""
    return torch.cat([keys, -keys.square().sum(-1, keepdim=True) / 2], -1)


def attend(queries: Tensor, precision: Tensor, chunks: Iterable[Keys], details: bool) -> State:
    r"""Reduces over all keys of all chunks.

    Args:
        queries: (..., n, d).
        precision: :math:`1 / \sigma^2` of each query, (..., n).
        chunks: sets of keys with the same leading dimensions.
        details: whether to return `Details`.

    Returns:
        The state for logits :math:`(q \cdot k - \|k\|^2 / 2) / \sigma^2 + \log count`.
    """
    augmented = augment_queries(queries, precision).mT.contiguous()
    running = None
    for tile in tiles(chunks, queries):
        running = _Running.start(tile, augmented, details) if running is None else running
        running.add(tile, augmented)
    return running.finish()


@dataclass
class _Running:
    """Sums over the tiles so far, relative to the largest logit so far (the shift)."""

    shift: Tensor  # (..., n)
    sums: Tensor  # (..., 1 + c, n): the weights, the weighted values
    extra: _Extra | None

    @classmethod
    def start(cls, tile: Keys, augmented: Tensor, details: bool) -> _Running:
        shape, columns = augmented.shape[:-2], tile.values.shape[-1]
        n = augmented.shape[-1]
        shift = augmented.new_full((*shape, n), -torch.inf)
        extra = _Extra.start(shift, columns) if details else None
        return cls(shift, augmented.new_zeros(*shape, 1 + columns, n), extra)

    def add(self, tile: Keys, augmented: Tensor) -> None:
        logits = augment_keys(tile.keys.to(augmented.dtype)) @ augmented
        new = torch.maximum(self.shift, logits.amax(-2))
        decay = (self.shift - new).exp()
        if self.extra is not None:
            self.extra.add(tile, logits, new, decay)
        weights = logits.sub_(new[..., None, :]).clamp_(min=FLOOR).exp_()
        if tile.counts is not None:
            weights.mul_(tile.counts.to(weights.dtype)[..., None])
        ones = tile.values.new_ones(*tile.values.shape[:-1], 1)
        values = torch.cat([ones, tile.values], -1).to(weights.dtype)
        self.sums.mul_(decay[..., None, :]).add_(values.mT @ weights)
        if self.extra is not None:
            self.extra.add_weighted(tile, weights, decay)
        self.shift = new

    def finish(self) -> State:
        total, weighted = self.sums[..., :1, :], self.sums[..., 1:, :]
        details = None
        if self.extra is not None:
            details = self.extra.finish(self.shift, total)
        log_sum = self.shift + total.squeeze(-2).log()
        return State(log_sum, (weighted / total).mT, details)


@dataclass
class _Extra:
    """The running sums behind `Details`, relative to the same shift."""

    second: Tensor  # (..., c, n)
    squares: Tensor  # (..., n)
    top: Tensor  # (..., n)
    source: Tensor  # (..., n)

    @classmethod
    def start(cls, shift: Tensor, columns: int) -> _Extra:
        second = shift.new_zeros(*shift.shape[:-1], columns, shift.shape[-1])
        return cls(
            second, torch.zeros_like(shift), shift, torch.zeros_like(shift, dtype=torch.int64)
        )

    def add(self, tile: Keys, logits: Tensor, new: Tensor, decay: Tensor) -> None:
        top, winner = logits.max(-2)
        source = tile.sources.gather(-1, winner) if winner.ndim > 1 else tile.sources[winner]
        self.source = torch.where(top > self.top, source, self.source)
        self.top = torch.maximum(self.top, top)
        # The original keys behind a merged one each have weight e^l: c e^(2l) in all.
        weights = (2 * (logits - new[..., None, :]).clamp(min=FLOOR / 2)).exp()
        if tile.counts is not None:
            weights.mul_(tile.counts.to(weights.dtype)[..., None])
        self.squares = self.squares * decay.square() + weights.sum(-2)

    def add_weighted(self, tile: Keys, weights: Tensor, decay: Tensor) -> None:
        squares = tile.values.square() if tile.squares is None else tile.squares
        self.second.mul_(decay[..., None, :]).add_(squares.to(weights.dtype).mT @ weights)

    def finish(self, shift: Tensor, total: Tensor) -> Details:
        log_square = 2 * shift + self.squares.log()
        return Details((self.second / total).mT, log_square, self.top, self.source)
