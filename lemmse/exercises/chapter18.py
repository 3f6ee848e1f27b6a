"""Exercises of chapter 18: from a closed form to layers."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _next_precision(y, A, sigma, precision):
    """By the singular value decomposition, component by component."""
    u, s, _ = torch.linalg.svd(A, full_matrices=True)
    m, n = A.shape
    coefficients = (u.T @ y)[: len(s)]
    denominator = s**2 + sigma**2 * precision
    expected = (s * coefficients / denominator).square() + sigma**2 / denominator
    hidden = (n - len(s)) / precision  # directions that A does not see keep their prior variance
    return n / (expected.sum() + hidden)


def _evidence(y, A, sigma, precision):
    covariance = A @ A.T / precision + sigma**2 * torch.eye(len(y)).to(A)
    return -(torch.logdet(covariance) + y @ torch.linalg.solve(covariance, y)) / 2


def _posterior(y, A, sigma, precision):
    S = torch.linalg.inv(precision * torch.eye(A.shape[1]).to(A) + A.T @ A / sigma**2)
    return S @ A.T @ y / sigma**2, S


def _without_trace(y, A, sigma, precision):
    estimate, _ = _posterior(y, A, sigma, precision)
    return A.shape[1] / (estimate @ estimate)


def _other_side(y, A, sigma, precision):
    estimate, S = _posterior(y, A, sigma, precision)
    return (estimate @ estimate + S.trace()) / A.shape[1]


def _by_data(y, A, sigma, precision):
    estimate, S = _posterior(y, A, sigma, precision)
    return len(y) / (estimate @ estimate + S.trace())


def _improves(case):
    data = case["y"], case["A"], case["sigma"]
    after = _evidence(*data, torch.as_tensor(case.result).double())
    return bool(after >= _evidence(*data, case["precision"]) - 1e-12)


def _scales(case):
    doubled = case.call(y=2 * case["y"], sigma=2 * case["sigma"], precision=case["precision"] / 4)
    return close(doubled, case.result / 4, 1e-8)


UNITS = "returns a quarter if y and sigma are doubled and the precision is divided by four"
IMPROVES = "does not lower the evidence p(y | rho)"


@exercise(
    "18.1",
    "one step of EM for the precision of the prior",
    reference=_next_precision,
    hint="n over the sum of |x_hat|^2 and the trace of S = (rho I + A^T A / sigma^2)^{-1}, with n "
    "the number of pixels, not of measured numbers",
    properties=[
        Property(
            UNITS,
            _scales,
            "a precision is one over a square of pixel values: check the powers of sigma, and that "
            "you return n over the expectation",
        ),
        Property(
            IMPROVES,
            _improves,
            "the expectation of a squared norm is the squared norm of the mean plus the trace of "
            "the covariance",
        ),
    ],
    wrong=[
        (_other_side, UNITS),
        (
            lambda y, A, sigma, precision: _next_precision(y, A, sigma**0.5, precision),
            UNITS,
        ),
        (_without_trace, IMPROVES),
        (_by_data, AGREES),
        (lambda y, A, sigma, precision: _posterior(y, A, sigma, precision)[0], KIND),
    ],
    tolerance=1e-8,
)
def _(generator):
    options = {"generator": generator, "dtype": torch.float64}
    A = torch.randn(3, 5, **options)
    x = torch.randn(5, **options) / 2
    y = A @ x + 0.5 * torch.randn(3, **options)
    start = 0.05 * 400 ** torch.rand((), **options)
    return {"y": y, "A": A, "sigma": 0.5, "precision": start}


def _group_soft(v, t):
    """Group by group."""
    rows = []
    for group in v:
        length = group.square().sum().sqrt()
        rows.append(group / length * max(length - t, 0) if length > 0 else torch.zeros_like(group))
    return torch.stack(rows)


def _soft(v, t):
    return v.sign() * (v.abs() - t).clamp(min=0)


def _hard(v, t):
    return v * (v.norm(dim=1, keepdim=True) > t)


def _shrunk(v, t):
    return v / (1 + t)


def _unsafe(v, t):
    length = v.norm(dim=1, keepdim=True)
    return v / length * (length - t).clamp(min=0)


def _by_square(v, t):
    length = v.square().sum(1, keepdim=True)
    return v * (1 - t / length.clamp(min=1e-300)).clamp(min=0)


def _parallel(case):
    v, u = case["v"], torch.as_tensor(case.result)
    return close(u * v.norm(dim=1, keepdim=True), v * u.norm(dim=1, keepdim=True), 1e-9)


def _shorter(case):
    length = case["v"].norm(dim=1)
    lost = length - torch.as_tensor(case.result).norm(dim=1)
    alive = length > case["t"]
    return close(lost[alive], torch.full_like(lost[alive], case["t"]), 1e-9)


DIES = "sets a group to zero if its norm is at most t"
TURNS = "does not turn any group"
LOSES = "shortens every longer group by t"


@exercise(
    "18.2",
    "the proximal operator of the sum of norms of groups",
    reference=_group_soft,
    hint="v_g max(1 - t / |v_g|, 0), and zero where v_g is zero",
    properties=[
        Property(
            TURNS,
            _parallel,
            "for a given length, the nearest vector to v_g points in the direction of v_g; the "
            "single coefficients have no threshold of their own",
        ),
        Property(
            DIES,
            lambda case: bool(
                (torch.as_tensor(case.result)[case["v"].norm(dim=1) <= case["t"]] == 0).all()
            ),
            "the length l minimises (l - |v_g|)^2 / 2 + t l over l >= 0; mind a group that is zero",
        ),
        Property(
            LOSES,
            _shorter,
            "the length of a group becomes |v_g| - t: the norm of the group, not its square",
        ),
    ],
    wrong=[
        (_soft, TURNS),
        (_shrunk, DIES),
        (_unsafe, KIND),
        (_hard, LOSES),
        (_by_square, LOSES),
        (lambda v, t: _group_soft(v, t).norm(dim=1), KIND),
    ],
    tolerance=1e-9,
)
def _(generator):
    v = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([0.0, 0.3, 0.7, 1.5, 3.0]).double()
    return {"v": v * (lengths / v.norm(dim=1))[:, None], "t": 0.8}
