"""Exercises of chapter 27: how wide, which step."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _interval(successes, total, z):
    """The two roots of the quadratic, by the formula with the geometric mean of the counts."""
    failures = total - successes
    root = (z**2 / 4 + successes * failures / total) ** 0.5
    return (
        (successes + z**2 / 2 - z * root) / (total + z**2),
        (successes + z**2 / 2 + z * root) / (total + z**2),
    )


def _wald(successes, total, z):
    share = successes / total
    half = z * (share * (1 - share) / total) ** 0.5
    return share - half, share + half


def _clipped_wald(successes, total, z):
    low, high = _wald(successes, total, z)
    return max(low, 0.0), min(high, 1.0)


LENGTH = "returns an interval of positive length when all runs succeed"
INSIDE = "stays between 0 and 1"
MIRROR = "treats successes and failures alike"
ENDS = "returns ends that are z standard deviations away from the observed share"


def _deviations(case):
    share = case["successes"] / case["total"]
    deviations = [
        abs(share - p) / (p * (1 - p) / case["total"]) ** 0.5 for p in map(float, case.result)
    ]
    return close(torch.tensor(deviations), torch.tensor([case["z"]] * 2))


def _mirrored(case):
    low, high = case.call(successes=case["total"] - case["successes"])
    return close(torch.tensor([1 - float(high), 1 - float(low)]), torch.tensor(case.result))


def _all(case):
    low, high = case.call(successes=case["total"])
    return float(high) - float(low) > 1e-6


def _inside(case):
    ends = [*case.call(successes=0), *case.call(successes=case["total"])]
    return all(-1e-9 <= float(end) <= 1 + 1e-9 for end in ends)


@exercise(
    "27.1",
    "Wilson's interval",
    reference=_interval,
    hint="square the inequality and bring it into the form a p^2 - b p + c <= 0",
    properties=[
        Property(
            LENGTH,
            _all,
            "the standard deviation in the inequality is that of p, not of the observed share",
        ),
        Property(INSIDE, _inside, "both roots of the quadratic lie between 0 and 1"),
        Property(MIRROR, _mirrored, "with p for 1 - p the inequality is the same"),
        Property(ENDS, _deviations, "insert the ends into the inequality: it becomes an equality"),
    ],
    wrong=[
        (_wald, LENGTH),
        (_clipped_wald, LENGTH),
        (lambda successes, total, z: _wald(successes + 2, total + 4, z), INSIDE),
        (lambda successes, total, z: _interval(successes, total, z)[::-1], LENGTH),
        (lambda successes, total, z: _interval(successes, total, z**2), ENDS),
        (lambda successes, total, z: _interval(successes, total, z)[0], KIND),
    ],
    tolerance=1e-6,
)
def _(generator):
    total = int(torch.randint(20, 80, (), generator=generator))
    return {
        "successes": int(torch.randint(2, total - 1, (), generator=generator)),
        "total": total,
        "z": round(1 + 2 * torch.rand((), generator=generator).item(), 3),
    }


def _asked(A, V, a, y, power=2, nu=2.0, extreme=0, columns=0):
    """By eigenvalues: 16 nu^2 D^2 n |r_0|^2 / (sigma_A^2 sigma_0^4)."""
    A, V, a, y = (t.double() for t in (A, V, a, y))
    k = V.shape[1]
    slopes = 1 / torch.cosh(a) ** 2
    least = torch.linalg.eigvalsh((V * slopes**2) @ V.T / k)[extreme]
    sigma_A = torch.linalg.eigvalsh(A @ A.T)[extreme]
    r0 = A @ (V @ torch.tanh(a)) / k**0.5 - y
    return 16 * nu**2 * 16 / 27 * V.shape[columns] * (r0 @ r0) / (sigma_A * least**power)


SCALE = "does not depend on the units of the measurement"
ORDER = "does not depend on the order of the neurons"
COPIES = (
    "returns the same when every neuron is there four times and the measurement is twice as large"
)


def _four(case):
    V, a = case["V"].repeat(1, 4), case["a"].repeat(4)
    return close(case.call(V=V, a=a, y=2 * case["y"]), 4 * case.result, 1e-4)


@exercise(
    "27.2",
    "the width that the theorem asks for",
    reference=_asked,
    hint="64 (16 / 27) n |r_0|^2 / (sigma_A^2 sigma_0^4) with r_0 = A V tanh(a) / sqrt(k) - y and "
    "sigma_0 the least singular value of V diag(1 - tanh(a)^2) / sqrt(k)",
    properties=[
        Property(
            SCALE,
            lambda case: close(case.call(A=3 * case["A"], y=3 * case["y"]), case.result, 1e-4),
            "if A and y are multiplied by 3, so are sigma_A and r_0, and the ratio stays",
        ),
        Property(
            ORDER,
            lambda case: close(
                case.call(V=case["V"].flip(1), a=case["a"].flip(0)), case.result, 1e-4
            ),
            "V and a are sorted alike: each column of V belongs to one neuron",
        ),
        Property(
            COPIES,
            _four,
            "four copies of the neurons double the image and leave J J^T as it is: check the "
            "factor 1 / sqrt(k)",
        ),
    ],
    wrong=[
        (lambda A, V, a, y: _asked(A, V, a, y, power=1), AGREES),
        (lambda A, V, a, y: _asked(A, V, a, y, nu=1.0), AGREES),
        (lambda A, V, a, y: _asked(A, V, a, y, extreme=-1), AGREES),
        (lambda A, V, a, y: _asked(A, V, a, y, columns=1), COPIES),
        (lambda A, V, a, y: _asked(A, V, a, y) ** 0.5, COPIES),
        (lambda A, V, a, y: _asked(A, V * V.shape[1] ** 0.5, a, y), COPIES),
        (lambda A, V, a, y: _asked(A / A.norm(), V, a, y), SCALE),
    ],
    tolerance=1e-4,
)
def _(generator):
    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {
        "A": draw(2, 3) + torch.eye(2, 3).double(),
        "V": draw(3, 30).sign(),
        "a": draw(30),
        "y": draw(2),
    }
