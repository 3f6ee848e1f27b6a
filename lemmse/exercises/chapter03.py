"""Exercises of chapter 3: posteriors of Gaussian and mixture priors."""

import math

import torch

from lemmse.exercises.registry import AGREES, KIND, RUNS, Property, close, exercise


def _gaussian(y, A, mean, C, sigma):
    # One measured number after the other: each is a Gaussian update with a scalar division.
    x_hat, S = mean.clone(), C.clone()
    for row, number in zip(A, y, strict=True):
        gain = S @ row / (row @ S @ row + sigma**2)
        x_hat = x_hat + gain * (number - row @ x_hat)
        S = S - torch.outer(gain, row @ S)
    return x_hat, S


def _by_precision(y, A, mean, C, sigma):
    S = torch.linalg.inv(torch.linalg.inv(C) + A.T @ A / sigma**2)
    return mean + S @ A.T @ (y - A @ mean) / sigma**2, S


def _by_pseudo_inverse(y, A, mean, C, sigma):
    S = torch.linalg.pinv(torch.linalg.pinv(C) + A.T @ A / sigma**2)
    return mean + S @ A.T @ (y - A @ mean) / sigma**2, S


def _gain(A, C, noise):
    return C @ A.T @ torch.linalg.inv(A @ C @ A.T + noise * torch.eye(len(A), dtype=A.dtype))


def _without_mean(y, A, mean, C, sigma):
    G = _gain(A, C, sigma**2)
    return mean + G @ y, C - G @ A @ C


def _forgets_mean(y, A, mean, C, sigma):
    G = _gain(A, C, sigma**2)
    return G @ (y - A @ mean), C - G @ A @ C


def _without_square(y, A, mean, C, sigma):
    G = _gain(A, C, sigma)
    return mean + G @ (y - A @ mean), C - G @ A @ C


def _prior_covariance(y, A, mean, C, sigma):
    return mean + _gain(A, C, sigma**2) @ (y - A @ mean), C


def _jittered(y, A, mean, C, sigma):
    return _by_precision(y, A, mean, C + 1e-3 * torch.eye(len(C), dtype=C.dtype), sigma)


def _only_variances(y, A, mean, C, sigma):
    x_hat, S = _gaussian(y, A, mean, C, sigma)
    return x_hat, S.diagonal()


UNSURPRISED = "returns the prior mean when y is exactly A times the prior mean"
CERTAIN = "is certain of the pixel that is the same in all images"
LEARNS = "learns something: the posterior variances add up to less than those of the prior"


@exercise(
    "3.1",
    "the posterior of a Gaussian prior with a singular covariance",
    reference=_gaussian,
    hint="G = C A^T (A C A^T + sigma^2 I)^(-1) and S = C - G A C; mind the square of sigma",
    properties=[
        Property(
            UNSURPRISED,
            lambda case: close(case.call(y=case["A"] @ case["mean"])[0], case["mean"]),
            "the mean moves by G (y - A mean): from the prior mean, in proportion to the surprise",
        ),
        Property(
            CERTAIN,
            lambda case: close(case.result[1][-1], torch.zeros_like(case["mean"]), 1e-9),
            "C stays singular: add nothing to its diagonal; do not invert it, not even by pinv",
        ),
        Property(
            LEARNS,
            lambda case: bool(case.result[1].trace() < case["C"].trace() - 1e-6),
            "the covariance is C - G A C",
        ),
    ],
    wrong=[
        (_by_precision, RUNS),
        (_only_variances, KIND),
        (_without_mean, UNSURPRISED),
        (_forgets_mean, UNSURPRISED),
        (_by_pseudo_inverse, CERTAIN),
        (_prior_covariance, LEARNS),
        (_jittered, CERTAIN),
        (_without_square, AGREES),
    ],
)
def _(generator):
    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    factor, A, mean = normal(3, 2), normal(2, 3), normal(3)
    factor[-1] = 0  # the last pixel does not vary
    x = mean + factor @ normal(2)
    return {
        "y": A @ x + 0.5 * normal(2),
        "A": A,
        "mean": mean,
        "C": factor @ factor.T,
        "sigma": 0.5,
    }


def _mixture(y, weights, centres, widths, sigma):
    # By components, in logarithms: posterior probabilities, then the moments of a mixture.
    means, variances = [], []
    for number in y.tolist():
        parts = []
        for a, c, s in zip(weights.tolist(), centres.tolist(), widths.tolist(), strict=True):
            total = s**2 + sigma**2
            log_weight = math.log(a) - math.log(total) / 2 - (number - c) ** 2 / (2 * total)
            parts.append((log_weight, c + s**2 / total * (number - c), s**2 * sigma**2 / total))
        top = max(part[0] for part in parts)
        shares = [math.exp(part[0] - top) for part in parts]
        mean = sum(w * m for w, (_, m, _) in zip(shares, parts, strict=True)) / sum(shares)
        second = sum(w * (v + (m - mean) ** 2) for w, (_, m, v) in zip(shares, parts, strict=True))
        means.append(mean)
        variances.append(second / sum(shares))
    return torch.tensor(means, dtype=y.dtype), torch.tensor(variances, dtype=y.dtype)


