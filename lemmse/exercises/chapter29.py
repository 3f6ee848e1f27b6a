"""Exercises of chapter 29: symmetry beyond translation."""

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _gaussian(v, key, sigma):
    return torch.exp(-((v - key) ** 2).sum() / (2 * sigma**2))


def _copies(v, turns=4, flips=True):
    """The turned copies of a patch, and those of its mirror image."""
    mirrors = [v, v.flip(1)] if flips else [v]
    return [m.rot90(turn) for m in mirrors for turn in range(turns)]


def _symmetric(v, keys, values, sigma, copies=_copies):
    above, below = torch.zeros(()), torch.zeros(())
    for key, value in zip(keys, values, strict=True):
        for copy in copies(key):
            weight = _gaussian(v, copy, sigma)
            above, below = above + weight * value, below + weight
    return above / below


def _plain(v, keys, values, sigma):
    return _symmetric(v, keys, values, sigma, copies=lambda key: [key])


def _mean_of_answers(v, keys, values, sigma):
    return torch.stack([_plain(copy, keys, values, sigma) for copy in _copies(v)]).mean()


def _best_copies_only(v, keys, values, sigma):
    """Turns every key to where it fits best, as if one of its copies were the right one."""
    best = [max(_copies(key), key=lambda copy: float(_gaussian(v, copy, sigma))) for key in keys]
    return _plain(v, best, values, sigma)


_TURNS = "gives a patch and its quarter turn the same answer"
_FLIPS = "gives a patch and its mirror image the same answer"


@exercise(
    "29.1",
    "LE-MMSE under flips and quarter turns, at one patch",
    reference=_symmetric,
    hint="one sum over training patches and copies above the bar, and one below: the copies share "
    "one normalisation",
    properties=[
        Property(
            _TURNS,
            lambda case: close(case.call(v=case["v"].rot90()), case.result),
            "let every training patch vote once for each of its copies, the quarter turns included",
        ),
        Property(
            _FLIPS,
            lambda case: close(case.call(v=case["v"].flip(1)), case.result),
            "there are eight copies: four turns of the patch and four of its mirror image",
        ),
    ],
    wrong=[
        (_plain, _TURNS),
        (lambda v, keys, values, sigma: _symmetric(v, keys, values, sigma, _four), _FLIPS),
        (_mean_of_answers, AGREES),
        (_best_copies_only, AGREES),
        (lambda v, keys, values, sigma: _symmetric(v, keys, values, 1.4142 * sigma), AGREES),
    ],
)
def _(generator):
    keys = torch.rand(5, 3, 3, generator=generator)
    noise = 0.3 * torch.randn(3, 3, generator=generator)
    return {"v": keys[0].rot90() + noise, "keys": keys, "values": keys[:, 1, 1], "sigma": 0.3}


def _four(v):
    return _copies(v, flips=False)


def _price(answers, densities):
    price = 0.0
    for f, p in zip(answers.double(), densities.double(), strict=True):
        common = float((f * p).sum() / p.sum())
        price += sum(float(pi) * (float(fi) - common) ** 2 for fi, pi in zip(f, p, strict=True))
    return price / float(densities.double().sum())


def _price_around(common):
    def price(answers, densities):
        middle = common(answers, densities)
        return (densities * (answers - middle) ** 2).sum() / densities.sum()

    return price


_FREE = "returns 0 where the eight answers agree already"
_SHIFT = "stays the same when a constant is added to all answers"
_SQUARE = "returns four times as much for answers twice as large"


@exercise(
    "29.2",
    "the price of the constraint on the training distribution",
    reference=_price,
    hint="in every row the common answer is the average with weights p, and so is the squared "
    "distance to it; at the end divide by the sum of all densities",
    properties=[
        Property(
            _FREE,
            lambda case: close(
                case.call(answers=case["answers"][:, :1].expand(-1, 8).clone()), 0.0
            ),
            "a function that has the symmetry already pays nothing",
        ),
        Property(
            _SHIFT,
            lambda case: close(case.call(answers=case["answers"] + 1), case.result),
            "only differences between the answers and their common value count",
        ),
        Property(
            _SQUARE,
            lambda case: close(case.call(answers=2 * case["answers"]), 4 * case.result),
            "the risk is a mean of squares: square the differences",
        ),
    ],
    wrong=[
        (lambda answers, densities: (densities * answers**2).sum() / densities.sum(), _FREE),
        (lambda answers, densities: answers.var(1).sqrt().mean(), _SQUARE),
        (_price_around(lambda f, p: f.mean(1, keepdim=True)), AGREES),
        (_price_around(lambda f, p: (f * p).sum() / p.sum()), _FREE),
        (lambda answers, densities: answers.var(1, correction=0).mean(), AGREES),
    ],
)
def _(generator):
    answers = torch.rand(2, 8, generator=generator)
    return {"answers": answers, "densities": torch.rand(2, 8, generator=generator) ** 3}
