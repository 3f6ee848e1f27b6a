r"""A search structure over many keys: equal keys merged, far ones skipped with a certificate.

Keys are merged where they are identical (`fields.merge_equal`) and sorted into blocks by median
splits along their principal directions. A block is enclosed by a box in the leading principal
coordinates and the norm of the rest; the distance from a query to the box bounds its distance to
every key inside from below. With :math:`d_1` the distance to the nearest key, found first, a block
at distance :math:`\delta` may be skipped when

.. math:: N e^{-\delta^2 / 2 \sigma^2} \le \varepsilon\, e^{-d_1^2 / 2 \sigma^2},

because then all N keys together, if skipped, carry at most the fraction :math:`\varepsilon` of the
total weight. Bounds are computed in float32 and widened by their own rounding, the exponent by that
of the logits, so that the certificate holds whatever the scale of the keys and of sigma.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .dense import (
    FLOOR,
    GRADIENT_FLOOR,
    NOTHING,
    Keys,
    Slope,
    augment_queries,
    from_sums,
    with_ones,
)
from .rounding import LOGIT_ERROR, logit_error, subtracts_exactly
from .state import Details, State, combine

BLOCK = 512  # least number of keys in a block; a block holds at most twice as many
MOST_BLOCKS = 4096
BOX_DIMENSIONS = 4  # principal coordinates of the boxes; the norm of the rest is one more
BOUNDS = 1 << 22  # numbers in one matrix of bounds, (blocks, queries)
TILE = 1 << 20  # numbers in one tile of logits, (keys of a block, queries)
ROWS = 1 << 16  # keys handled at once while preparing
GAP = 60.0  # e^60 still leaves room in float32 for the sum of 10^12 such weights
# Bounds: the rounding of a coordinate, in units of eps times the largest norm. Half a unit each for
# the coordinates of key and query, the middle and the half width of a box and the two subtractions,
# and half a unit each for the at most six terms that are squared and added.
SLACK = 8.0
# Exponents of what a gradient may skip: x e^-x is below e^-(x - GRADIENT) up to x = 50.
GRADIENT = 4.0


class Index:
    r"""Keys prepared once for many queries.

    Args:
        merged: distinct keys (m, d) with their counts, mean values and the spread of these, as
            `fields.merge_equal` finds them; ``merged.sources`` identify one original of each.
        tolerance: :math:`\varepsilon`, the largest fraction of the weight that may be skipped;
            0 skips nothing.
    """

    def __init__(self, merged: Keys, tolerance: float):
        self.tolerance = tolerance
        keys = merged.keys
        self.dtype = keys.dtype
        self.centre = keys.mean(0)
        # The centre is taken off the keys, too, if that rounds nothing away; else off the queries
        # alone, which changes logits by a constant.
        exact = subtracts_exactly(keys, self.centre)
        self.removed = self.centre if exact else torch.zeros_like(self.centre)
        self.kept_centre = self.centre - self.removed  # the centre of the keys as they are kept
        self.axes = principal_axes(keys, BOX_DIMENSIONS)
        coordinates = torch.cat(
            [self.coordinates_of(self._centred(part)).to(self.dtype) for part in keys.split(ROWS)]
        )
        order, self.blocks = median_splits(coordinates)
        self.size = len(order) // self.blocks
        self.keys = self._augmented(keys, order)
        self.radius = (-2 * self.keys[:, -2]).max().clamp_min(0).sqrt().item()
        self.norm = max(part[:, :-2].norm(dim=1).max().item() for part in self.keys.split(ROWS))
        self.counts = merged.counts[order].to(keys.dtype)
        # Blocks are filled up with repetitions of the last key, of weight zero.
        self.counts[_repetitions(order, len(keys))] = 0
        self.total = self.counts.sum(dtype=torch.float64).item()
        # Values count from one of them: a common offset costs no digits.
        self.value_centre = merged.values[:1]
        self.values = with_ones(merged.values[order] - self.value_centre)
        self.spread = merged.spread[order]
        # Squared deviations up to this are those of keys whose weights are nothing.
        largest = 4 * (self.values[:, 1:].square().max() + self.spread.max()).item()
        self.nothing = NOTHING * self.total * largest
        self.weighted = (self.values * self.counts[:, None]).T.contiguous()
        self.sources = merged.sources[order]
        boxes = coordinates[order].view(self.blocks, self.size, -1)
        low, high = boxes.amin(1), boxes.amax(1)
        self.middle = (low + high) / 2
        self.half = (high - low) / 2

    def coordinates_of(self, centred: Tensor) -> Tensor:
        """Where boxes are drawn: the principal coordinates, and the norm of what they leave out.

        Two vectors are at least as far apart as these coordinates are, since norms of differences
        are at least the differences of norms. In the best precision: bounds need their digits.
        """
        axes = self.axes.to(centred)
        principal = centred @ axes
        rest = (centred - principal @ axes.T).norm(dim=1, keepdim=True)
        return torch.cat([principal, rest], 1)

    def _centred(self, keys: Tensor) -> Tensor:
        """Keys minus the centre, in the best precision."""
        best = self.axes.dtype
        return keys.to(best) - self.centre.to(best)

    def _augmented(self, keys: Tensor, order: Tensor) -> Tensor:
        """Keys in the order of the blocks, with -||k - centre||^2 / 2 and 1 appended, (m, d + 2).

        Part by part: no second copy of all keys on the way.
        """
        result = keys.new_ones(len(order), keys.shape[1] + 2)
        for start in range(0, len(order), ROWS):
            part = slice(start, start + ROWS)
            chosen = keys[order[part]]
            result[part, :-2] = chosen - self.removed
            result[part, -2] = self._centred(chosen).square().sum(1) / -2
        return result

    def attend(self, queries: Tensor, precision: Tensor, details: bool) -> State:
        """Reduces over the keys; see `dense.attend`. Queries (n, d)."""
        searches = self._searches(queries, precision)
        return combine([search.run(details) for search in searches], torch.cat)

    def pull(self, queries: Tensor, precision: Tensor, slope: Slope) -> Tensor:
        """The sums behind the gradient; see `dense.pull`."""
        searches = self._searches(queries, precision)
        slopes = slope.split(self._batch)
        return torch.cat([search.pull(part) for search, part in zip(searches, slopes, strict=True)])

    @property
    def _batch(self) -> int:
        """How many queries to take at once."""
        return max(64, min(BOUNDS // self.blocks, TILE // self.size))

    def _searches(self, queries: Tensor, precision: Tensor) -> Iterator[_Search]:
        """The queries, batch by batch, all in the same precision."""
        centred = queries - self.centre.to(queries)
        norm = centred.norm(dim=1)
        size = norm * self.norm + self.radius**2 / 2
        error = logit_error(size, precision, self.dtype)
        dtype = self.dtype if error.max() <= LOGIT_ERROR else queries.dtype
        error = logit_error(size, precision, dtype)
        parts = (t.split(self._batch) for t in (centred, norm, precision, error))
        return (_Search(self, *part, dtype) for part in zip(*parts, strict=True))


class _Search:
    """One batch of queries on its way through the index."""

    def __init__(
        self,
        index: Index,
        queries: Tensor,
        norm: Tensor,
        precision: Tensor,
        error: Tensor,
        dtype: torch.dtype,
    ):
        self.index, self.queries, self.precision, self.error = index, queries, precision, error
        self.norm = norm
        # (d + 2, n): the last row, against the keys' column of ones, takes the shift.
        zero = torch.zeros_like(precision)[:, None]
        augmented = torch.cat([augment_queries(queries, precision), zero], 1)
        self.augmented = augmented.T.to(dtype).contiguous()
        # q . (k - centre) is q . k for the keys as they are kept, but for this.
        # Where even the best precision is too coarse for products, differences are taken.
        self.differences = bool((error > LOGIT_ERROR).any())
        lean = queries @ index.kept_centre.to(queries)
        # What products have more than -||q - k||^2 / 2 sigma^2.
        self.surplus = (norm.square() / 2 + lean) * precision * (not self.differences)
        # Weights below a floor, which slow exp down, occur only if some key is far enough.
        self.reach = ((norm + index.radius).square() * precision / 2).max().item()
        self.bound = self._bounds(index.coordinates_of(queries))

    def _bounds(self, coordinates: Tensor) -> Tensor:
        """Lower bounds of the squared distance from every block to every query, (blocks, n)."""
        index, coordinates = self.index, coordinates.to(self.index.middle)
        eps = torch.finfo(coordinates.dtype).eps
        half = index.half + SLACK * eps * (index.radius + self.norm.max().item())
        bound = coordinates.new_zeros(index.blocks, len(coordinates))
        gap = torch.empty_like(bound)
        for axis in range(coordinates.shape[1]):
            torch.sub(coordinates[None, :, axis], index.middle[:, None, axis], out=gap)
            gap.abs_().sub_(half[:, None, axis]).clamp_(min=0)
            bound.addcmul_(gap, gap)
        return bound

    def run(self, details: bool) -> State:
        """The state of the queries."""
        self._visit_best_block()
        self._visit_nearer_blocks(all_queries=details)
        winner = self._winner() if details else None
        sums, second, squares = self._sum(winner)
        top, sums = self.top.to(self.precision), sums.to(self.precision)
        mean = sums[1:] / sums[0]
        state = State(top + sums[0].log(), mean.T + self.index.value_centre)
        if details:
            variance = self._variance(second.to(top) / sums[0], mean, winner)
            log_square = 2 * top + squares.to(top).log()
            rest = Details(variance, log_square, top, self.index.sources[winner])
            state = State(state.log_sum, state.mean, rest)
        return state.shift(-self.surplus)

    def _variance(self, second: Tensor, mean: Tensor, winner: Tensor) -> Tensor:
        """From mean squared deviations from the winner's values, and means, (c, n): (n, c)."""
        index = self.index
        second = torch.where(second > index.nothing, second, 0.0)
        deviation = mean - index.values[winner, 1:].T.to(mean)
        return (second - deviation.square()).clamp_min(0).T

    def _visit_best_block(self) -> None:
        """Starts with the nearest key of the block whose box is nearest."""
        self.nearest, self.top_block = self.bound.min(0)
        self.top = self.augmented.new_full(self.precision.shape, -torch.inf)
        self._raise_top(self._one_block_each())

    def _visit_nearer_blocks(self, all_queries: bool) -> None:
        """Finds the nearest key of all, for the queries that need it.

        A query can do without where no logit can exceed the largest one found so far by more than
        GAP, since the shift need only keep the exponentials in range.
        """
        distance = self._squared_distance()
        wanted = self._nearer_than(distance)
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
        return (2 * (self.surplus - self.top.to(self.surplus)) / self.precision).clamp_min(0)

    def _nearer_than(self, squared_distance: Tensor) -> Tensor:
        """Which blocks may hold keys nearer to a query than this, (blocks, n)."""
        limit = squared_distance.to(self.bound)
        # Rounded up: a bound is compared with a number that is not below the true one.
        return self.bound < torch.nextafter(limit, torch.full_like(limit, torch.inf))

    def _sum(self, winner: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted sums over all blocks that matter, relative to the shift ``top``.

        Args:
            winner: positions of the queries' nearest keys, (n), if details are wanted. Squares are
                those of deviations from their values: no digits cancel, and they are exactly 0
                where all that has any weight agrees.

        Returns:
            Sums of w and w v, (1 + c, n), of w (v - v_winner)^2, (c, n), and of w^2, (n).
        """
        index = self.index
        self.augmented[-1] = -self.top
        sums = self.top.new_zeros(len(index.weighted), len(self.top))
        second = torch.zeros_like(sums[1:])
        squares = torch.zeros_like(self.top)
        if winner is not None:
            values = index.values.to(sums)
            reference = values[winner].T
        for span, chosen in self._visits(self._matters(), merge=True):
            weights = self._weights(span, chosen)
            weighted = index.weighted[:, span].to(weights.dtype)
            sums.index_add_(1, chosen, weighted @ weights)
            if winner is not None:
                counts = weighted[0]
                for column in range(len(second)):
                    deviation = values[span, None, 1 + column] - reference[1 + column, chosen]
                    products = counts @ deviation.square_().mul_(weights)
                    second[column].index_add_(0, chosen, products)
                spread = index.spread[span].to(weights) * counts[:, None]
                second.index_add_(1, chosen, spread.T @ weights)
                squares.index_add_(0, chosen, counts @ weights.square_())
        return sums, second, squares

    def pull(self, slope: Slope) -> Tensor:
        """The sums behind the gradient; see `dense.pull`."""
        index = self.index
        self.augmented[-1] = -(slope.log_sum + self.surplus)
        rows = slope.rows(index.value_centre.to(slope.mean)).to(self.augmented)
        sums = self.augmented.new_zeros(len(self.norm), len(self.augmented))
        total = torch.zeros_like(sums[:, 0])
        for span, chosen in self._visits(self._matters_to(slope.log_sum), merge=True):
            weights = self._weights(span, chosen, GRADIENT_FLOOR)
            weighted = index.weighted[:, span].to(weights.dtype)
            total.index_add_(0, chosen, weighted[0] @ weights)
            weights.mul_(weighted.T @ _columns(rows, chosen))
            sums.index_add_(0, chosen, weights.T @ self._keys(span))
        sums = sums.to(self.queries)
        sums[:, :-2] -= sums[:, -1:] * index.kept_centre
        return from_sums(self.queries, sums, total.to(self.queries))

    def _matters(self) -> Tensor:
        """Which blocks may not be skipped, (blocks, n)."""
        if self.index.tolerance == 0:
            return torch.ones_like(self.bound, dtype=torch.bool)
        margin = 2 * self._exponent() / self.precision
        return self._nearer_than(self._squared_distance() + margin) | self._one_block_each()

    def _matters_to(self, log_sum: Tensor) -> Tensor:
        """The same for a gradient, when the sum of all weights is known."""
        if self.index.tolerance == 0:
            return torch.ones_like(self.bound, dtype=torch.bool)
        exponent = self._exponent() + GRADIENT - log_sum
        return self._nearer_than((2 * exponent / self.precision).clamp_min(0))

    def _exponent(self) -> Tensor:
        """How far below the largest a logit is negligible, with room for the rounding of logits."""
        return math.log(self.index.total / self.index.tolerance) + 50 * self.error

    def _winner(self) -> Tensor:
        """The position of each query's nearest key."""
        winner = torch.empty_like(self.top_block)
        for span, chosen in self._visits(self._one_block_each()):
            winner[chosen] = span.start + self._logits(span, chosen).argmax(0)
        return winner

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

    def _weights(self, span: slice, chosen: Tensor, floor: float = FLOOR) -> Tensor:
        """Exponentials of the logits of a range of keys, minus the shift: (keys, chosen)."""
        logits = self._logits(span, chosen)
        return (logits.clamp_(min=floor) if self.reach > -floor else logits).exp_()

    def _logits(self, span: slice, chosen: Tensor) -> Tensor:
        """Logits of a range of keys, minus the shift once it is set: (keys, chosen)."""
        if not self.differences:
            return self._keys(span) @ _columns(self.augmented, chosen)
        keys = self._keys(span)[:, :-2] - self.index.kept_centre
        exact = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(keys, self.queries[chosen], compute_mode=exact)
        return distance.square_() * (self.precision[chosen] / -2) + self.augmented[-1, chosen]

    def _keys(self, span: slice) -> Tensor:
        """A range of keys in the working precision, (keys, d + 2)."""
        keys = self.index.keys[span]
        if keys.dtype != self.augmented.dtype:
            keys = keys.to(self.augmented.dtype)
            # In the better precision, so is the square.
            keys[:, -2] = (keys[:, :-2] - self.index.kept_centre).square().sum(1) / -2
        return keys


def _columns(matrix: Tensor, chosen: Tensor) -> Tensor:
    """Some columns of a matrix; no copy if these are all."""
    return matrix if len(chosen) == matrix.shape[1] else matrix.index_select(1, chosen)


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
