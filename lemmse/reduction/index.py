r"""A search structure over many keys: equal keys merged, far ones skipped with a certificate.

Keys are merged where they are identical (`patches.merge_equal`) and sorted into blocks by median
splits along their principal directions. A block is enclosed by a box in the leading principal
coordinates and the norm of the rest; the distance from a query to the box bounds its distance to
every key inside from below. With :math:`d_1` the distance to the nearest key, found first, a block
at distance :math:`\delta` may be skipped when

.. math:: N e^{-\delta^2 / 2 \sigma^2} \le \varepsilon\, e^{-d_1^2 / 2 \sigma^2},

because then all N keys together, if skipped, carry at most the fraction :math:`\varepsilon` of the
total weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .dense import FLOOR, Keys, augment_keys, augment_queries
from .state import Details, State, combine

BLOCK = 512  # least number of keys in a block; a block holds at most twice as many
MOST_BLOCKS = 4096
BOX_DIMENSIONS = 4  # principal coordinates of the boxes; the norm of the rest is one more
BOUNDS = 1 << 22  # numbers in one matrix of bounds, (blocks, queries)
TILE = 1 << 20  # numbers in one tile of logits, (keys of a block, queries)
ROWS = 1 << 16  # keys handled at once while preparing
GAP = 60.0  # e^60 still leaves room in float32 for the sum of 10^12 such weights


class Index:
    r"""Keys prepared once for many queries.

    Args:
        merged: distinct keys (m, d) with their counts, mean values and mean squares, as
            `patches.merge_equal` finds them; ``merged.sources`` identify one original of each.
        tolerance: :math:`\varepsilon`, the largest fraction of the weight that may be skipped;
            0 skips nothing.
    """

    def __init__(self, merged: Keys, tolerance: float):
        self.tolerance = tolerance
        keys = merged.keys
        self.dtype = keys.dtype
        self.centre = keys.mean(0)
        self.axes = principal_axes(keys, BOX_DIMENSIONS)
        parts = [self.coordinates_of(part - self.centre) for part in keys.split(ROWS)]
        coordinates = torch.cat(parts)
        order, self.blocks = median_splits(coordinates)
        self.size = len(order) // self.blocks
        self.keys = self._augmented(keys, order)
        self.radius = (-2 * self.keys[:, -2]).max().clamp_min(0).sqrt().item()
        counts = merged.counts[order].to(keys.dtype)
        # Blocks are filled up with repetitions of the last key, of weight zero.
        counts[_repetitions(order, len(keys))] = 0
        values, squares = merged.values[order], merged.squares[order]
        weighted = torch.cat([torch.ones_like(values[:, :1]), values, squares], 1)
        self.columns = values.shape[1]
        self.total = counts.sum(dtype=torch.float64).item()
        self.sources = merged.sources[order]
        self.weighted = (weighted * counts[:, None]).T.contiguous()
        boxes = coordinates[order].view(self.blocks, self.size, -1)
        low, high = boxes.amin(1), boxes.amax(1)
        self.middle = (low + high) / 2
        # Widened by more than the rounding of the coordinates, so that the bound is a bound.
        self.half = (high - low) / 2 + 4e-6 * self.radius

    def coordinates_of(self, centred: Tensor) -> Tensor:
        """Where boxes are drawn: the principal coordinates, and the norm of what they leave out.

        Two vectors are at least as far apart as these coordinates are, since norms of differences
        are at least the differences of norms.
        """
        principal = centred @ self.axes.to(centred)
        rest = (centred - principal @ self.axes.to(centred).T).norm(dim=1, keepdim=True)
        return torch.cat([principal, rest], 1)

    def _augmented(self, keys: Tensor, order: Tensor) -> Tensor:
        """Centred keys in the order of the blocks, with -||k||^2 / 2 and 1 appended, (m, d + 2).

        Part by part: no second copy of all keys on the way.
        """
        result = keys.new_ones(len(order), keys.shape[1] + 2)
        for start in range(0, len(order), ROWS):
            part = slice(start, start + ROWS)
            result[part, :-1] = augment_keys(keys[order[part]] - self.centre)
        return result

    def chunks(self) -> Iterator[Keys]:
        """All keys, as the dense reduction takes them: what gradients are computed from."""
        size = self.size * max(1, (1 << 20) // self.size)
        count = self.weighted[0]
        values = self.weighted[1 : 1 + self.columns].T
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
        self.bound = self._bounds(index.coordinates_of(queries))

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
        self._raise_top(self._one_block_each())

    def _visit_nearer_blocks(self, all_queries: bool) -> None:
        """Finds the nearest key of all, for the queries that need it.

        A query can do without where no logit can exceed the largest one found so far by more than
        GAP, since the shift need only keep the exponentials in range.
        """
        distance = self._squared_distance()
        wanted = self.bound < distance
        if not all_queries:
            wanted &= (distance - self.nearest) * self.precision > 2 * GAP
        self._raise_top(wanted & ~self._one_block_each())

    def _one_block_each(self) -> Tensor:
        """Marks each query's ``top_block``, (blocks, n)."""
        marks = torch.zeros_like(self.bound, dtype=torch.bool)
        return marks.scatter_(0, self.top_block[None, :], True)

    def _raise_top(self, wanted: Tensor) -> None:
        """Visits the wanted pairs of block and query and notes the largest logits."""
        tops = [self._logits(span, chosen).amax(0) for span, chosen in self._visits(wanted)]
        if not tops:
            return
        tops = torch.cat(tops)
        blocks, queries = wanted.nonzero(as_tuple=True)
        self.top.scatter_reduce_(0, queries, tops, "amax")
        winners = tops == self.top[queries]
        self.top_block[queries[winners]] = blocks[winners]

    def _squared_distance(self) -> Tensor:
        """From each query to the nearest key found, from its logit."""
        return (self.norm - 2 * self.top / self.precision).clamp_min(0)

    def _sum(self, details: bool) -> tuple[Tensor, Tensor]:
        """The weighted sums over all blocks that matter, relative to the shift ``top``."""
        index = self.index
        self.augmented[-1] = -self.top
        rows = len(index.weighted) if details else 1 + index.columns
        sums = self.top.new_zeros(rows, len(self.top))
        squares = torch.zeros_like(self.top)
        # Weights below the floor, which slow exp down, occur only if some key is far enough.
        reach = (self.norm.sqrt() + index.radius).square() * self.precision / 2
        floor = bool((reach > -FLOOR).any())
        for span, chosen in self._visits(self._matters(), merge=True):
            weights = self._logits(span, chosen)
            weights = (weights.clamp_(min=FLOOR) if floor else weights).exp_()
            weighted = index.weighted[:rows, span].to(weights.dtype)
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
        for span, chosen in self._visits(self._one_block_each()):
            winner = self._logits(span, chosen).argmax(0)
            source[chosen] = self.index.sources[span][winner]
        return source

    def _visits(self, wanted: Tensor, merge: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Goes through the wanted pairs of block and query, (blocks, n), block by block.

        Args:
            wanted: marks the pairs.
            merge: whether to take neighbouring blocks that all queries want in one go.

        Yields:
            A range of keys and the indices of the queries that want it.
        """
        size, n = self.index.size, wanted.shape[1]
        most = max(1, TILE // (size * n)) if merge else 1
        everyone = torch.arange(n, device=wanted.device)
        counts = wanted.sum(1).tolist()
        queries = wanted.nonzero(as_tuple=True)[1].split(counts)
        block = 0
        while block < len(counts):
            end = block + 1
            if counts[block] == n:
                while end < min(block + most, len(counts)) and counts[end] == n:
                    end += 1
            if counts[block]:
                chosen = everyone if counts[block] == n else queries[block]
                yield slice(block * size, end * size), chosen
            block = end

    def _logits(self, span: slice, chosen: Tensor) -> Tensor:
        """Logits of a range of keys, minus the shift once it is set: (keys, chosen)."""
        keys = self.index.keys[span]
        if keys.dtype != self.augmented.dtype:
            keys = keys.to(self.augmented.dtype)
            # In the better precision, so is the square.
            keys[:, -2] = -keys[:, :-2].square().sum(1) / 2
        if len(chosen) == self.augmented.shape[1]:
            return keys @ self.augmented
        return keys @ self.augmented.index_select(1, chosen)


def principal_axes(vectors: Tensor, dimensions: int) -> Tensor:
    """The leading eigenvectors of the covariance of some vectors, (d, at most dimensions)."""
    mean = vectors.mean(0)
    covariance = vectors.new_zeros(len(mean), len(mean), dtype=torch.float64)
    for part in vectors.split(ROWS):
        centred = part - mean
        covariance += (centred.T @ centred).double()
    _, axes = torch.linalg.eigh(covariance)
    return axes.flip(1)[:, :dimensions].to(vectors.dtype)


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
