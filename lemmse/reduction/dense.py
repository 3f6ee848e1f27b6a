r"""Softmax reduction over a set of keys, tile by tile.

The weights :math:`\exp(-\|q - k\|^2 / 2\sigma^2)` are an attention: up to a factor that depends on
the query alone, the logit is :math:`(q \cdot k - \|k\|^2 / 2) / \sigma^2`, one matrix product. Keys
are taken in tiles; a running maximum keeps the exponentials in range (Milakov & Gimelshein 2018,
arXiv 1805.02867), and a matrix of queries x keys never exists.

Tiles are laid out (keys, queries): the weighted sum is then a wide product (c, keys) x (keys,
queries), which a CPU's matrix kernels do four times faster than the transposed, narrow one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .state import Details, State, variance_of

# Numbers in one tile of logits: 4 MB in float32 stays in the cache of a CPU; a GPU wants more work
# for each kernel it launches.
TILE = {"cpu": 1 << 20, "cuda": 1 << 26}

# A weight of e^-80 beside a largest one of 1 is far below the rounding of float32. Without this
# floor, results between 1e-38 and 1e-45 (denormal numbers) make exp on a CPU seven times slower.
FLOOR = -80.0
# Gradients multiply weights with slopes, and the products must not become denormal either.
GRADIENT_FLOOR = -60.0
NOTHING = math.exp(FLOOR + 1)  # weights up to this stand for less than rounding, whatever they are


@dataclass(frozen=True)
class Keys:
    """A set of keys, or several sets side by side (leading dimension G).

    Attributes:
        keys: (m, d) or (G, m, d).
        values: what is averaged, (m, c) or (G, m, c).
        sources: identifiers of the keys, int64 (m) or (G, m).
        counts: how many equal keys each one stands for, (m), or None for one each.
        spread: variance of the values that a key stands for, (m, c), or None where it is 0.
    """

    keys: Tensor
    values: Tensor
    sources: Tensor
    counts: Tensor | None = None
    spread: Tensor | None = None

    def tiles(self, size: int) -> Iterator[Keys]:
        """Cuts the set into tiles of at most ``size`` keys, along the dimension m."""
        columns = [self.keys, self.values, self.sources, self.counts, self.spread]
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


def attend(
    queries: Tensor, precision: Tensor, chunks: Iterable[Keys], dtype: torch.dtype, details: bool
) -> State:
    r"""Reduces over all keys of all chunks.

    Args:
        queries: (..., n, d), in the best precision there is.
        precision: :math:`1 / \sigma^2` of each query, (..., n), in the same.
        chunks: sets of keys with the same leading dimensions.
        dtype: what logits are computed in.
        details: whether to return `Details`.

    Returns:
        The state for logits :math:`-\|q - k\|^2 / 2 \sigma^2 + \log count`, in the dtype of the
        queries.
    """
    augmented = augment_queries(queries, precision).mT.to(dtype).contiguous()
    running = None
    for tile in tiles(chunks, queries):
        if running is None:
            running = _Running.start(tile, augmented, queries.dtype, details)
        running.add(tile, augmented)
    # The queries' own part of the exponent, in their own precision.
    return running.finish().shift(-queries.square().sum(-1) * precision / 2)


@dataclass
class _Running:
    """Sums over the tiles so far, relative to the largest logit so far (the shift)."""

    centre: Tensor  # (..., 1, c): values count from it, so that a common offset costs no digits
    shift: Tensor  # (..., n)
    sums: Tensor  # (..., 1 + c, n): the weights, the weighted values
    extra: _Extra | None

    @classmethod
    def start(cls, tile: Keys, augmented: Tensor, precise: torch.dtype, details: bool) -> _Running:
        shape, columns = augmented.shape[:-2], tile.values.shape[-1]
        n = augmented.shape[-1]
        shift = augmented.new_full((*shape, n), -torch.inf)
        extra = _Extra.start(shift, columns, precise) if details else None
        centre = tile.values[..., :1, :].to(precise)
        return cls(centre, shift, augmented.new_zeros(*shape, 1 + columns, n), extra)

    def add(self, tile: Keys, augmented: Tensor) -> None:
        logits = augment_keys(tile.keys.to(augmented.dtype)) @ augmented
        new = torch.maximum(self.shift, logits.amax(-2))
        decay = (self.shift - new).exp()
        if self.extra is not None:
            self.extra.add(tile, logits, new, decay)
        weights = logits.sub_(new[..., None, :]).clamp_(min=FLOOR).exp_()
        if tile.counts is not None:
            weights.mul_(tile.counts.to(weights.dtype)[..., None])
        values = with_ones(tile.values - self.centre.to(tile.values))
        self.sums.mul_(decay[..., None, :]).add_(values.to(weights.dtype).mT @ weights)
        if self.extra is not None:
            self.extra.add_moments(values, tile.spread, weights, decay)
        self.shift = new

    def finish(self) -> State:
        """The state, but for the queries' own part of the exponent."""
        precise = self.centre.dtype
        sums, shift = self.sums.to(precise), self.shift.to(precise)
        total, weighted = sums[..., :1, :], sums[..., 1:, :]
        details = None if self.extra is None else self.extra.finish(shift)
        log_sum = shift + total.squeeze(-2).log()
        return State(log_sum, (weighted / total).mT + self.centre, details)


