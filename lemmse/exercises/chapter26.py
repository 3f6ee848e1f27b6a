"""Exercises of chapter 26: the recovery theorem, its constants measured."""

import math

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise

TOLERANCE = 1e-9


def _radii(A, J0, lipschitz, r0, nu):
    """By eigenvalues of the small matrices A A^T and J J^T, and a projection by least squares."""
    squares, vectors = torch.linalg.eigh(A @ A.T)
    seen = squares > TOLERANCE * squares.max()
    sigma_A = squares[seen].min().sqrt()
    length = (vectors[:, seen].T @ r0).norm()
    gram = torch.linalg.eigvalsh(J0 @ J0.T)
    sigma_0 = gram[0].sqrt() if gram[0] > TOLERANCE * gram[-1] else torch.tensor(0.0).double()
    return sigma_0 / (2 * lipschitz), 2 * nu * length / (sigma_A * sigma_0)


def _variant(A, J0, lipschitz, r0, nu, all_values=False, project=True, rank=True, half=2):
    """The right answer, or one with a mistake."""
    u, s, _ = torch.linalg.svd(A, full_matrices=False)
    seen = s > TOLERANCE * s.max()
    sigma_A = s.min().clamp_min(1e-15) if all_values else s[seen].min()
    length = (u[:, seen].T @ r0).norm() if project else r0.norm()
    sigma_0 = torch.linalg.svdvals(J0)[-1]
    if rank and J0.shape[1] < J0.shape[0]:
        sigma_0 = 0 * sigma_0
    return sigma_0 / (half * lipschitz), 2 * nu * length / (sigma_A * sigma_0)


def _with(case, **changed):
    return [float(value) for value in case.call(**changed)]


def _same(pair, other):
    return all(a == b or math.isclose(a, b, rel_tol=1e-7) for a, b in zip(pair, other, strict=True))


def _outside(case):
    """A vector orthogonal to the range of A."""
    A = case["A"]
    e = torch.ones(len(A), dtype=A.dtype)
    return e - A @ (torch.linalg.pinv(A, rtol=1e-10) @ e)


FEW = "returns R = 0 if there are fewer parameters than pixels"
RANGE = "gives the same radii when r0 changes by a vector orthogonal to the range of A"
SCALE = "gives half the R for twice the Lipschitz constant, and the same R'"
FIRST = "returns sigma_0 / (2 Lambda) as the first value"


@exercise(
    "26.1",
    "the two radii of the theorem",
    reference=_radii,
    hint="R' = 2 nu |r_0| / (sigma_A sigma_0) with the smallest singular value of A that is not "
    "zero up to rounding",
    properties=[
        Property(
            SCALE,
            lambda case: _same(
                _with(case, lipschitz=2 * case["lipschitz"]),
                [float(case.result[0]) / 2, float(case.result[1])],
            ),
            "R = sigma_0 / (2 Lambda); R' does not contain Lambda",
        ),
        Property(
            FEW,
            lambda case: float(case.call(J0=case["J0"][:, :2])[0]) == 0,
            "sigma_0 is the n-th singular value, and a matrix with two columns has only two",
        ),
        Property(
            FIRST,
            lambda case: close(
                case.result[0],
                torch.linalg.svdvals(case["J0"])[len(case["J0"]) - 1] / (2 * case["lipschitz"]),
                1e-8,
            ),
            "sigma_0 is the n-th singular value of J0, n the number of its rows; mind the 2",
        ),
        Property(
            RANGE,
            lambda case: _same(
                _with(case, r0=case["r0"] + 3 * _outside(case)),
                [float(value) for value in case.result],
            ),
            "A^T does not see that part of the residual: project r0 on the range of A first",
        ),
    ],
    wrong=[
        (lambda *inputs: _variant(*inputs, rank=False), FEW),
        (lambda *inputs: _variant(*inputs, project=False), RANGE),
        (lambda *inputs: _variant(*inputs, all_values=True), AGREES),
        (lambda *inputs: _variant(*inputs, half=1), FIRST),
        (lambda *inputs: _variant(*inputs)[::-1], SCALE),
        (
            lambda A, J0, lipschitz, r0, nu: (
                _radii(A, J0, lipschitz, r0, nu)[0],
                _radii(A, J0, lipschitz, r0, 1.0)[1],
            ),
            AGREES,
        ),
    ],
    tolerance=1e-7,
)
def _(generator):
    options = {"generator": generator, "dtype": torch.float64}
    m = 2 + int(torch.randint(4, (1,), generator=generator))  # 2 to 5 measurements
    u = torch.linalg.qr(torch.randn(m, m, **options))[0]
    v = torch.linalg.qr(torch.randn(3, 3, **options))[0]
    rank = min(m - 1, 2)  # never onto, never injective
    values = 0.3 + torch.rand(rank, **options)
    A = (u[:, :rank] * values) @ v[:, :rank].T
    return {
        "A": A,
        "J0": torch.randn(3, 5, **options),
        "lipschitz": 0.2,
        "r0": torch.randn(m, **options),
        "nu": 1.5,
    }


