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

from .dense import NOTHING, Keys, Slope, with_ones
from .rounding import LOGIT_ERROR, logit_error, subtracts_exactly
from .search import TILE, Search
from .state import State, combine

BLOCK = 512  # least number of keys in a block; a block holds at most twice as many
MOST_BLOCKS = 4096
BOX_DIMENSIONS = 4  # principal coordinates of the boxes; the norm of the rest is one more
BOUNDS = 1 << 22  # numbers in one matrix of bounds, (blocks, queries)
SCALED = 20  # squared deviations are taken of values up to 2^SCALED
ROWS = 1 << 16  # keys handled at once while preparing


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
        self.spreads = bool(self.spread.any())
        # Squared deviations up to this are those of keys whose weights are nothing.
        largest = 4 * (self.values[:, 1:].square().max() + self.spread.max()).item()
        self.nothing = NOTHING * self.total * largest
        # In this scale no product of a weight and a squared deviation is denormal, which would be
        # ten times slower. A power of two rounds nothing.
        self.scale = 2.0 ** max(-60, min(60, SCALED - math.frexp(math.sqrt(largest))[1]))
        self.scaled = self.values[:, 1:] * self.scale
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

    def _searches(self, queries: Tensor, precision: Tensor) -> Iterator[Search]:
        """The queries, batch by batch, all in the same precision."""
        centred = queries - self.centre.to(queries)
        norm = centred.norm(dim=1)
        size = norm * self.norm + self.radius**2 / 2
        error = logit_error(size, precision, self.dtype)
        dtype = self.dtype if error.max() <= LOGIT_ERROR else queries.dtype
        error = logit_error(size, precision, dtype)
        parts = (t.split(self._batch) for t in (centred, norm, precision, error))
        return (Search(self, *part, dtype) for part in zip(*parts, strict=True))


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
