r"""A search structure over many keys: equal keys merged, far ones skipped with a certificate.

Keys are merged where they are identical (`patches.merge_equal`) and sorted into blocks by median
splits along their principal directions. A block is enclosed by a box in the leading principal
coordinates; the distance from a query to the box bounds its distance to every key inside from
below. With :math:`d_1` the distance to the nearest key, found first, a block at distance
:math:`\delta` may be skipped when

.. math:: N e^{-\delta^2 / 2 \sigma^2} \le \varepsilon\, e^{-d_1^2 / 2 \sigma^2},

because then all N keys together, if skipped, carry at most the fraction :math:`\varepsilon` of the
total weight.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .dense import FLOOR, Keys, augment_keys, augment_queries
from .state import Details, State, combine

BLOCK = 256  # least number of keys in a block; a block holds at most twice as many
MOST_BLOCKS = 4096
BOX_DIMENSIONS = 8  # principal coordinates of the boxes: they hold most of a patch's variance
BOUNDS = 1 << 22  # numbers in one matrix of bounds, (blocks, queries)
TILE = 1 << 21  # numbers in one tile of logits, (keys of a block, queries)
GAP = 60.0  # e^60 still leaves room in float32 for the sum of 10^12 such weights


class Index:
    r"""Keys prepared once for many queries.

    Args:
        keys: the keys, (m, d), without counts.
        merged: distinct keys, their counts, mean values and mean squares, from
            `patches.merge_equal`; ``merged.sources`` identify one original of each.
        tolerance: :math:`\varepsilon`, the largest fraction of the weight that may be skipped;
            0 skips nothing.
    """

    def __init__(self, merged: Keys, tolerance: float):
        self.tolerance = tolerance
        keys = merged.keys
        self.centre = keys.mean(0)
        centred = keys - self.centre
        self.axes = principal_axes(centred, BOX_DIMENSIONS)
        coordinates = centred @ self.axes
        order, self.blocks = median_splits(coordinates)
        self.size = len(order) // self.blocks
        self.radius = centred.norm(dim=1).max().item()
        self.dtype = keys.dtype
        counts = merged.counts[order].to(keys.dtype)
        # Blocks are filled up with repetitions of the last key, of weight zero.
        counts[_repetitions(order, len(keys))] = 0
        values, squares = merged.values[order], merged.squares[order]
        weighted = torch.cat([torch.ones_like(values[:, :1]), values, squares], 1)
        self.columns = values.shape[1]
        self.total = counts.sum(dtype=torch.float64).item()
        self.sources = merged.sources[order]
        self.weighted = (
            (weighted * counts[:, None]).view(self.blocks, self.size, -1).mT.contiguous()
        )
        keys = centred[order]
        self.keys = torch.cat([augment_keys(keys), keys.new_ones(len(keys), 1)], 1)
        boxes = coordinates[order].view(self.blocks, self.size, -1)
        low, high = boxes.amin(1), boxes.amax(1)
        self.middle = (low + high) / 2
        # Widened by more than the rounding of the coordinates, so that the bound is a bound.
        self.half = (high - low) / 2 + 4e-6 * self.radius

    def chunks(self):
        """All keys, as the dense reduction takes them: what gradients are computed from."""
        size = self.size * max(1, (1 << 20) // self.size)
        count = self.weighted[:, 0].reshape(-1)
        values = self.weighted[:, 1 : 1 + self.columns].mT.reshape(-1, self.columns)
        for start in range(0, len(self.keys), size):
            part = slice(start, start + size)
            keys = self.keys[part, :-2] + self.centre
            safe = count[part].clamp_min(1)
            yield Keys(keys, values[part] / safe[:, None], self.sources[part], count[part])

    def attend(self, queries: Tensor, precision: Tensor, details: bool) -> State:
        """Reduces over the keys; see `dense.attend`. Queries (n, d) of the working precision."""
        queries = queries - self.centre.to(queries)
        size = max(64, min(BOUNDS // self.blocks, TILE // self.size))
        parts = [
            _Search(self, q, p).run(details)
            for q, p in zip(queries.split(size), precision.split(size), strict=True)
        ]
        # Logits count from the centre; the others are (q.k - |k|^2/2) with the centre put back.
        centre = self.centre.to(queries)
        offset = (queries @ centre + centre.square().sum() / 2) * precision
        return combine(parts, torch.cat).shift(offset)


class _Search:
    """One batch of queries on its way through the index."""

    def __init__(self, index: Index, queries: Tensor, precision: Tensor):
        self.index = index
        self.precision = precision
        self.norm = queries.square().sum(1)
        zero = torch.zeros_like(precision)[:, None]
        # (d + 2, n): the last row, against the keys' column of ones, takes the shift.
        self.augmented = torch.cat([augment_queries(queries, precision), zero], 1).T.contiguous()
        self.bound = self._bounds(queries @ index.axes.to(queries))

    def _bounds(self, coordinates: Tensor) -> Tensor:
        """Lower bounds of the squared distance from every block to every query, (blocks, n)."""
        index, coordinates = self.index, coordinates.to(self.index.middle)
        bound = coordinates.new_zeros(index.blocks, len(coordinates))
        gap = torch.empty_like(bound)
        for axis in range(coordinates.shape[1]):
            torch.sub(coordinates[None, :, axis], index.middle[:, None, axis], out=gap)
            gap.abs_().sub_(index.half[:, None, axis]).clamp_(min=0)
            bound.addcmul_(gap, gap)
        return bound

    def run(self, details: bool) -> State:
        self._visit_best_block()
        self._visit_nearer_blocks(all_queries=details)
        sums, squares = self._sum(details)
        total = sums[0]
        c = self.index.columns
        mean = (sums[1 : 1 + c] / total).T
        log_sum = self.top + total.log()
        if not details:
            return State(log_sum, mean)
        second = (sums[1 + c :] / total).T
        log_square = 2 * self.top + squares.log()
        return State(log_sum, mean, Details(second, log_square, self.top, self._source()))

    def _visit_best_block(self) -> None:
        """Starts with the nearest key of the block whose box is nearest."""
        self.nearest, self.top_block = self.bound.min(0)
        self.top = torch.full_like(self.precision, -torch.inf)
        order = torch.argsort(self.top_block)
        blocks, counts = torch.unique_consecutive(self.top_block[order], return_counts=True)
        for block, chosen in zip(blocks.tolist(), order.split(counts.tolist()), strict=True):
            self.top[chosen] = self._logits(block, chosen).amax(0)

    def _visit_nearer_blocks(self, all_queries: bool) -> None:
        """Finds the nearest key of all, for the queries that need it.

        A query can do without where no logit can exceed the largest one found so far by more than
        GAP, since the shift need only keep the exponentials in range.
        """
        distance = self._squared_distance()
        needy = (distance - self.nearest) * self.precision > 2 * GAP
        wanted = self.bound < distance
        if not all_queries:
            wanted &= needy
        wanted[self.top_block, torch.arange(len(needy), device=needy.device)] = False
        for block, chosen in _visits(wanted):
            top = self._logits(block, chosen).amax(0)
            better = top > self.top[chosen]
            self.top[chosen[better]] = top[better]
            self.top_block[chosen[better]] = block

    def _squared_distance(self) -> Tensor:
        """From each query to the nearest key found, from its logit."""
        return (self.norm - 2 * self.top / self.precision).clamp_min(0)

    def _sum(self, details: bool) -> tuple[Tensor, Tensor]:
        """The weighted sums over all blocks that matter, relative to the shift ``top``."""
        index = self.index
        self.augmented[-1] = -self.top
        rows = index.weighted.shape[1] if details else 1 + index.columns
        sums = self.top.new_zeros(rows, len(self.top))
        squares = torch.zeros_like(self.top)
        for block, chosen in _visits(self._matters()):
            weights = self._logits(block, chosen).clamp_(min=FLOOR).exp_()
            weighted = index.weighted[block, :rows].to(weights.dtype)
            sums.index_add_(1, chosen, weighted @ weights)
            if details:
                squares.index_add_(0, chosen, weighted[0] @ weights.square_())
        return sums, squares

    def _matters(self) -> Tensor:
        """Which blocks may not be skipped, (blocks, n)."""
        if self.index.tolerance == 0:
            return torch.ones_like(self.bound, dtype=torch.bool)
        # 0.1 more than the formula asks for: more than the rounding of a logit (LOGIT_ERROR).
        exponent = math.log(self.index.total / self.index.tolerance) + 0.1
        margin = 2 * exponent / self.precision
        return self.bound < (self._squared_distance() + margin)

    def _source(self) -> Tensor:
        """The identifier of each query's nearest key."""
        source = torch.empty_like(self.top_block)
        self.augmented[-1] = 0
        every = torch.zeros_like(self.bound, dtype=torch.bool)
        every[self.top_block, torch.arange(len(source), device=source.device)] = True
        for block, chosen in _visits(every):
            winner = self._logits(block, chosen).argmax(0)
            source[chosen] = self.index.sources[block * self.index.size + winner]
        return source

    def _logits(self, block: int, chosen: Tensor) -> Tensor:
        """Logits of one block, minus the shift once it is set: (keys of the block, chosen)."""
        index = self.index
        keys = index.keys[block * index.size : (block + 1) * index.size]
        if keys.dtype != self.augmented.dtype:
            keys = keys.to(self.augmented.dtype)
            # In the better precision, so is the square.
            keys[:, -2] = -keys[:, :-2].square().sum(1) / 2
        if len(chosen) == self.augmented.shape[1]:
            return keys @ self.augmented
        return keys @ self.augmented.index_select(1, chosen)


