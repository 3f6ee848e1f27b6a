"""Exercises of chapter 25: the deep inverse prior and gradient descent."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _landweber(A, y, x0, step, t):
    """Makes the steps one by one."""
    x = x0
    for _ in range(t):
        x = x - step * A.T @ (A @ x - y)
    return x


def _by_gains(A, y, x0, gain, start):
    """start + V diag(gain(s)) U^T (y - A x0)."""
    u, s, vt = torch.linalg.svd(A, full_matrices=False)
    return start + vt.T @ (gain(s) * (u.T @ (y - A @ x0)))


def _safe(A, y, x0, step, t, start, residual_start):
    """The closed form with any two starts; singular values of zero have gain zero."""

    def gain(s):
        seen = s > 1e-10
        inverse = torch.where(seen, 1 / s.masked_fill(~seen, 1), 0.0)
        return (1 - (1 - step * s**2) ** t) * inverse

    return _by_gains(A, y, residual_start, gain, start)


START = "returns x0 for t = 0"
ONE_STEP = "makes one step of gradient descent for t = 1"
KERNEL = "leaves the part of x0 in the kernel of A as it is"


def _kernel_part(A, x):
    return x - torch.linalg.pinv(A, rtol=1e-10) @ (A @ x)


@exercise(
    "25.1",
    "Landweber's iteration in closed form",
    reference=_landweber,
    hint="x_t = x_0 + sum over s_i > 0 of (1 - (1 - step s_i^2)^t) / s_i <u_i, y - A x_0> v_i",
    properties=[
        Property(
            START,
            lambda case: close(case.call(t=0), case["x0"], 1e-8),
            "for t = 0 all gains are zero, and x_0 is left",
        ),
        Property(
            KERNEL,
            lambda case: close(
                _kernel_part(case["A"], case.result), _kernel_part(case["A"], case["x0"]), 1e-8
            ),
            "every step is in the image of A^T: add to x_0, do not replace it",
        ),
        Property(
            ONE_STEP,
            lambda case: close(
                case.call(t=1),
                case["x0"] - case["step"] * case["A"].T @ (case["A"] @ case["x0"] - case["y"]),
                1e-8,
            ),
            "for t = 1 the gain is step * s_i, and it meets the residual y - A x_0 of the start",
        ),
    ],
    wrong=[
        (lambda A, y, x0, step, t: torch.linalg.pinv(A, rtol=1e-10) @ y, START),
        (
            lambda A, y, x0, step, t: _safe(A, y, x0, step, t, torch.zeros_like(x0), 0 * x0),
            START,
        ),
        (lambda A, y, x0, step, t: _safe(A, y, x0, step, t, x0, 0 * x0), ONE_STEP),
        (
            lambda A, y, x0, step, t: _by_gains(
                A,
                y,
                x0,
                lambda s: (1 - (1 - step * s**2) ** t) / s.clamp_min(0).round(decimals=8),
                x0,
            ),
            KIND,
        ),
        (
            lambda A, y, x0, step, t: _by_gains(
                A, y, x0, lambda s: (1 - (1 - step * s**2) ** t) * s, x0
            ),
            ONE_STEP,
        ),
        (lambda A, y, x0, step, t: _landweber(A, y, x0, step, min(t, 1)), AGREES),
    ],
    tolerance=1e-7,
)
def _(generator):
    options = {"generator": generator, "dtype": torch.float64}
    u = torch.linalg.qr(torch.randn(3, 3, **options))[0]
    v = torch.linalg.qr(torch.randn(4, 4, **options))[0]
    A = u @ torch.diag(torch.tensor([1.0, 0.5, 0.0]).double()) @ v[:, :3].T
    y, x0 = torch.randn(3, **options), torch.randn(4, **options)
    return {"A": A, "y": y, "x0": x0, "step": 0.8, "t": 7}


def _image(W, V, u):
    return V @ torch.tanh(W @ u) / len(W) ** 0.5


def _gradients(W, V, u, A, y):
    """By automatic differentiation."""
    W, V = (matrix.detach().clone().requires_grad_() for matrix in (W, V))
    with torch.enable_grad():
        loss = (A @ _image(W, V, u) - y).square().sum() / 2
    return torch.autograd.grad(loss, (W, V))


def _by_hand(W, V, u, A, y, slope=True, adjoint=True, scale=0.5):
    k = len(W)
    hidden = torch.tanh(W @ u)
    residual = A @ _image(W, V, u) - y
    pull = A.T @ residual if adjoint else residual
    slopes = 1 - hidden**2 if slope else torch.ones_like(hidden)
    return torch.outer(slopes * (V.T @ pull), u) / k**scale, torch.outer(pull, hidden) / k**scale


def _slope(case, gradients):
    """The derivative of the loss in a fixed direction, by a central difference."""
    total = 0.0
    for name, gradient in zip(("W", "V"), gradients, strict=True):
        direction = torch.sin(torch.arange(case[name].numel()).double()).reshape(case[name].shape)
        losses = []
        for sign in (1, -1):
            moved = {name: case[name] + sign * 1e-5 * direction}
            inputs = case.inputs | moved
            x = _image(inputs["W"], inputs["V"], inputs["u"])
            losses.append((inputs["A"] @ x - inputs["y"]).square().sum() / 2)
        total += abs((losses[0] - losses[1]) / 2e-5 - (gradient * direction).sum())
    return total


VANISHES = "returns zeros where A x = y"
RANK_ONE = "returns a gradient with respect to W whose rows are multiples of u"
SLOPES = "agrees with difference quotients of the loss"


@exercise(
    "25.2",
    "gradients of a two-layer network",
    reference=_gradients,
    hint="with p = A^T (A x - y): (tanh'(W u) * V^T p) u^T / sqrt(k), and p tanh(W u)^T / sqrt(k)",
    properties=[
        Property(
            VANISHES,
            lambda case: all(
                close(gradient, torch.zeros_like(gradient), 1e-9)
                for gradient in case.call(
                    y=case["A"] @ _image(case["W"], case["V"], case["u"]),
                )
            ),
            "both gradients contain the residual A x - y as a factor",
        ),
        Property(
            RANK_ONE,
            lambda case: close(
                case.result[0], torch.outer(case.result[0] @ case["u"], case["u"]), 1e-9
            ),
            "W enters through W u only, so the gradient is an outer product with u",
        ),
        Property(
            SLOPES,
            lambda case: bool(_slope(case, case.result) < 1e-6),
            "the pull at the image is A^T (A x - y); the slope of tanh is 1 - tanh^2; and the "
            "factor 1 / sqrt(k) belongs to both gradients",
        ),
    ],
    wrong=[
        (lambda W, V, u, A, y: _by_hand(W, V, u, A, y, slope=False), SLOPES),
        (lambda W, V, u, A, y: _by_hand(W, V, u, A, y, adjoint=False), SLOPES),
        (lambda W, V, u, A, y: _by_hand(W, V, u, A, y, scale=0.0), SLOPES),
        (lambda W, V, u, A, y: _by_hand(W, V, u, A, 0 * y), VANISHES),
        (lambda W, V, u, A, y: tuple(2 * g for g in _gradients(W, V, u, A, y)), SLOPES),
        (
            lambda W, V, u, A, y: (
                _gradients(W, V, u, A, y)[0] + (A @ _image(W, V, u) - y).norm() * W,
                _gradients(W, V, u, A, y)[1],
            ),
            RANK_ONE,
        ),
        (lambda W, V, u, A, y: _gradients(W, V, u, A, y)[::-1], KIND),
    ],
    tolerance=1e-8,
)
def _(generator):
    options = {"generator": generator, "dtype": torch.float64}
    u = torch.randn(2, **options)
    return {
        "W": torch.randn(4, 2, **options),
        "V": torch.randint(2, (3, 4), generator=generator).double() * 2 - 1,
        "u": u / u.norm(),
        "A": torch.randn(3, 3, **options),
        "y": torch.randn(3, **options),
    }
