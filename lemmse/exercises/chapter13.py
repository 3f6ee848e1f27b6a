"""Exercises of chapter 13: networks against the formula."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _power(decibels):
    return 10 ** (-decibels / 10)


def _shared(first, second, between):
    """Builds two plane vectors of these lengths at this distance, and multiplies them."""
    a, b, c = (_power(p) ** 0.5 for p in (first, second, between))
    along = (a**2 + b**2 - c**2) / (2 * a)  # of the second vector, along the first
    return along / b


SYMMETRIC = "does not care which network is the first"
SAME = "returns 1 for two networks with the same error"


@exercise(
    "13.1",
    "the cosine between the errors of two networks, from three PSNRs",
    reference=_shared,
    hint="the law of cosines: c = a + b - 2 sqrt(a b) cosine, with the squared distances "
    "a, b, c = 10^(-PSNR / 10)",
    properties=[
        Property(
            SYMMETRIC,
            lambda case: close(
                case.call(first=case["second"], second=case["first"]), case.result, 1e-6
            ),
            "both distances to the formula enter alike",
        ),
        Property(
            SAME,
            lambda case: close(case.call(second=case["first"], between=200.0), 1.0, 1e-6),
            "two outputs that are equal have errors in the same direction",
        ),
    ],
    wrong=[
        (lambda first, second, between: first + second - between, SAME),
        (
            lambda first, second, between: (
                (_power(first) + _power(second) - _power(between)) / (2 * _power(first))
            ),
            SYMMETRIC,
        ),
        (
            lambda first, second, between: (
                (10 ** (-first / 20) + 10 ** (-second / 20) - 10 ** (-between / 20))
                / (2 * 10 ** (-(first + second) / 40))
            ),
            AGREES,
        ),
    ],
)
def _(generator):
    errors = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    errors[1] += 0.5 * errors[0]
    pairs = (errors[0], errors[1], errors[0] - errors[1])
    first, second, between = (-10 * e.square().mean().log10().item() + 25 for e in pairs)
    return {"first": first, "second": second, "between": between}


def _averages(decibels):
    return decibels.mean(), -10 * torch.log10(_power(decibels).mean())


ORDERED = "returns a first number that is at least the second one"


@exercise(
    "13.2",
    "mean of the PSNRs, and PSNR of the mean squared error",
    reference=_averages,
    hint="for the second number go back to squared errors, 10^(-PSNR / 10), average those, and "
    "turn the average into decibels again",
    properties=[
        Property(
            ORDERED,
            lambda case: bool(case.result[0] >= case.result[1] - 1e-9),
            "-log10 is convex; the order is (mean of the PSNRs, PSNR of the mean)",
        ),
    ],
    wrong=[
        (lambda decibels: _averages(decibels)[::-1], ORDERED),
        (lambda decibels: (decibels.mean(), decibels.mean()), AGREES),
        (
            lambda decibels: (
                decibels.mean(),
                -10 * torch.log10(_power(decibels).sum() / (len(decibels) - 1)),
            ),
            AGREES,
        ),
        (lambda decibels: decibels.mean(), KIND),
    ],
)
def _(generator):
    return {"decibels": 20 + 15 * torch.rand(6, generator=generator, dtype=torch.float64)}
