"""Exercises of chapter 21: data efficiency."""

import math

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _gains(c, t):
    """Each gain on its own, from the normal equation of one unknown."""
    found = []
    for i in range(c.shape[1]):
        energy = sum(float(value) ** 2 for value in c[:, i])
        product = sum(float(a) * float(b) for a, b in zip(c[:, i], t[:, i], strict=True))
        found.append(product / energy if energy > 0 else 0.0)
    return torch.tensor(found, dtype=c.dtype)


SILENT = "gives the gain zero to a direction in which nothing was measured"
ALONE = "gives each direction a gain of its own"


def _silenced(case):
    """The same pairs, with nothing measured along the first direction."""
    c = case["c"].clone()
    c[:, 0] = 0
    return c


@exercise(
    "21.1",
    "one gain for each singular direction, by least squares",
    reference=_gains,
    hint="g_i = sum_k c_ki t_ki / sum_k c_ki^2, the sums over the pairs, the rows",
    properties=[
        Property(
            ALONE,
            lambda case: close(
                case.call(t=case["t"] * torch.tensor([1.0, 2.0, 3.0])),
                case.result * torch.tensor([1.0, 2.0, 3.0]),
            ),
            "sum over the rows only, never over the directions",
        ),
        Property(
            SILENT,
            lambda case: close(case.call(c=_silenced(case))[:1], torch.zeros(1)),
            "0 / 0 is not a number: divide by 1 where the sum of squares is zero",
        ),
    ],
    wrong=[
        (lambda c, t: (c * t).sum(0) / c.square().sum(0), SILENT),
        (lambda c, t: (c * t).sum(0) / c.square().sum().clamp_min(1e-30), AGREES),
        (lambda c, t: ((t / c).mean(0)).nan_to_num(0, 0, 0), AGREES),
        (lambda c, t: torch.full((3,), (c * t).sum().item() / c.square().sum().item()), ALONE),
    ],
    tolerance=1e-4,
)
def _(generator):
    t = torch.randn(4, 3, generator=generator)
    return {"c": 2 * t + torch.randn(4, 3, generator=generator), "t": t}


def _overtakes(m, best, narrow):
    """By trying one N after the other."""
    if narrow <= best:
        return math.inf
    n = m + 2
    while best * (1 + m / (n - m - 1)) > narrow * (1 + 1e-12):
        n += 1
    return n


NEVER = "returns infinity if the diagonal is as good as the best matrix"
UNITS = "gives the same answer when both errors are multiplied by the same number"


@exercise(
    "21.2",
    "the number of images from which the dense layer is better",
    reference=_overtakes,
    hint="solve best * (1 + m / (N - m - 1)) <= narrow for N, and round up",
    properties=[
        Property(
            NEVER,
            lambda case: case.call(m=case["m"], best=case["best"], narrow=case["best"]) == math.inf,
            "without a bias there is nothing to be won by more data: the sum in the denominator is "
            "zero",
        ),
        Property(
            UNITS,
            lambda case: case.call(best=4 * case["best"], narrow=4 * case["narrow"]) == case.result,
            "only the ratio of the two errors may enter",
        ),
    ],
    wrong=[
        (lambda m, best, narrow: math.inf if narrow <= best else m + 1, AGREES),
        (
            lambda m, best, narrow: (
                math.inf if narrow <= best else m + 1 + math.ceil(m * best / narrow)
            ),
            AGREES,
        ),
        (
            lambda m, best, narrow: (
                math.inf if narrow <= best else m + 1 + math.ceil(m / (narrow - best))
            ),
            UNITS,
        ),
        (lambda m, best, narrow: m + 1 + math.ceil(m * best / (narrow - best + 1e-9)), NEVER),
    ],
)
def _(generator):
    best = 0.001 + 0.009 * float(torch.rand((), generator=generator))
    bias = 0.05 + 0.4 * float(torch.rand((), generator=generator))
    m = int(torch.randint(2, 40, (), generator=generator))
    return {"m": m, "best": best, "narrow": best * (1 + bias)}
