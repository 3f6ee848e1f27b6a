"""Exercises of chapter 20: unrolled algorithms."""

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _sparse_positive(y, B, alpha, strength, layers):
    """Coefficient by coefficient, each minimised over b >= 0 by cases."""
    c = torch.zeros(B.shape[1], dtype=B.dtype)
    for _ in range(layers):
        after = torch.zeros_like(c)
        residual = y - B @ c
        for i in range(len(c)):
            vertex = c[i] + alpha * (B[:, i] * residual).sum() - alpha * strength
            if vertex > 0:
                after[i] = vertex
        c = after
    return c


def _with(nonlinearity):
    """The network with another function of the gradient step and of alpha lambda."""

    def network(y, B, alpha, strength, layers):
        c = torch.zeros(B.shape[1], dtype=B.dtype)
        for _ in range(layers):
            c = nonlinearity(c + alpha * B.T @ (y - B @ c), alpha, strength)
        return c

    return network


def _backwards(y, B, alpha, strength, layers):
    c = torch.zeros(B.shape[1], dtype=B.dtype)
    for _ in range(layers):
        c = torch.relu(c - alpha * B.T @ (y - B @ c) - alpha * strength)
    return c


def _criterion(c, y, B, strength):
    return ((B @ c - y).square().sum() / 2 + strength * c.sum()).item()


def _decreases(case):
    y, B, strength = case["y"], case["B"], case["strength"]
    start = _criterion(torch.zeros(B.shape[1], dtype=B.dtype), y, B, strength)
    return _criterion(torch.as_tensor(case.result), y, B, strength) < start


POSITIVE = "returns no negative coefficient"
DECREASES = "returns a smaller value of the criterion than c = 0 has"
ZERO = "returns zero if the strength is so large that nothing is worth its price"


@exercise(
    "20.1",
    "a sparse network of ReLUs",
    reference=_sparse_positive,
    hint="max(a - alpha lambda, 0) with a = c + alpha B^T (y - B c), once for every layer",
    properties=[
        Property(
            POSITIVE,
            lambda case: bool((torch.as_tensor(case.result) >= 0).all()),
            "the minimiser is over b >= 0: what would be negative becomes 0",
        ),
        Property(
            DECREASES,
            _decreases,
            "the gradient step goes from c to c + alpha B^T (y - B c), against the gradient",
        ),
        Property(
            ZERO,
            lambda case: close(
                case.call(strength=1e3), torch.zeros(case["B"].shape[1], dtype=case["B"].dtype)
            ),
            "the threshold alpha lambda is subtracted from the gradient step, before the maximum",
        ),
    ],
    wrong=[
        (_with(lambda a, alpha, s: a.sign() * torch.relu(a.abs() - alpha * s)), POSITIVE),
        (_backwards, DECREASES),
        (_with(lambda a, alpha, s: torch.relu(a)), ZERO),
        (_with(lambda a, alpha, s: torch.relu(a - s)), AGREES),
        (
            lambda y, B, alpha, strength, layers: _sparse_positive(
                y, B, alpha, strength, layers - 1
            ),
            AGREES,
        ),
        (
            lambda y, B, alpha, strength, layers: torch.relu(
                _with(lambda a, alpha, s: a)(y, B, alpha, strength, layers) - alpha * strength
            ),
            AGREES,
        ),
    ],
    tolerance=1e-8,
)
def _(generator):
    options = {"generator": generator, "dtype": torch.float64}
    B = torch.randn(5, 4, **options)
    c = torch.tensor([2.0, 0.0, 1.5, 0.0]).double()
    y = B @ c + 0.5 * torch.randn(5, **options)
    alpha = 1 / torch.linalg.matrix_norm(B, 2).item() ** 2
    return {"y": y, "B": B, "alpha": alpha, "strength": 0.2, "layers": 4}


def _momentum_residual(t, steps, momenta):
    """Runs the iteration itself on a diagonal problem with solution 1: the error is -p."""
    s = t.sqrt()
    y = s.clone()
    before = f = torch.zeros_like(t)
    for alpha, beta in zip(steps, momenta, strict=True):
        before, f = f, f + alpha * s * (y - s * f) + beta * (f - before)
    return 1 - f


def _recursion(sign=1.0, keep=True):
    def polynomial(t, steps, momenta):
        before = p = torch.ones_like(t)
        for alpha, beta in zip(steps, momenta, strict=True):
            after = (1 - alpha * t) * p + sign * beta * (p - (before if keep else 0))
            before, p = p, after
        return p

    return polynomial


def _from_zero(t, steps, momenta):
    """Starts the recursion at p_{-1} = 0."""
    before, p = torch.zeros_like(t), torch.ones_like(t)
    for alpha, beta in zip(steps, momenta, strict=True):
        before, p = p, (1 - alpha * t) * p + beta * (p - before)
    return p


ONE = "returns 1 for the eigenvalue 0, whatever the numbers"
PLAIN = "returns the product of the 1 - alpha_k t if all momenta are zero"


@exercise(
    "20.2",
    "the residual polynomial of a network with momentum",
    reference=_momentum_residual,
    hint="p_{k+1} = (1 - alpha_k t) p_k + beta_k (p_k - p_{k-1}), p_0 = p_{-1} = 1",
    properties=[
        Property(
            PLAIN,
            lambda case: close(
                case.call(momenta=torch.zeros_like(case["momenta"])),
                (1 - case["steps"][:, None] * case["t"]).prod(0),
            ),
            "without momentum it is the theorem: the product over the layers of 1 - alpha_k t",
        ),
        Property(
            ONE,
            lambda case: close(
                case.call(t=torch.zeros_like(case["t"])), torch.ones_like(case["t"])
            ),
            "nothing moves in a direction that A does not see: the error there stays what it was, "
            "and f_0 = f_{-1}, so p_0 = p_{-1} = 1",
        ),
    ],
    wrong=[
        (lambda t, steps, momenta: 1 - _momentum_residual(t, steps, momenta), PLAIN),
        (lambda t, steps, momenta: (1 - steps[:, None] / t).prod(0), PLAIN),
        (_from_zero, ONE),
        (_recursion(keep=False), ONE),
        (lambda t, steps, momenta: (1 - steps[:, None] * t).prod(0), AGREES),
        (_recursion(sign=-1.0), AGREES),
        (
            lambda t, steps, momenta: _momentum_residual(t, steps.flip(0), momenta.flip(0)),
            AGREES,
        ),
    ],
    tolerance=1e-8,
)
def _(generator):
    options = {"generator": generator, "dtype": torch.float64}
    return {
        "t": 0.1 + 0.9 * torch.rand(4, **options),
        "steps": 0.5 + torch.rand(3, **options),
        "momenta": 0.1 + 0.4 * torch.rand(3, **options),
    }
