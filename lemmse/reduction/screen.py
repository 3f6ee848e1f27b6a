r"""Few keys of high dimension, whole images: screened by bounds, key by key, in three stages.

A vector's leading principal coordinates and the norm of what they leave out bound distances from
below, as in `index`, at a fraction of the cost of a distance. Keys that the bound does not
exclude get a logit in float32, and those that this does not exclude, with its rounding, an exact
one: at small sigma these are a handful. With :math:`d_1` an upper bound of the distance to the
nearest of N keys, a key at a distance of at least :math:`\delta` is excluded when

.. math:: N e^{-\delta^2 / 2 \sigma^2} \le \varepsilon\, e^{-d_1^2 / 2 \sigma^2},

with the rounding :math:`\varepsilon` of the keys' precision: nothing that is excluded could show.
For variances it is squared, since their root shows.
Half squared distances are computed as :math:`\|q\|^2 / 2 + \|k\|^2 / 2 - q \cdot k`, and every
comparison leaves room for the rounding error of that in D dimensions, at most
:math:`(D + 4)\, u\, (\|q\| + \|k\|)^2 / 2` with the unit roundoff u (Higham, Accuracy and Stability
of Numerical Algorithms, 2002, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from .dense import FLOOR, GRADIENT_FLOOR, NOTHING, Slope, with_ones, with_squares
from .rounding import LOGIT_ERROR, logit_error, subtracts_exactly
from .state import Details, State, combine, variance_of

COORDINATES = 160  # principal coordinates that bounds are made of
SAMPLE = 512  # keys that the principal directions are found from
PAIRS = 1 << 22  # pairs of key and query handled at once
MOST_QUERIES = 64  # handled at once: what one of them needs, all get
ROWS = 1 << 12  # keys converted to float64 at once
# Exponents of what a gradient may skip: x e^-x is below e^-(x - GRADIENT) up to x = 50.
GRADIENT = 4.0


class Screen:
    r"""Keys prepared for queries of which few keys matter to each.

    Args:
        keys: (m, D), float32 or float64; kept, not copied, unless their centre can be taken off
            them without rounding.
        values: what is averaged, (m, c); kept, not copied.
        sources: identifiers of the keys, int64 (m).
        exact: takes indices (s) to these keys in the best precision, where ``keys`` were rounded.
        centre: what was taken off the keys before they were rounded, (D,) in the best precision;
            None: they are as they are, and their mean is taken off here.
    """

    def __init__(
        self,
        keys: Tensor,
        values: Tensor,
        sources: Tensor,
        exact: Callable[[Tensor], Tensor] | None = None,
        centre: Tensor | None = None,
    ):
        self.values, self.sources, self.exact = values, sources, exact
        self.dtype = keys.dtype
        if centre is None:
            self.centre = keys.mean(0, dtype=torch.float64).to(keys.dtype)
            subtract = self.dtype == torch.float32 and subtracts_exactly(keys, self.centre)
            self.keys = keys - self.centre if subtract else keys
            self.kept_centre = torch.zeros_like(self.centre) if subtract else self.centre
        else:
            self.centre, self.keys, self.kept_centre = centre, keys, torch.zeros_like(centre)
        self.axes = principal_directions(self.keys, self.kept_centre)
        best = self.axes.dtype
        parts = [self._coordinates(self._centred(part, best)) for part in self.keys.split(ROWS)]
        coordinates = torch.cat(parts)
        norm = coordinates.norm(dim=1)
        self.radius = norm.max().item()
        self.norm = self.keys.norm(dim=1).max().item()
        self.half_square = (norm.square() / 2).to(self.dtype)
        self.coordinates = coordinates.to(self.dtype)

    def attend(self, queries: Tensor, precision: Tensor, details: bool) -> State:
        """Reduces over the keys; see `dense.attend`. Queries (n, D)."""
        batches = self._batches(queries, precision)
        return combine([self._attend(*batch, details) for batch in batches], torch.cat)

    def _attend(self, queries: Tensor, precision: Tensor, details: bool) -> State:
        eps = torch.finfo(self.dtype).eps
        share = eps**2 if details else eps
        which, logits = self._relevant(queries, precision, share, None)
        top, winner = logits.max(1)
        weights = (logits - top[:, None]).clamp_(min=FLOOR).exp_()
        total = weights.sum(1)
        mean = (self._weighted(which, weights) / total[:, None]).to(queries)
        top = top.to(queries)
        state = State(top + total.to(queries).log(), mean)
        if not details:
            return state
        log_square = 2 * top + weights.square().sum(1).to(queries).log()
        variance = self._variance(which, weights.to(queries))
        rest = Details(variance, log_square, top, self.sources[which[winner]])
        return State(state.log_sum, mean, rest)

    def pull(self, queries: Tensor, precision: Tensor, slope: Slope) -> Tensor:
        """The sums behind the gradient; see `dense.pull`."""
        batches = self._batches(queries, precision)
        slopes = slope.split(self._batch)
        return torch.cat([self._pull(*b, s) for b, s in zip(batches, slopes, strict=True)])

    def _pull(self, queries: Tensor, precision: Tensor, slope: Slope) -> Tensor:
        share = torch.finfo(self.dtype).eps
        which, logits = self._relevant(queries, precision, share, slope.log_sum)
        logits = logits.to(queries)
        weights = (logits - slope.log_sum[:, None]).clamp_(min=GRADIENT_FLOOR).exp_()
        centred = queries - self.centre.to(queries)
        rows = slope.rows(torch.zeros_like(slope.mean[:1])).mT
        first, second = torch.zeros_like(queries), torch.zeros_like(precision)
        parts = (which.split(ROWS), weights.split(ROWS, 1), logits.split(ROWS, 1))
        for part, w, logit in zip(*parts, strict=True):
            a = w * (rows @ with_ones(self.values[part].to(queries)).T)
            keys = self._best(part, queries.dtype)
            first += a @ keys - a.sum(1, keepdim=True) * centred
            second -= 2 * (a * logit).sum(1) / precision
        return torch.cat([first, second[:, None], weights.sum(1, keepdim=True)], 1)

    @property
    def _batch(self) -> int:
        """How many queries to take at once."""
        return max(1, min(MOST_QUERIES, PAIRS // len(self.keys)))

    def _batches(self, queries: Tensor, precision: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(queries.split(self._batch), precision.split(self._batch), strict=True)

    def _relevant(
        self, queries: Tensor, precision: Tensor, share: float, log_sum: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The keys that may carry weight, for one of the queries at least.

        Args:
            queries: (n, D).
            precision: (n).
            share: of the total weight, how much may be left out.
            log_sum: logarithm of the sum of all weights, (n), if it is known.

        Returns:
            Indices of the keys, (s), and their logits, (n, s), precise as `reduce` promises.
        """
        centred = queries - self.centre.to(queries)
        norm = centred.norm(dim=1)
        coordinates = self._coordinates(centred)
        # What the products below leave out of half a squared distance.
        own = norm.square() / 2
        lean = centred @ self.kept_centre.to(centred)
        bound = self._products(self.coordinates, coordinates, self.half_square)
        margin = math.log(len(self.keys) / share) / precision
        if log_sum is None:
            nearest = self._half_distance_to(bound.argmin(1), centred)
        else:
            nearest = -log_sum / precision
            margin = margin + GRADIENT / precision
        # Once for the bound, once for a nearest key that was rounded.
        rounding = 2 * self._rounding(norm, max(self.radius, self.norm), coordinates.shape[1])
        which = _below(bound, nearest + margin + rounding - own)
        products = self._products(_rows(self.keys, which), centred, _rows(self.half_square, which))
        rounding = self._rounding(norm, self.norm, queries.shape[1])
        size = norm * self.norm + self.radius**2 / 2
        trusted = logit_error(size, precision, self.dtype).max() <= LOGIT_ERROR
        if log_sum is None and len(which):
            nearest = torch.minimum(nearest, products.amin(1) + own + lean + rounding)
        few = _below(products, nearest + margin + rounding - own - lean)
        which = which[few]
        if trusted or self.dtype == queries.dtype:
            return which, self._logits(_columns(products, few), own + lean, precision)
        parts = [self._exact(part, centred) for part in which.split(ROWS)]
        return which, self._logits(torch.cat(parts, 1), own, precision)

    def _products(self, keys: Tensor, queries: Tensor, half_square: Tensor) -> Tensor:
        """|k|^2 / 2 - q . k, (n, m), in the keys' precision."""
        return torch.addmm(half_square, queries.to(keys), keys.T, alpha=-1)

    def _logits(self, products: Tensor, rest: Tensor, precision: Tensor) -> Tensor:
        """Logits from products and what they leave out."""
        return (products + rest.to(products)[:, None]) * (-precision).to(products)[:, None]

    def _rounding(self, norm: Tensor, largest: float, dimensions: int) -> Tensor:
        """Largest rounding error of products of keys up to a norm with queries of this norm."""
        unit = torch.finfo(self.dtype).eps / 2
        return (dimensions + 8) * unit * (norm * largest + (norm + self.radius).square() / 2)

    def _half_distance_to(self, which: Tensor, centred: Tensor) -> Tensor:
        """Half the squared distance from each query to one key of its own, (n)."""
        return (self._centred(self.keys[which], centred.dtype) - centred).square().sum(1) / 2

    def _exact(self, which: Tensor, centred: Tensor) -> Tensor:
        """The products of some keys, (n, s), in the queries' precision."""
        keys = self._best(which, centred.dtype)
        return self._products(keys, centred, keys.square().sum(1) / 2)

    def _best(self, which: Tensor, dtype: torch.dtype) -> Tensor:
        """Some keys minus the centre, in the best precision there is."""
        if self.exact is None:
            return self._centred(self.keys[which], dtype)
        return self.exact(which).to(dtype)

    def _centred(self, kept: Tensor, dtype: torch.dtype) -> Tensor:
        """Some keys, as they are kept, minus the centre."""
        return kept.to(dtype) - self.kept_centre.to(dtype)

    def _coordinates(self, centred: Tensor) -> Tensor:
        """Principal coordinates and the norm of what they leave out, (..., r + 1)."""
        axes = self.axes.to(centred)
        principal = centred @ axes
        rest = centred.square().sum(1) - principal.square().sum(1)
        return torch.cat([principal, rest.clamp_min(0).sqrt()[:, None]], 1)

    def _weighted(self, which: Tensor, weights: Tensor) -> Tensor:
        """Sums of weights (n, s) times values, (n, c), in the precision of the weights."""
        if len(which) > len(self.values) // 2 and weights.dtype == self.values.dtype:
            # Most of them: zero weights cost less than a copy of the values.
            spread = weights.new_zeros(len(weights), len(self.values))
            return spread.index_copy_(1, which, weights) @ self.values
        parts = zip(which.split(ROWS), weights.split(ROWS, 1), strict=True)
        return sum(w @ self.values[part].to(w) for part, w in parts)

    def _variance(self, which: Tensor, weights: Tensor) -> Tensor:
        """Variances of the values with these weights (n, s), (n, c)."""
        weights = functional.threshold(weights, NOTHING, 0)
        first = self.values[which[:1]].to(weights)
        moments = 0
        for part, w in zip(which.split(ROWS), weights.split(ROWS, 1), strict=True):
            values = self.values[part].to(weights) - first
            moments = moments + with_squares(with_ones(values), None).T @ w.T
        return variance_of(moments)


def _rows(matrix: Tensor, which: Tensor) -> Tensor:
    """Some rows of a matrix or entries of a vector; all of them are no copy."""
    return matrix if len(which) == len(matrix) else matrix[which]


def _columns(matrix: Tensor, which: Tensor) -> Tensor:
    return matrix if len(which) == matrix.shape[1] else matrix[:, which]


def _below(products: Tensor, limit: Tensor) -> Tensor:
    """Indices of the columns of (n, m) in which some entry is at most its row's limit."""
    limit = torch.nextafter(limit.to(products), products.new_tensor(torch.inf))
    return (products <= limit[:, None]).any(0).nonzero()[:, 0]


def principal_directions(keys: Tensor, centre: Tensor) -> Tensor:
    """Orthonormal directions in which a sample of the keys varies most, (D, at most COORDINATES).

    Any orthonormal directions give bounds; these give good ones.
    """
    sample = keys[:: max(1, len(keys) // SAMPLE)].double() - centre.double()
    _, _, directions = torch.linalg.svd(sample, full_matrices=False)
    return directions[:COORDINATES].T