def _by_tweedie(log_density):
    """An answer that differentiates the given log-density, up to a constant."""

    def answer(y, weights, centres, widths, sigma):
        y = y.clone().requires_grad_()
        log_p = log_density(y[:, None], weights, centres, widths, sigma)
        (score,) = torch.autograd.grad(log_p.sum(), y, create_graph=True)
        (curvature,) = torch.autograd.grad(score.sum(), y)
        return (y + sigma**2 * score).detach(), sigma**2 * (1 + sigma**2 * curvature)

    return answer


@_by_tweedie
def _underflows(y, weights, centres, widths, sigma):
    total = widths**2 + sigma**2
    return (weights / total.sqrt() * torch.exp(-((y - centres) ** 2) / (2 * total))).sum(1).log()


@_by_tweedie
def _of_the_prior(y, weights, centres, widths, sigma):
    exponents = weights.log() - widths.log() - (y - centres) ** 2 / (2 * widths**2)
    return torch.logsumexp(exponents, 1)


@_by_tweedie
def _without_heights(y, weights, centres, widths, sigma):
    exponents = weights.log() - (y - centres) ** 2 / (2 * (widths**2 + sigma**2))
    return torch.logsumexp(exponents, 1)


@_by_tweedie
def _sum_of_widths(y, weights, centres, widths, sigma):
    total = (widths + sigma) ** 2
    exponents = weights.log() - total.log() / 2 - (y - centres) ** 2 / (2 * total)
    return torch.logsumexp(exponents, 1)


def _deviation(y, weights, centres, widths, sigma):
    mean, variance = _mixture(y, weights, centres, widths, sigma)
    return mean, variance.sqrt()


def _within_components(y, weights, centres, widths, sigma):
    mean, variance = _mixture(y, weights, centres, widths, sigma)
    total = widths**2 + sigma**2
    exponents = weights.log() - total.log() / 2 - (y[:, None] - centres) ** 2 / (2 * total)
    return mean, (torch.softmax(exponents, 1) * widths**2 * sigma**2 / total).sum(1)


FINITE = "returns finite numbers, also where every density underflows"
ONE = "gives the Gaussian answer when all components of the mixture are the same one"
SCALES = "gives four times the variance when y, centres, widths and sigma are doubled"


def _one_component(case):
    centres, widths = torch.full_like(case["centres"], 0.3), torch.full_like(case["widths"], 0.8)
    mean, variance = case.call(centres=centres, widths=widths)
    gain = 0.8**2 / (0.8**2 + case["sigma"] ** 2)
    expected = 0.3 + gain * (case["y"] - 0.3)
    return close(mean, expected) and close(variance, torch.full_like(expected, gain) * 0.6**2)


def _scales(case):
    double = {name: 2 * case[name] for name in ("y", "centres", "widths", "sigma")}
    return close(case.call(**double)[1], 4 * case.result[1])


@exercise(
    "3.2",
    "posterior mean and variance under a mixture of Gaussians",
    reference=_mixture,
    hint="y has the density sum_j a_j N(c_j, s_j^2 + sigma^2), with the factor in front of each "
    "exponential; the variance counts the doubt between components, too",
    properties=[
        Property(
            FINITE,
            lambda case: all(bool(part.isfinite().all()) for part in case.result),
            "stay with logarithms: torch.logsumexp or torch.softmax",
        ),
        Property(
            SCALES,
            _scales,
            "a variance has the square of the unit of y: Cov = sigma^2 (1 + sigma^2 (log p)'')",
        ),
        Property(
            ONE,
            _one_component,
            "p is the density of y, not of x: each variance s_j^2 grows by sigma^2",
        ),
    ],
    wrong=[
        (_underflows, FINITE),
        (_deviation, SCALES),
        (_of_the_prior, ONE),
        (_sum_of_widths, ONE),
        (_without_heights, AGREES),
        (_within_components, AGREES),
    ],
)
def _(generator):
    weights = torch.rand(3, generator=generator, dtype=torch.float64) + 0.2
    centres = 1.5 * torch.randn(3, generator=generator, dtype=torch.float64)
    widths = torch.tensor([0.1, 0.4, 1.0], dtype=torch.float64)
    y = torch.randn(4, generator=generator, dtype=torch.float64)
    y[-1] = 80.0  # every density underflows there
    return {
        "y": y,
        "weights": weights / weights.sum(),
        "centres": centres,
        "widths": widths,
        "sigma": 0.6,
    }