@dataclass
class _Extra:
    """The running sums behind `Details`, relative to the same shift."""

    moments: Tensor  # (..., 1 + 2c, n): of w, w v and w v^2, in the best precision there is
    squares: Tensor  # (..., n)
    top: Tensor  # (..., n)
    source: Tensor  # (..., n)

    @classmethod
    def start(cls, shift: Tensor, columns: int, precise: torch.dtype) -> _Extra:
        shape = (*shift.shape[:-1], 1 + 2 * columns, shift.shape[-1])
        moments = shift.new_zeros(shape, dtype=precise)
        source = torch.zeros_like(shift, dtype=torch.int64)
        return cls(moments, torch.zeros_like(shift), shift, source)

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

    def add_moments(
        self, values: Tensor, spread: Tensor | None, weights: Tensor, decay: Tensor
    ) -> None:
        """Adds a tile with values (..., m, 1 + c), ones first; its weights include the counts."""
        precise = self.moments.dtype
        rows = with_squares(values.to(precise), spread)
        weights = functional.threshold(weights.to(precise), NOTHING, 0)
        self.moments.mul_(decay[..., None, :]).add_(rows.mT @ weights)

    def finish(self, shift: Tensor) -> Details:
        log_square = 2 * shift + self.squares.to(shift).log()
        return Details(variance_of(self.moments), log_square, self.top.to(shift), self.source)


def with_ones(values: Tensor) -> Tensor:
    """Values (..., m, c) with a column of ones before them."""
    return torch.cat([values.new_ones(*values.shape[:-1], 1), values], -1)


def with_squares(values: Tensor, spread: Tensor | None) -> Tensor:
    """Columns (1, v), (..., m, 1 + c), with those of v^2, plus the variance behind a merged key."""
    squares = values[..., 1:].square()
    return torch.cat([values, squares if spread is None else squares + spread], -1)


@dataclass(frozen=True)
class Slope:
    r"""How a loss depends on a reduction: what the backward pass multiplies weights with.

    A loss whose derivatives are :math:`h_i` in the log-sum and :math:`g_i` in the mean has
    derivative :math:`a_{ij} = w_{ij} (h_i + g_i \cdot (v_j - \mathrm{mean}_i))` in the logit
    :math:`\ell_{ij}`.

    Attributes:
        log_sum: the log-sum of the forward pass, (..., n).
        mean: its mean, (..., n, c).
        grad_log_sum: h, (..., n).
        grad_mean: g, (..., n, c).
    """

    log_sum: Tensor
    mean: Tensor
    grad_log_sum: Tensor
    grad_mean: Tensor

    def rows(self, centre: Tensor) -> Tensor:
        """Times (1, v - centre), that is the bracket: (..., 1 + c, n); centre (..., 1, c)."""
        constant = self.grad_log_sum - (self.grad_mean * (self.mean - centre)).sum(-1)
        return torch.cat([constant[..., None], self.grad_mean], -1).mT

    def split(self, size: int) -> list[Slope]:
        """Cuts it along n, for states without leading dimensions."""
        fields = (t.split(size) for t in vars(self).values())
        return [Slope(*parts) for parts in zip(*fields, strict=True)]


def pull(
    queries: Tensor,
    precision: Tensor,
    chunks: Iterable[Keys],
    dtype: torch.dtype,
    slope: Slope,
) -> Tensor:
    r"""The sums behind the gradient of `attend`.

    The weights may carry the rounding of the log-sum, so their sum is taken anew.

    Args:
        queries, precision, chunks, dtype: as for `attend`.
        slope: what to multiply weights with.

    Returns:
        (..., n, d + 2), in the dtype of the queries: :math:`\sum_j a_{ij} (k_j - q_i)`,
        :math:`\sum_j a_{ij} \|k_j - q_i\|^2` and :math:`\sum_j w_{ij}`.
    """
    augmented = augment_queries(queries, precision).mT.to(dtype).contiguous()
    norm = queries.square().sum(-1)
    shift = (slope.log_sum + norm * precision / 2).to(dtype)
    centre = None
    sums = augmented.new_zeros(*augmented.shape[:-2], queries.shape[-1] + 2, augmented.shape[-1])
    total = torch.zeros_like(shift)
    for tile in tiles(chunks, queries):
        if centre is None:
            centre = tile.values[..., :1, :].to(queries)
            rows = slope.rows(centre).to(dtype)
        keys = augment_keys(tile.keys.to(dtype))
        weights = (keys @ augmented).sub_(shift[..., None, :])
        weights.clamp_(min=GRADIENT_FLOOR).exp_()
        if tile.counts is not None:
            weights.mul_(tile.counts.to(dtype)[..., None])
        total += weights.sum(-2)
        weights.mul_(with_ones(tile.values - centre.to(tile.values)).to(dtype) @ rows)
        sums += torch.cat([keys, keys.new_ones(*keys.shape[:-1], 1)], -1).mT @ weights
    return from_sums(queries, sums.mT.to(queries), total.to(queries))


def from_sums(queries: Tensor, sums: Tensor, total: Tensor) -> Tensor:
    r"""From sums of :math:`a (k, -\|k\|^2 / 2, 1)`, (..., n, d + 2), to those of `pull`."""
    d = queries.shape[-1]
    along, half, plain = sums.split([d, 1, 1], -1)
    first = along - queries * plain
    norm = queries.square().sum(-1, keepdim=True)
    second = norm * plain - 2 * (queries * along).sum(-1, keepdim=True) - 2 * half
    return torch.cat([first, second, total[..., None]], -1)
