"""Exercises of chapter 2: noise and regularisation."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise

SHAPE = (3, 4)


def _objective(u, y, b, strength):
    """J(u) as the exercise defines it, with the differences taken by shifts."""
    fit = torch.fft.ifft2(b * torch.fft.fft2(u)).real - y
    right, down = u.roll(-1, 1) - u, u.roll(-1, 0) - u
    return fit.square().sum() + strength * (right.square().sum() + down.square().sum())


def _smooth_estimate(y, b, strength):
    """Solves the normal equations with matrices, built column by column."""
    unit_images = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
    blur = torch.fft.ifft2(b * torch.fft.fft2(unit_images)).real.flatten(1).T
    right = (unit_images.roll(-1, 2) - unit_images).flatten(1).T
    down = (unit_images.roll(-1, 1) - unit_images).flatten(1).T
    normal = blur.T @ blur + strength * (right.T @ right + down.T @ down)
    return torch.linalg.solve(normal, blur.T @ y.flatten()).reshape(y.shape)


def _filtered(y, gain):
    return torch.fft.ifft2(gain * torch.fft.fft2(y)).real


def _penalty(shape, scale=4.0, angle=torch.pi):
    rows, columns = (
        torch.sin(angle * torch.arange(n, dtype=torch.float64) / n) ** 2 for n in shape
    )
    return scale * (rows[:, None] + columns)


def _gain(b, penalty):
    return b.conj() / (b.abs() ** 2 + penalty)


def _is_minimal(case):
    u = torch.as_tensor(case.result).detach().clone().requires_grad_()
    _objective(u, *case.inputs.values()).backward()
    return close(u.grad, torch.zeros_like(u), 1e-8)


KEEPS_MEAN = "returns an image with the mean of y"
MINIMISES = "returns an image at which the gradient of J vanishes"


@exercise(
    "2.1",
    "deblurring with a penalty on differences",
    reference=_smooth_estimate,
    hint="the gain is conj(b) / (|b|^2 + lambda c) with c = 4 sin^2 + 4 sin^2",
    properties=[
        Property(
            KEEPS_MEAN,
            lambda case: close(case.result.mean(), case["y"].mean()),
            "a constant image has no differences, and b[0, 0] = 1: the zero frequency must not "
            "be damped",
        ),
        Property(
            MINIMISES,
            _is_minimal,
            "a difference along rows multiplies the wave k by exp(2 pi i k / W) - 1, so the "
            "penalty at k is 4 sin^2(pi k_1 / H) + 4 sin^2(pi k_2 / W); conj(b) in the numerator",
        ),
    ],
    wrong=[
        (lambda y, b, strength: _filtered(y, _gain(b, strength)), KEEPS_MEAN),
        (lambda y, b, strength: _filtered(y, _gain(b, strength * _penalty(y.shape, 1))), MINIMISES),
        (
            lambda y, b, strength: _filtered(
                y, _gain(b, strength * _penalty(y.shape, angle=2 * torch.pi))
            ),
            MINIMISES,
        ),
        (
            lambda y, b, strength: _filtered(y, b / (b.abs() ** 2 + strength * _penalty(y.shape))),
            MINIMISES,
        ),
        (
            lambda y, b, strength: torch.fft.ifft2(
                _gain(b, strength * _penalty(y.shape)) * torch.fft.fft2(y)
            ),
            KIND,
        ),
    ],
    tolerance=1e-8,
)
def _(generator):
    kernel = torch.rand(SHAPE, generator=generator, dtype=torch.float64)
    kernel[0, 0] += 1
    return {
        "y": torch.rand(SHAPE, generator=generator, dtype=torch.float64),
        "b": torch.fft.fft2(kernel / kernel.sum()),
        "strength": 0.3,
    }


def _truncated_inverse(matrix, y, delta):
    """Tries the ranks one after the other, each by the pseudo-inverse of a low-rank matrix."""
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    for r in range(len(s) + 1):
        cut = u[:, :r] @ torch.diag(s[:r]) @ vt[:r]
        estimate = torch.linalg.pinv(cut, rtol=1e-10) @ y if r else torch.zeros_like(vt[0])
        if (matrix @ estimate - y).norm() <= delta:
            return r, estimate
    raise ValueError("expected a delta that can be reached")


def _of_rank(matrix, y, r):
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return r, vt[:r].T @ ((u.T @ y)[:r] / s[:r])


def _one_more(matrix, y, delta):
    r = _truncated_inverse(matrix, y, delta)[0]
    return _of_rank(matrix, y, min(r + 1, matrix.shape[1]))


def _one_less(matrix, y, delta):
    return _of_rank(matrix, y, max(_truncated_inverse(matrix, y, delta)[0] - 1, 0))


def _without_the_rest(matrix, y, delta):
    """Counts only the part of the residual in the image of A."""
    u = torch.linalg.svd(matrix, full_matrices=False)[0]
    return _truncated_inverse(matrix, u @ (u.T @ y), delta)


def _multiplied(matrix, y, delta):
    """Multiplies by the singular values in place of dividing."""
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    r = _truncated_inverse(matrix, y, delta)[0]
    return r, vt[:r].T @ ((u.T @ y)[:r] * s[:r])


def _smallest_first(matrix, y, delta):
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    for r in range(1, len(s) + 1):
        estimate = vt[-r:].T @ ((u.T @ y)[-r:] / s[-r:])
        if (matrix @ estimate - y).norm() <= delta:
            return r, estimate
    raise ValueError("expected a delta that can be reached")


FITS = "returns an estimate whose residual is at most delta"
SMALLEST = "drops as many components as delta allows"


@exercise(
    "2.2",
    "a truncated inverse by the discrepancy principle",
    reference=_truncated_inverse,
    hint="keep the r largest singular values: x_r = sum over i <= r of <u_i, y> / s_i v_i",
    properties=[
        Property(
            FITS,
            lambda case: bool(
                (case["matrix"] @ torch.as_tensor(case.result[1]) - case["y"]).norm()
                <= case["delta"] * (1 + 1e-9)
            ),
            "the residual is the whole of A x_r - y, its part outside the image of A included; "
            "add components, largest singular value first, until its norm is at most delta",
        ),
        Property(
            SMALLEST,
            lambda case: (
                int(case.result[0])
                <= _truncated_inverse(case["matrix"], case["y"], case["delta"])[0]
            ),
            "start from r = 0 and stop at the first r that fits; keep the components with the "
            "largest singular values",
        ),
    ],
    wrong=[
        (_one_less, FITS),
        (_without_the_rest, FITS),
        (_multiplied, FITS),
        (_one_more, SMALLEST),
        (lambda matrix, y, delta: _of_rank(matrix, y, matrix.shape[1]), SMALLEST),
        (_smallest_first, SMALLEST),
        (lambda matrix, y, delta: (0, _truncated_inverse(matrix, y, delta)[1]), AGREES),
    ],
    tolerance=1e-7,
)
def _(generator):
    options = {"generator": generator, "dtype": torch.float64}
    u = torch.linalg.qr(torch.randn(5, 5, **options))[0]
    v = torch.linalg.qr(torch.randn(4, 4, **options))[0]
    matrix = u[:, :4] @ torch.diag(torch.tensor([2.0, 1.0, 0.5, 0.25]).double()) @ v.T
    coefficients = torch.tensor([3.0, 2.0, 1.0, 0.5, 2.0]).double()  # the last one outside Im A
    sign = torch.randint(2, (5,), generator=generator) * 2 - 1
    keep = int(5 * torch.rand(1, generator=generator))  # components to be kept
    # Residuals with this many and with one less; and with one less, if the rest were forgotten.
    enough = coefficients[keep:].norm().item()
    too_few = coefficients[keep - 1 :].norm().item() if keep else 1.2 * enough
    without_the_rest = coefficients[keep - 1 : 4].norm().item() if keep else 0.0
    delta = (max(enough, without_the_rest) + too_few) / 2
    return {"matrix": matrix, "y": u @ (sign * coefficients), "delta": delta}
