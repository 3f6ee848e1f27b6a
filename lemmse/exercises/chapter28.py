"""Exercises of chapter 28: when to stop."""

import math

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _expected_error(A, x0, truth, sigma, speed, t):
    """Follows the error step by step: what comes from the start, and what from the noise."""
    start, noise = x0 - truth, torch.zeros_like(A.T)
    for _ in range(t):
        start = start - speed * A.T @ (A @ start)
        noise = noise - speed * A.T @ (A @ noise) + speed * A.T
    return (start.square().sum() + sigma**2 * noise.square().sum()).item()


def _by_formula(A, x0, truth, sigma, speed, t, kernel=True, power=2):
    _, s, vt = torch.linalg.svd(A, full_matrices=False)
    seen = s > 1e-10 * s.max()
    s, vt = s[seen], vt[seen]
    w = (1 - speed * s**2) ** t
    d = x0 - truth
    along = vt @ d
    rest = d.square().sum() - along.square().sum() if kernel else 0.0
    return ((w * along).square().sum() + rest + sigma**2 * ((1 - w) / s).pow(power).sum()).item()


def _other(case, **changes):
    return torch.as_tensor(case.call(**changes), dtype=torch.float64)


AT_START = "returns the squared distance of x0 from the truth for t = 0"
NOISELESS = "does not change with t if x0 is the truth and there is no noise"
KERNEL = "keeps what A does not see of x0 - truth, however long one waits"


def _kernel_stays(case):
    """After very many steps without noise only the part in the kernel is left.

    Many for these inputs: what A sees falls below exp(-100) of what it was.
    """
    A, d = case["A"], case["x0"] - case["truth"]
    left = d - torch.linalg.pinv(A, rtol=1e-10) @ (A @ d)
    return close(_other(case, sigma=0.0, t=1_000), left.square().sum(), 1e-6)


@exercise(
    "28.1",
    "the expected error along the descent",
    reference=_expected_error,
    hint="sum of w_i^2 <v_i, d>^2 + sigma^2 (1 - w_i)^2 / s_i^2 with w_i = (1 - speed s_i^2)^t, "
    "plus what of d = x0 - truth lies in the kernel of A",
    properties=[
        Property(
            AT_START,
            lambda case: close(
                _other(case, t=0), (case["x0"] - case["truth"]).square().sum(), 1e-8
            ),
            "for t = 0 all w_i are 1: no noise yet, and all of x0 - truth, with the part "
            "that A does not see",
        ),
        Property(
            NOISELESS,
            lambda case: close(
                _other(case, x0=case["truth"], sigma=0.0), torch.tensor(0.0).double(), 1e-10
            ),
            "without noise, and started at the truth, the residual is zero and nothing moves",
        ),
        Property(
            KERNEL,
            _kernel_stays,
            "A has more columns than rows: the part of x0 - truth orthogonal to all v_i stays",
        ),
    ],
    wrong=[
        (lambda A, x0, truth, sigma, speed, t: 0.0, AT_START),
        (
            lambda A, x0, truth, sigma, speed, t: (
                _expected_error(A, x0, truth, sigma, speed, t) + 0.01 * t
            ),
            NOISELESS,
        ),
        (lambda *a: _by_formula(*a, kernel=False), AT_START),
        (
            lambda A, x0, truth, sigma, speed, t: (
                _expected_error(A, x0, truth, sigma, speed, t) * (1 if t < 1000 else 0)
            ),
            KERNEL,
        ),
        (lambda *a: _by_formula(*a, power=1), AGREES),
        (
            lambda A, x0, truth, sigma, speed, t: _by_formula(A, x0, truth, sigma**0.5, speed, t),
            AGREES,
        ),
        (
            lambda A, x0, truth, sigma, speed, t: _by_formula(A, x0, truth, sigma, speed / 2, t),
            AGREES,
        ),
    ],
    tolerance=1e-8,
)
def _(generator):
    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    # Singular values from 0.5 to 1: a smaller one would keep the descent, and the check, for long.
    u, _, vt = torch.linalg.svd(normal(3, 5), full_matrices=False)
    s = 0.5 + 0.5 * torch.rand(3, generator=generator, dtype=torch.float64)
    return {
        "A": u * (s / s.max()) @ vt,
        "x0": normal(5),
        "truth": normal(5),
        "sigma": 0.3,
        "speed": 0.4,
        "t": 6,
    }


