"""Exercises of chapter 14: networks that are given the physics."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _chance_of_zero(epsilon, visible, sigma):
    """P(|V| <= epsilon) for V = visible pixel + noise."""
    upper = torch.special.ndtr((epsilon - visible) / sigma)
    lower = torch.special.ndtr((-epsilon - visible) / sigma)
    return (upper - lower).mean()


def _hidden_given_small(epsilon, visible, share, sigma):
    return share / (share + (1 - share) * _chance_of_zero(epsilon, visible, sigma))


def _by_density(epsilon, visible, share, sigma):
    """As if the density at 0 held in the whole interval."""
    density = (-(visible**2) / (2 * sigma**2)).exp().mean() / (2 * torch.pi * sigma**2) ** 0.5
    return share / (share + (1 - share) * 2 * epsilon * density)


def _one_side(epsilon, visible, share, sigma):
    chance = torch.special.ndtr((epsilon - visible) / sigma).mean()
    return share / (share + (1 - share) * chance)


CERTAIN = "tends to 1 as epsilon tends to 0"
IGNORANT = "tends to the share of hidden pixels as epsilon grows"


@exercise(
    "14.1",
    "the chance that a small number is a hidden pixel",
    reference=_hidden_given_small,
    hint="Bayes: a hidden pixel is in the interval with probability 1, a visible one with the mean "
    "over its clean values of Phi((epsilon - x) / sigma) - Phi((-epsilon - x) / sigma)",
    properties=[
        Property(
            CERTAIN,
            lambda case: close(case.call(epsilon=1e-12), torch.tensor(1.0)),
            "a visible pixel is in a tiny interval with a tiny probability; the interval has two "
            "ends, -epsilon and epsilon",
        ),
        Property(
            IGNORANT,
            lambda case: close(case.call(epsilon=1e3), case["share"]),
            "in a huge interval every pixel is found, hidden or not; divide by the probability of "
            "the interval, and weigh both kinds of pixels by their shares",
        ),
    ],
    wrong=[
        (_one_side, CERTAIN),
        (_by_density, IGNORANT),
        (
            lambda epsilon, visible, share, sigma: (
                1 / (1 + _chance_of_zero(epsilon, visible, sigma))
            ),
            IGNORANT,
        ),
        (
            lambda epsilon, visible, share, sigma: _hidden_given_small(
                epsilon, visible, share, sigma**2
            ),
            AGREES,
        ),
        (
            lambda epsilon, visible, share, sigma: _hidden_given_small(
                epsilon, visible.mean(), share, sigma
            ),
            AGREES,
        ),
    ],
)
def _(generator):
    return {
        "epsilon": 0.05 + 0.1 * torch.rand((), generator=generator),
        "visible": torch.rand(5, generator=generator),
        "share": 0.2 + 0.1 * torch.rand((), generator=generator),
        "sigma": 0.3,
    }


def _one_pixel(z, visible, hidden, sigma):
    weights = torch.softmax(-((z[:, None] - visible) ** 2) / (2 * sigma**2), 1)
    return torch.where(z == 0, hidden.mean(), weights @ visible)


def _all_together(z, visible, hidden, sigma):
    """Hidden pixels as if their noise were there."""
    keys = torch.cat([visible, torch.zeros_like(hidden)])
    weights = torch.softmax(-((z[:, None] - keys) ** 2) / (2 * sigma**2), 1)
    return weights @ torch.cat([visible, hidden])


def _any_zero(z, visible, hidden, sigma):
    answer = _one_pixel(z, visible, hidden, sigma)
    return hidden.mean().expand_as(answer) if (z == 0).any() else answer


ZERO = "returns the mean of the hidden pixels where z is zero"
ALONE = "does not look at the hidden pixels where z is not zero"


@exercise(
    "14.2",
    "LE-MMSE of a single masked pixel",
    reference=_one_pixel,
    hint="two groups of locations: softmax weights with the visible pixels only where z is not "
    "zero, equal weights with the hidden pixels only where it is",
    properties=[
        Property(
            ZERO,
            lambda case: close(case.result[case["z"] == 0].mean(), case["hidden"].mean()),
            "a visible pixel is exactly zero with probability zero",
        ),
        Property(
            ALONE,
            lambda case: close(
                case.call(hidden=case["hidden"] + 1)[case["z"] != 0],
                case.result[case["z"] != 0],
            ),
            "a hidden pixel is exactly zero, so a number other than zero is not hidden",
        ),
    ],
    wrong=[
        (
            lambda z, visible, hidden, sigma: (
                torch.softmax(-((z[:, None] - visible) ** 2) / (2 * sigma**2), 1) @ visible
            ),
            ZERO,
        ),
        (_all_together, ZERO),
        (_any_zero, ALONE),
        (
            lambda z, visible, hidden, sigma: torch.where(
                z.abs() < 0.2, hidden.mean(), _one_pixel(z, visible, hidden, sigma)
            ),
            ALONE,
        ),
        (lambda z, visible, hidden, sigma: _one_pixel(z, visible, hidden, sigma).sum(), KIND),
        (lambda z, visible, hidden, sigma: _one_pixel(z, visible, hidden, 2 * sigma), AGREES),
    ],
)
def _(generator):
    return {
        "z": torch.tensor([0.0, 0.1, -0.05, 0.7]),
        "visible": torch.rand(6, generator=generator),
        "hidden": torch.rand(4, generator=generator),
        "sigma": 0.2,
    }