def _sharp_radius(sigma_A, sigma_0, lipschitz, residual, nu):
    """The first length at which the path has used up the residual, by bisection."""

    def paid(length):
        return sigma_A / nu * (sigma_0 * length - lipschitz * length**2 / 2)

    low, high = 0.0, sigma_0 / lipschitz
    if paid(high) <= residual:
        return float("inf")
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if paid(middle) < residual else (low, middle)
    return (low + high) / 2


def _root(sigma_A, sigma_0, lipschitz, residual, nu, sign=-1, factor=2):
    under_root = sigma_0**2 - factor * nu * lipschitz * residual / sigma_A
    if under_root <= 0:
        return float("inf")
    return (sigma_0 + sign * under_root**0.5) / lipschitz


LARGE = "returns infinity if the residual is too large"
SMALL = "is close to nu |r_0| / (sigma_A sigma_0) if the residual is tiny"
WITHIN = "returns a radius between half of R' and R' when R' < R"


def _within(case):
    """Makes the residual such that R' = 0.9 R."""
    residual = 0.225 * case["sigma_A"] * case["sigma_0"] ** 2 / (case["nu"] * case["lipschitz"])
    R_prime = 2 * case["nu"] * residual / (case["sigma_A"] * case["sigma_0"])
    return R_prime / 2 <= float(case.call(residual=residual)) <= R_prime


def _tiny(case):
    expected = case["nu"] * 1e-6 / (case["sigma_A"] * case["sigma_0"])
    return math.isclose(float(case.call(residual=1e-6)), expected, rel_tol=1e-3)


@exercise(
    "26.2",
    "the sharper radius",
    reference=_sharp_radius,
    hint="the smaller root of sigma_A / nu (sigma_0 l - Lambda l^2 / 2) = |r_0|",
    properties=[
        Property(
            LARGE,
            lambda case: float(case.call(residual=1e3)) == float("inf"),
            "if |r_0| exceeds the maximum of the left-hand side, at l = sigma_0 / Lambda, the "
            "path is not bounded by this argument: return float('inf')",
        ),
        Property(
            SMALL,
            _tiny,
            "for short paths sigma(l) is sigma_0: take the smaller root, and nothing is halved",
        ),
        Property(
            WITHIN,
            _within,
            "it must not exceed R' = 2 nu |r_0| / (sigma_A sigma_0); the integral of Lambda l is "
            "Lambda l^2 / 2",
        ),
    ],
    wrong=[
        (lambda *inputs: _root(*inputs, sign=1), SMALL),
        (lambda *inputs: _root(*inputs, factor=4), SMALL),
        (
            lambda sigma_A, sigma_0, lipschitz, residual, nu: (
                2 * nu * residual / (sigma_A * sigma_0)
            ),
            LARGE,
        ),
        (
            lambda sigma_A, sigma_0, lipschitz, residual, nu: (
                float("inf") if residual > 10 else nu * residual / (sigma_A * sigma_0)
            ),
            AGREES,
        ),
        (lambda *inputs: _root(*inputs) * (0.4 if inputs[3] > 1e-5 else 1), WITHIN),
    ],
    tolerance=1e-6,
)
def _(generator):
    sigma_A, sigma_0, share = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    sigma_A, sigma_0, lipschitz, nu = 0.3 + sigma_A, 0.4 + sigma_0, 0.05, 1.6
    most = sigma_A * sigma_0**2 / (2 * nu * lipschitz)
    return {
        "sigma_A": sigma_A,
        "sigma_0": sigma_0,
        "lipschitz": lipschitz,
        "residual": (0.15 + 0.3 * share) * most,
        "nu": nu,
    }
