"""Exercises of chapter 31: first experiments for open problems."""

import math

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _evidence(v, keys, sigma):
    """Mean log-density of the rows of v: a mixture of Gaussians of width sigma at the keys."""
    distances = (v[:, None] - keys).square().sum(2)
    log_sums = torch.logsumexp(-distances / (2 * sigma**2), 1)
    size = v.shape[1]
    return (
        log_sums.mean() - math.log(len(keys)) - size / 2 * math.log(2 * math.pi * float(sigma) ** 2)
    )


def _noise_level(v, keys, sigmas):
    return float(max(sigmas, key=lambda sigma: _evidence(v, keys, sigma)))


def _without_volume(v, keys, sigmas):
    def score(sigma):
        return _evidence(v, keys, sigma) + v.shape[1] * math.log(sigma)

    return float(max(sigmas, key=score))


def _one_dimension(v, keys, sigmas):
    def score(sigma):
        return _evidence(v, keys, sigma) + (v.shape[1] - 1) * math.log(sigma)

    return float(max(sigmas, key=score))


_CANDIDATE = "returns one of the candidates"
_CLEAN = "finds the smallest candidate when the patches are training patches without noise"


@exercise(
    "31.1",
    "the noise level with the largest evidence",
    reference=_noise_level,
    hint="log-density of d numbers: logsumexp(-|v - k|^2 / 2 sigma^2) - d log(sigma) + const",
    properties=[
        Property(
            _CANDIDATE,
            lambda case: bool((case["sigmas"] - case.result).abs().min() < 1e-5),
            "return the noise level, not its number in the list nor its evidence",
        ),
        Property(
            _CLEAN,
            lambda case: close(case.call(v=case["keys"]), float(case["sigmas"].min())),
            "a Gaussian that is wider is also lower: its constant depends on sigma",
        ),
    ],
    wrong=[
        (
            lambda v, keys, sigmas: max(
                range(len(sigmas)), key=lambda i: _evidence(v, keys, sigmas[i])
            ),
            _CANDIDATE,
        ),
        (_without_volume, _CLEAN),
        (_one_dimension, AGREES),
    ],
)
def _(generator):
    keys = torch.randn(6, 4, generator=generator)
    sigma = 0.1 + 0.4 * float(torch.rand(1, generator=generator))
    chosen = torch.randint(6, (8,), generator=generator)
    v = keys[chosen] + sigma * torch.randn(8, 4, generator=generator)
    return {"v": v, "keys": keys, "sigmas": torch.linspace(0.02, 1.0, 50)}


def _poisson_weights(v, means):
    log_weights = (v * means.log() - means).sum(1)
    return torch.softmax(log_weights, 0)


_SUM = "returns weights that sum to 1"
_DARK = "weighs patches by their total light alone when no photon arrives"
_BRIGHT = "stays finite in bright light"


def _plain(v, means):
    """The probabilities themselves: factorials and powers overflow."""
    w = (means**v * torch.exp(-means) / torch.exp(torch.lgamma(v + 1))).prod(1)
    return w / w.sum()


@exercise(
    "31.2",
    "weights for photon counts",
    reference=_poisson_weights,
    hint="log probability of a count: v log(mean) - mean - log(v!); the last is the same for all k",
    properties=[
        Property(
            _SUM,
            lambda case: close(case.result.sum(), 1.0),
            "divide by the sum over the training patches",
        ),
        Property(
            _DARK,
            lambda case: close(case.call(v=0 * case["v"]), torch.softmax(-case["means"].sum(1), 0)),
            "the probability of no photon is exp(-mean)",
        ),
        Property(
            _BRIGHT,
            lambda case: bool(
                torch.isfinite(
                    case.call(v=1000 * case["v"] + 1000, means=1000 * case["means"])
                ).all()
            ),
            "stay with logarithms until the softmax",
        ),
    ],
    wrong=[
        (lambda v, means: torch.exp((v * means.log() - means).sum(1)), _SUM),
        (lambda v, means: torch.softmax((v * means.log()).sum(1), 0), _DARK),
        (_plain, _BRIGHT),
        (lambda v, means: torch.softmax((v * means - means).sum(1), 0), AGREES),
    ],
    tolerance=1e-4,
)
def _(generator):
    means = 0.5 + 4 * torch.rand(4, 5, generator=generator)
    return {"v": torch.poisson(means[0], generator=generator), "means": means}