def principal_axes(centred: Tensor, dimensions: int) -> Tensor:
    """The leading eigenvectors of the covariance of centred vectors, (d, at most dimensions)."""
    covariance = (centred.T @ centred).double()
    _, vectors = torch.linalg.eigh(covariance)
    return vectors.flip(1)[:, :dimensions].to(centred.dtype)


def median_splits(coordinates: Tensor) -> tuple[Tensor, int]:
    """Sorts points into blocks of equal size that are compact in space.

    Every block is split at the median of the coordinate in which it varies most, until the blocks
    have fewer than twice BLOCK points or there are MOST_BLOCKS.

    Args:
        coordinates: (m, dimensions).

    Returns:
        Indices of the points block by block, the last point repeated to fill up; number of blocks.
    """
    m = len(coordinates)
    levels = max(0, min(int(math.log2(m / BLOCK)), int(math.log2(MOST_BLOCKS)))) if m > BLOCK else 0
    blocks = 2**levels
    order = torch.arange(blocks * math.ceil(m / blocks), device=coordinates.device)
    order = order.clamp(max=m - 1)
    points = coordinates[order]
    for level in range(levels):
        parts = points.view(2**level, -1, points.shape[1])
        axis = parts.var(1).argmax(1)
        column = parts.gather(2, axis[:, None, None].expand(-1, parts.shape[1], 1))[..., 0]
        start = torch.arange(len(parts), device=order.device)[:, None] * parts.shape[1]
        sort = (column.argsort(1) + start).view(-1)
        order, points = order[sort], points[sort]
    return order, blocks


def _repetitions(order: Tensor, m: int) -> Tensor:
    """Positions where ``order`` repeats the last of m points after its first occurrence."""
    return (order == m - 1).nonzero()[1:, 0]


def _visits(wanted: Tensor):
    """Yields, for every block that some query wants, its number and the queries' indices."""
    columns = wanted.nonzero(as_tuple=True)[1]
    counts = wanted.sum(1).tolist()
    for block, chosen in enumerate(columns.split(counts)):
        if len(chosen):
            yield block, chosen