def _stopping_time(residual, noise, sigma_A, sigma_0, norm_A, norm_J, lipschitz):
    if residual <= noise:
        return 0
    if noise == 0:
        return math.inf
    bound = norm_J + sigma_0 / 2
    largest = norm_A**2 * bound**2 + norm_A * lipschitz * residual
    rate = 1 - (sigma_A * sigma_0 / 2) ** 2 / largest
    return math.ceil(2 * math.log(residual / noise) / -math.log(rate))


def _time(residual, noise, sigma_A, sigma_0, norm_A, norm_J, lipschitz, bound=0.5, mu=4.0, two=2):
    """The formula with parts that can be made wrong, and without its special cases."""
    largest = norm_A**2 * (norm_J + bound * sigma_0) ** 2 + norm_A * lipschitz * residual
    rate = 1 - (sigma_A * sigma_0) ** 2 / mu / largest
    return math.ceil(two * math.log(residual / noise) / -math.log(rate))


def _guarded(function):
    def guarded(residual, noise, *rest):
        if residual <= noise:
            return 0
        return math.inf if noise == 0 else function(residual, noise, *rest)

    return guarded


AT_ONCE = "returns 0 if the noise is as large as the first residual, or larger"
NEVER = "returns infinity if there is no noise"
WHOLE = "returns a whole number of steps"


def _never(case):
    result = case.call(noise=0.0)
    return bool(torch.isinf(torch.as_tensor(result, dtype=torch.float64)))


@exercise(
    "28.2",
    "the theorem's stopping time at the largest step",
    reference=_stopping_time,
    hint="L = |A|^2 (|J_0| + sigma_0 / 2)^2 + |A| Lambda |r_0|, mu = (sigma_A sigma_0 / 2)^2, "
    "q = 1 - mu / L, T = ceil(2 log(|r_0| / |eps|) / log(1 / q))",
    properties=[
        Property(
            AT_ONCE,
            lambda case: (
                float(case.call(noise=case["residual"])) == 0
                and float(case.call(noise=2 * case["residual"])) == 0
            ),
            "then the guarantee holds already at the start, and the logarithm is not positive",
        ),
        Property(NEVER, _never, "catch it before dividing: log(|r_0| / 0)"),
        Property(
            WHOLE,
            lambda case: float(case.result) == round(float(case.result)),
            "round up: math.ceil",
        ),
    ],
    wrong=[
        (lambda *a: 7, AT_ONCE),
        (
            lambda residual, noise, *rest: (
                0 if residual <= noise else _time(residual, max(noise, 1e-300), *rest)
            ),
            NEVER,
        ),
        (_guarded(lambda *a: _time(*a) + 0.5), WHOLE),
        (_guarded(lambda *a: _time(*a, bound=0.0)), AGREES),
        (_guarded(lambda *a: _time(*a, mu=1.0)), AGREES),
        (_guarded(lambda *a: _time(*a, two=1)), AGREES),
    ],
)
def _(generator):
    u = torch.rand(3, generator=generator, dtype=torch.float64)
    return {
        "residual": 3.0 + u[0].item(),
        "noise": 0.2 + 0.3 * u[1].item(),
        "sigma_A": 0.5 + 0.2 * u[2].item(),
        "sigma_0": 0.66,
        "norm_A": 1.0,
        "norm_J": 0.7,
        "lipschitz": 0.02,
    }
