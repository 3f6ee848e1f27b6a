"""Exercises of chapter 15: rare patches."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _rank_correlation(x, y):
    """One minus six times the mean squared difference of the ranks, over n^2 - 1."""
    n = len(x)
    squared = 0
    for i in range(n):
        squared += (int((x < x[i]).sum()) - int((y < y[i]).sum())) ** 2
    return torch.tensor(1 - 6 * squared / (n * (n**2 - 1)))


def _pearson(x, y):
    return torch.corrcoef(torch.stack([x, y]))[0, 1]


def _of_positions(x, y):
    """argsort once: the positions of the sorted numbers, which are not the ranks."""
    return torch.corrcoef(torch.stack([x.argsort().double(), y.argsort().double()]))[0, 1]


def _signs(x, y):
    """Kendall's tau, another measure of order."""
    n = len(x)
    signs = (x[:, None] - x).sign() * (y[:, None] - y).sign()
    return signs.sum() / (n * (n - 1))


_ORDER = "does not change when x is replaced by its exponential"
_SELF = "returns 1 for x with itself and -1 for x with its negative"


def _itself(case):
    x = case["x"]
    return close(case.call(y=x), 1.0) and close(case.call(y=-x), -1.0)


def _monotone(case):
    return close(case.call(x=case["x"].exp()), case.result)


@exercise(
    "15.1",
    "rank correlation",
    reference=_rank_correlation,
    hint="x.argsort() lists positions, x.argsort().argsort() is the rank of each number; then the "
    "correlation of the two lists of ranks",
    properties=[
        Property(_SELF, _itself, "subtract the means and divide by both norms"),
        Property(_ORDER, _monotone, "only the ranks of the numbers may enter"),
    ],
    wrong=[
        (_pearson, _ORDER),
        (lambda x, y: 2 * _rank_correlation(x, y), _SELF),
        (lambda x, y: _rank_correlation(x, y).abs(), _SELF),
        (_of_positions, _SELF),
        (_signs, AGREES),
    ],
)
def _(generator):
    x = torch.randn(9, generator=generator)
    return {"x": x, "y": 0.5 * x + torch.randn(9, generator=generator)}


def _common_and_private(errors):
    """Pair by pair."""
    count = len(errors)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    common = sum(errors[i] * errors[j] for i, j in pairs) / len(pairs)
    private = sum((errors[i] - errors[j]) ** 2 for i, j in pairs) / (2 * len(pairs))
    return common, private


def _biased(errors):
    return errors.mean(0).square(), errors.var(0, correction=0)


def _half_corrected(errors):
    return errors.mean(0).square(), errors.var(0)


_SUM = "returns parts that add up to the mean squared error of the networks"
_EQUAL = "finds no private part in networks that agree"


def _adds_up(case):
    return close(case.result[0] + case.result[1], case["errors"].square().mean(0))


def _agreeing(case):
    errors = case["errors"][:1].expand(4, -1)
    common, private = case.call(errors=errors)
    return close(common, errors[0].square()) and close(private, torch.zeros_like(errors[0]))


@exercise(
    "15.2",
    "common and private errors",
    reference=_common_and_private,
    hint="the sum over pairs of e_i e_j is (sum of e)^2 - sum of e^2; there are K (K - 1) ordered "
    "pairs; half of the mean squared difference is the variance with divisor K - 1",
    properties=[
        Property(_EQUAL, _agreeing, "the private part has only differences between networks"),
        Property(_SUM, _adds_up, "both are means over the same K (K - 1) pairs"),
    ],
    wrong=[
        (_biased, AGREES),
        (_half_corrected, _SUM),
        (lambda errors: _common_and_private(errors)[::-1], _EQUAL),
        (lambda errors: (errors.mean(0), errors.std(0)), _EQUAL),
        (lambda errors: _common_and_private(errors)[0], KIND),
    ],
)
def _(generator):
    shared = torch.randn(1, 4, generator=generator)
    return {"errors": shared + 0.5 * torch.randn(3, 4, generator=generator)}
