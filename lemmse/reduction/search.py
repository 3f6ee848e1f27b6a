"""A batch of queries on its way through an `index.Index`: the blocks it visits, and the sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .dense import FLOOR, GRADIENT_FLOOR, Slope, augment_queries, from_sums
from .rounding import LOGIT_ERROR
from .state import Details, State

if TYPE_CHECKING:
    from .index import Index

TILE = 1 << 20  # numbers in one tile of logits, (keys of a block, queries)
GAP = 60.0  # e^60 still leaves room in float32 for the sum of 10^12 such weights
# Bounds: the rounding of a coordinate, in units of eps times the largest norm. Half a unit each for
# the coordinates of key and query, the middle and the half width of a box and the two subtractions,
# and half a unit each for the at most six terms that are squared and added.
SLACK = 8.0
# Squares of smaller weights, beside a largest one of 1, would be denormal: ten times slower.
LEAST = math.exp(-43)
# Exponents of what a gradient may skip: x e^-x is below e^-(x - GRADIENT) up to x = 50.
GRADIENT = 4.0


class Search:
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
            values = index.scaled.to(sums)
            reference = values[winner].T
        for span, chosen in self._visits(self._matters(), merge=True):
            weights = self._weights(span, chosen)
            weighted = index.weighted[:, span].to(weights.dtype)
            sums.index_add_(1, chosen, weighted @ weights)
            if winner is not None:
                counts = weighted[0]
                for column in range(len(second)):
                    deviation = values[span, None, column] - reference[column, chosen]
                    products = counts @ deviation.square_().mul_(weights)
                    second[column].index_add_(0, chosen, products)
                if index.spreads:
                    spread = index.spread[span].to(weights) * counts[:, None] * index.scale**2
                    second.index_add_(1, chosen, spread.T @ weights)
                squares.index_add_(0, chosen, counts @ weights.clamp_(min=LEAST).square_())
        return sums, second / index.scale**2, squares

    def pull(self, slope: Slope) -> Tensor:
        """The sums behind the gradient; see `dense.pull`."""
        index = self.index
        self.augmented[-1] = -(slope.log_sum + self.surplus)
        rows = slope.rows(index.value_centre.to(slope.mean))
        visits = self._visits(self._matters_to(slope.log_sum), merge=True)
        total, sums = (self._moments if len(rows) == 2 else self._slopes)(visits, rows)
        sums[:-2] -= sums[-1:] * index.kept_centre.to(sums)[:, None]
        return from_sums(self.queries, sums.T, total)

    def _moments(
        self, visits: Iterator[tuple[slice, Tensor]], rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """For values of one column: sums of w k and of w v k, of which the slope is made after.

        One matrix product then does all; with more columns it would be wider than what it saves.

        Args:
            visits: which keys go with which queries.
            rows: from `Slope.rows`, (1 + c, n).

        Returns:
            Sums of w, (n), and of a (k, -||k||^2 / 2, 1), (d + 2, n), in the queries' dtype.
        """
        moments = self.augmented.new_zeros(2 * len(self.augmented), len(self.norm))
        for span, chosen in visits:
            weights = self._weights(span, chosen, GRADIENT_FLOOR)
            weighted = self.index.weighted[:, None, span].to(weights)
            columns = weighted * self._keys(span).T
            moments.index_add_(1, chosen, columns.flatten(0, 1) @ weights)
        moments = moments.to(rows).unflatten(0, (2, -1))
        return moments[0, -1], (rows[:, None] * moments).sum(0)

    def _slopes(
        self, visits: Iterator[tuple[slice, Tensor]], rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """For values of several columns; arguments and answer as for `_moments`."""
        total = self.augmented.new_zeros(len(self.norm))
        sums = torch.zeros_like(self.augmented)
        rows = rows.to(sums)
        for span, chosen in visits:
            weights = self._weights(span, chosen, GRADIENT_FLOOR)
            weighted = self.index.weighted[:, span].to(weights.dtype)
            total.index_add_(0, chosen, weighted[0] @ weights)
            weights.mul_(weighted.T @ _columns(rows, chosen))
            sums.index_add_(1, chosen, self._keys(span).T @ weights)
        return total.to(self.queries), sums.to(self.queries)

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
