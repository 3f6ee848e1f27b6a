"""Exercises of chapter 10: reading the estimator."""

import itertools

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _interval(weights, values, share):
    """Element by element, from the definition."""
    pairs = sorted(zip(values.tolist(), weights.tolist(), strict=True))
    ends = []
    for level in ((1 - share) / 2, (1 + share) / 2):
        total = list(itertools.accumulate(weight for _, weight in pairs))
        reached = [value for (value, _), t in zip(pairs, total, strict=True) if t >= level]
        ends.append(torch.tensor(reached[0], dtype=values.dtype))
    return tuple(ends)


def _unsorted(weights, values, share):
    total = weights.cumsum(0)
    low, high = ((total < level).sum() for level in ((1 - share) / 2, (1 + share) / 2))
    return values[low], values[high]


def _unweighted(weights, values, share):
    return values.quantile((1 - share) / 2), values.quantile((1 + share) / 2)


def _gaussian(weights, values, share):
    mean = weights @ values
    deviation = (weights @ (values - mean).square()).sqrt()
    reach = 2**0.5 * torch.erfinv(torch.tensor(share)) * deviation
    return mean - reach, mean + reach


_ONE_VOTER = "returns the value of the only voter that has weight, at both ends"
_ORDER = "does not depend on the order in which the voters are listed"


def _only_voter(case):
    weights = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    low, high = case.call(weights=weights)
    return close(low, case["values"][2]) and close(high, case["values"][2])


def _same_backwards(case):
    turned = case.call(weights=case["weights"].flip(0), values=case["values"].flip(0))
    return close(torch.stack(list(turned)), torch.stack(list(case.result)))


@exercise(
    "10.1",
    "the interval that claims to contain the truth",
    reference=_interval,
    hint="add up the weights from the smallest value upwards; an end is the first value at which "
    "the sum reaches (1 - q)/2, or (1 + q)/2",
    properties=[
        Property(_ORDER, _same_backwards, "sort by value, and take the weights along"),
        Property(_ONE_VOTER, _only_voter, "count the voters' weights, not the voters"),
    ],
    wrong=[
        (_unsorted, _ORDER),
        (_unweighted, _ONE_VOTER),
        (_gaussian, AGREES),
        (lambda weights, values, share: _interval(weights, values, 2 * share - 1), AGREES),
    ],
)
def _(generator):
    weights = torch.rand(5, generator=generator) + 0.05
    values = torch.rand(5, generator=generator)
    share = 0.2 + 0.6 * torch.rand(1, generator=generator).item()
    return {"weights": weights / weights.sum(), "values": values, "share": share}


def _reliability(deviation, error, bins):
    """Bin by bin."""
    order = sorted(range(len(deviation)), key=lambda i: deviation[i].item())
    size = len(order) // bins
    parts = [torch.tensor(order[b * size : (b + 1) * size]) for b in range(bins)]
    return tuple(
        torch.stack([column[part].square().mean().sqrt() for part in parts])
        for column in (deviation, error)
    )


def _sorted_apart(deviation, error, bins):
    parts = (column.sort().values.view(bins, -1) for column in (deviation, error))
    return tuple(part.square().mean(1).sqrt() for part in parts)


_RISES = "returns predicted deviations that rise from bin to bin"
_ONE_BIN = "returns the root mean square of all pixels if there is one bin"
_TOGETHER = "keeps the errors with the pixels that they belong to"


def _whole(case):
    predicted, made = case.call(bins=1)
    wanted = case["deviation"].square().mean().sqrt(), case["error"].square().mean().sqrt()
    return close(predicted, wanted[0][None]) and close(made, wanted[1][None])


def _opposite(case):
    """The largest errors where the smallest deviations are: the errors must fall."""
    error = 1 / case["deviation"]
    made = case.call(error=error)[1]
    return bool((made.diff() <= 0).all())


@exercise(
    "10.2",
    "reliability curve",
    reference=_reliability,
    hint="sort by the predicted deviation, take the errors along, cut into bins of equal size, and "
    "take the root of the mean of the squares",
    properties=[
        Property(
            _RISES,
            lambda case: bool((case.result[0].diff() >= 0).all()),
            "sort by the predicted deviation before cutting into bins",
        ),
        Property(
            _TOGETHER,
            _opposite,
            "use one order, that of the deviations, for both; argsort gives it",
        ),
        Property(_ONE_BIN, _whole, "the root of the mean of the squares, not the mean"),
    ],
    wrong=[
        (
            lambda deviation, error, bins: tuple(
                column.view(bins, -1).square().mean(1).sqrt() for column in (deviation, error)
            ),
            _RISES,
        ),
        (_sorted_apart, _TOGETHER),
        (
            lambda deviation, error, bins: tuple(
                column[deviation.argsort()].view(bins, -1).mean(1) for column in (deviation, error)
            ),
            _ONE_BIN,
        ),
    ],
)
def _(generator):
    deviation = 0.02 + 0.1 * torch.rand(12, generator=generator)
    error = deviation * torch.randn(12, generator=generator).abs()
    return {"deviation": deviation, "error": error, "bins": 4}
