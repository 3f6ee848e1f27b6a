"""Exercises of chapter 23: a detector that saturates."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _response(a, beta):
    return (1 - torch.exp(-beta * a)) / beta


def _step(x, y, A, beta, alpha):
    a = x @ A.T
    return x + alpha * (torch.exp(-beta * a) * (y - _response(a, beta))) @ A


def _misfit(x, case):
    return (case["y"] - _response(x @ case["A"].T, case["beta"])).square().sum()


_STAYS = "stays where the estimate explains the scan"
_DOWN = "goes down, not up"
_DARK = "learns nothing from rays that saturate the detector"


def _stays(case):
    y = _response(case["x"] @ case["A"].T, case["beta"])
    return close(case.call(y=y), case["x"])


def _down(case):
    return _misfit(case.call(alpha=1e-4), case) <= _misfit(case["x"], case)


def _dark(case):
    return close(case.call(beta=40.0), case["x"], tolerance=1e-3)


@exercise(
    "23.1",
    "a gradient step through the detector",
    reference=_step,
    hint="the gradient is that of |y - F(x)|^2 / 2; the derivative of F is diag(exp(-beta A x)) A, "
    "and its transpose acts on the residual",
    properties=[
        Property(
            _STAYS,
            _stays,
            "the residual is y - F(x), with the response F, not with the line sums",
        ),
        Property(_DOWN, _down, "a step of descent is against the gradient"),
        Property(
            _DARK,
            _dark,
            "multiply the residual by the slope exp(-beta A x) of the estimate before it goes back",
        ),
    ],
    wrong=[
        (lambda x, y, A, beta, alpha: x + alpha * (y - x @ A.T) @ A, _STAYS),
        (lambda x, y, A, beta, alpha: 2 * x - _step(x, y, A, beta, alpha), _DOWN),
        (
            lambda x, y, A, beta, alpha: x + alpha * (y - _response(x @ A.T, beta)) @ A,
            _DARK,
        ),
        (lambda x, y, A, beta, alpha: _step(x, y, A, beta, 2 * alpha), AGREES),
        (lambda x, y, A, beta, alpha: _step(x, y, A, beta, alpha).sum(), KIND),
    ],
)
def _(generator):
    def positive(*shape):
        return 0.2 + torch.rand(*shape, generator=generator, dtype=torch.float64)

    A, beta = positive(5, 4), 0.3
    noise = 0.05 * torch.randn(3, 5, generator=generator, dtype=torch.float64)
    y = _response(positive(3, 4) @ A.T, beta) + noise
    return {"x": positive(3, 4), "y": y, "A": A, "beta": beta, "alpha": 0.1}


def _weighted(y, A, C, sigma, beta):
    left = 1 - beta * y
    noise = torch.diag(sigma**2 / left**2)
    return C @ A.T @ torch.linalg.solve(A @ C @ A.T + noise, -left.log() / beta)


def _variant(power, undo=True):
    """Answers that take the noise for another one, or do not undo the response."""

    def answer(y, A, C, sigma, beta):
        left = 1 - beta * y
        data = -left.log() / beta if undo else y
        return C @ A.T @ torch.linalg.solve(A @ C @ A.T + torch.diag(sigma**2 * left**power), data)

    return answer


_EXACT = "explains an exact scan if there is hardly any noise"
_DEAF = "does not listen to a ray that is nearly black"


def _exact(case):
    x = case["C"] @ case["A"].T @ torch.ones_like(case["y"]) / 10
    y = _response(case["A"] @ x, case["beta"])
    return close(case["A"] @ case.call(y=y, sigma=1e-6), case["A"] @ x, tolerance=1e-4)


def _deaf(case):
    results = []
    for left in (1e-4, 1e-5):
        y = case["y"].clone()
        y[0] = (1 - left) / case["beta"]
        results.append(case.call(y=y))
    return close(*results, tolerance=1e-3)


@exercise(
    "23.2",
    "undone responses with the noise that they have",
    reference=_weighted,
    hint="x = C A^T (A C A^T + N)^-1 u with u = -log(1 - beta y) / beta and N the diagonal matrix "
    "of the variances of u",
    properties=[
        Property(_EXACT, _exact, "first invert the response, entry by entry"),
        Property(
            _DEAF,
            _deaf,
            "the derivative of u with respect to y is 1 / (1 - beta y): so many times as strong is "
            "the noise of u",
        ),
    ],
    wrong=[
        (_variant(-2, undo=False), _EXACT),
        (_variant(0), _DEAF),
        (_variant(2), _DEAF),
        (_variant(-1), _DEAF),
        (lambda y, A, C, sigma, beta: _weighted(y, A, C, sigma**0.5, beta), AGREES),
        (lambda y, A, C, sigma, beta: torch.diag(_weighted(y, A, C, sigma, beta)), KIND),
    ],
)
def _(generator):
    A = 0.2 + torch.rand(3, 5, generator=generator, dtype=torch.float64)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    C, beta = root @ root.T / 5 + 0.1 * torch.eye(5, dtype=torch.float64), 0.3
    y = _response(3 * torch.rand(3, generator=generator, dtype=torch.float64), beta)
    return {"y": y, "A": A, "C": C, "sigma": 0.2, "beta": beta}
