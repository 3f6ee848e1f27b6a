"""Exercises of chapter 16: how many images, how large a patch."""

import math

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _without_own(logits, values, image_of, own):
    """Row by row, a softmax over the patches of the other images only."""
    estimates = []
    for row, image in zip(logits, own, strict=True):
        others = image_of != image
        estimates.append(torch.softmax(row[others], 0) @ values[others])
    return torch.stack(estimates)


def _divided_afterwards(logits, values, image_of, own):
    weights = torch.softmax(logits, 1) * (image_of != own[:, None])
    return weights @ values / weights.sum(1)


def _not_divided(logits, values, image_of, own):
    weights = torch.softmax(logits, 1) * (image_of != own[:, None])
    return weights @ values


def _without_best(logits, values, image_of, own):
    """Leaves only the best patch out, not its image."""
    best = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).bool()
    return torch.softmax(logits.masked_fill(best, -torch.inf), 1) @ values


def _raised(case):
    """The inputs with the logits of the own image raised by 200."""
    own = case["image_of"] == case["own"][:, None]
    return case["logits"] + 200 * own


AVERAGES = "returns the constant when all values are the same"
BLIND = "gives the same answer, however much the own image is preferred"


@exercise(
    "16.1",
    "LE-MMSE without the image that the patch was cut from",
    reference=_without_own,
    hint="set the logits of the own image to minus infinity before the softmax",
    properties=[
        Property(
            AVERAGES,
            lambda case: close(
                case.call(values=torch.ones_like(case["values"])), torch.ones(len(case["own"]))
            ),
            "the weights of the other images must add up to 1",
        ),
        Property(
            BLIND,
            lambda case: close(case.call(logits=_raised(case)), case.result),
            "leave the own image out before the softmax: afterwards the other weights may be "
            "zero after rounding",
        ),
    ],
    wrong=[
        (_divided_afterwards, BLIND),
        (_not_divided, AVERAGES),
        (_without_best, BLIND),
        (
            lambda logits, values, image_of, own: _without_own(-logits, values, image_of, own),
            AGREES,
        ),
        (lambda logits, values, image_of, own: torch.softmax(logits, 1) @ values, BLIND),
    ],
)
def _(generator):
    image_of = torch.arange(3).repeat_interleave(3)
    return {
        "logits": torch.randn(4, 9, generator=generator),
        "values": torch.rand(9, generator=generator),
        "image_of": image_of,
        "own": torch.randint(3, (4,), generator=generator),
    }


def _log_share(covariance, sigma):
    """The limit of the voters, from three log-determinants and a trace."""
    d = len(covariance)
    unit = torch.eye(d, dtype=covariance.dtype)
    wide, narrow = covariance + sigma**2 * unit, covariance + sigma**2 / 2 * unit
    log_two_pi = math.log(2 * math.pi)
    at_wide = -(d * log_two_pi + torch.logdet(wide) + d) / 2
    spread = torch.trace(torch.linalg.solve(narrow, wide))
    at_narrow = -(d * log_two_pi + torch.logdet(narrow) + spread) / 2
    return d / 2 * math.log(4 * math.pi * sigma**2) + 2 * at_wide - at_narrow


def _gains(covariance, sigma):
    values = torch.linalg.eigvalsh(covariance)
    return values / (values + sigma**2)


FLAT = "returns 0 where all patches are equal"
ADDS = "adds up over independent directions"


@exercise(
    "16.2",
    "share of the voters if patches were Gaussian",
    reference=_log_share,
    hint="with the eigenvalues of the covariance and r = eigenvalue / (eigenvalue + sigma^2), add "
    "log(1 - r^2) / 2 - r / (1 + r) up",
    properties=[
        Property(
            FLAT,
            lambda case: close(case.call(covariance=torch.zeros_like(case["covariance"])), 0.0),
            "if all patches are equal, all of them vote: a direction with r = 0 costs nothing",
        ),
        Property(
            ADDS,
            lambda case: close(
                case.call(covariance=torch.block_diag(case["covariance"], case["covariance"])),
                2 * case.result,
            ),
            "sum over the eigenvalues",
        ),
    ],
    wrong=[
        (lambda covariance, sigma: torch.log(1 - _gains(covariance, sigma) ** 2).sum() / 2, AGREES),
        (
            lambda covariance, sigma: (
                torch.log(1 - _gains(covariance, sigma) ** 2) / 2
                - _gains(covariance, sigma) / (1 + _gains(covariance, sigma))
            ),
            KIND,
        ),
        (
            lambda covariance, sigma: _log_share(torch.diag(torch.diag(covariance)), sigma),
            AGREES,
        ),
        (lambda covariance, sigma: _log_share(covariance, sigma) / len(covariance), ADDS),
        (lambda covariance, sigma: _log_share(covariance, sigma) - 1, FLAT),
    ],
    tolerance=1e-4,
)
def _(generator):
    factor = torch.randn(3, 5, generator=generator)
    return {"covariance": factor @ factor.T / 5, "sigma": 0.6}
