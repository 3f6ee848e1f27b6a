"""Exercises of chapter 19: the SVD network."""

import torch

from lemmse.exercises.registry import KIND, Property, close, exercise


def _risk(gains, U, V, A, M, sigma):
    """Bias and variance of the whole estimator, as a matrix."""
    G = V @ torch.diag(gains) @ U.T
    miss = G @ A - torch.eye(len(M)).to(M)
    return (miss @ M @ miss.T).trace() + sigma**2 * G.square().sum()


def _best_diagonal(U, V, A, M, sigma):
    """Direction by direction, from the covariance of x and y."""
    x_y, y_y = M @ A.T, A @ M @ A.T + sigma**2 * torch.eye(len(A)).to(A)
    gains = torch.stack([v @ x_y @ u / (u @ y_y @ u) for u, v in zip(U.T, V.T, strict=True)])
    return gains, _risk(gains, U, V, A, M, sigma)


def _as_if_singular(U, V, A, M, sigma):
    """The Wiener gains, as if u_i and v_i were singular vectors."""
    s, p = (U * (A @ V)).sum(0), (V * (M @ V)).sum(0)
    gains = s * p / (s**2 * p + sigma**2)
    return gains, _risk(gains, U, V, A, M, sigma)


def _inverse(U, V, A, M, sigma):
    gains = 1 / (U * (A @ V)).sum(0)
    return gains, _risk(gains, U, V, A, M, sigma)


def _only_inside(U, V, A, M, sigma):
    """Forgets the images outside the span of the v_i."""
    gains, risk = _best_diagonal(U, V, A, M, sigma)
    return gains, risk - M.trace() + (V * (M @ V)).sum()


def _sigma_once(U, V, A, M, sigma):
    return _best_diagonal(U, V, A, M, sigma**0.5)


def _gains_are_best(case):
    gains = torch.as_tensor(case.result[0]).detach().clone().requires_grad_()
    _risk(gains, *case.inputs.values()).backward()
    return close(gains.grad, torch.zeros_like(gains), 1e-8)


def _risk_fits(case):
    gains = torch.as_tensor(case.result[0])
    return close(case.result[1], _risk(gains, *case.inputs.values()), 1e-8)


BEST = "returns gains at which the risk has no slope"
FITS = "returns the risk that belongs to its gains"


@exercise(
    "19.1",
    "the best diagonal between two bases",
    reference=_best_diagonal,
    hint="with B = U^T A: the diagonal of V^T M B^T over the diagonal of B M B^T + sigma^2",
    properties=[
        Property(
            BEST,
            _gains_are_best,
            "the formula with s_i and p_i is for singular vectors only; for other bases take the "
            "moments E[<v_i, x> <u_i, y>] and E[<u_i, y>^2], the noise included",
        ),
        Property(
            FITS,
            _risk_fits,
            "the risk is the trace of M less the sum of cross^2 / power: the images outside the "
            "span of the v_i are missed entirely, and count",
        ),
    ],
    wrong=[
        (_as_if_singular, BEST),
        (_inverse, BEST),
        (_sigma_once, BEST),
        (_only_inside, FITS),
        (lambda *inputs: _best_diagonal(*inputs)[0], KIND),
    ],
    tolerance=1e-8,
)
def _(generator):
    options = {"generator": generator, "dtype": torch.float64}
    root = torch.randn(4, 4, **options)
    return {
        "U": torch.linalg.qr(torch.randn(5, 3, **options))[0],
        "V": torch.linalg.qr(torch.randn(4, 3, **options))[0],
        "A": torch.randn(5, 4, **options),
        "M": root @ root.T,
        "sigma": 0.5,
    }


def _shift(K, i):
    """The cyclic shift by i rows, as a matrix."""
    return torch.eye(len(K)).to(K).roll(i, 0)


def _nearest_circulant(K):
    """Projection onto the shifts, which are orthogonal to one another."""
    shifts = [_shift(K, i) for i in range(len(K))]
    return sum((K * shift).sum() / len(K) * shift for shift in shifts)


def _first_column(K):
    return torch.stack([K[:, 0].roll(j) for j in range(len(K))], 1)


def _toeplitz(K):
    """The mean of each diagonal, not wrapped."""
    n = len(K)
    result = torch.zeros_like(K)
    for lag in range(-n + 1, n):
        result = result + torch.diag(torch.full((n - abs(lag),), K.diagonal(lag).mean()).to(K), lag)
    return result


def _anticirculant(K):
    return _nearest_circulant(K.flip(0)).flip(0)


def _summed(K):
    return _nearest_circulant(K) * len(K)


def _fourier_complex(K):
    F = torch.fft.fft(torch.eye(len(K)).to(torch.complex128), norm="ortho")
    return F.mH @ torch.diag(torch.diag(F @ K.to(F) @ F.mH)) @ F


def _commutes(case):
    P = torch.as_tensor(case.result)
    return close(_shift(P, 1) @ P, P @ _shift(P, 1), 1e-9)


def _is_projection(case):
    once = torch.as_tensor(case.result)
    return close(case.call(K=once), once, 1e-9)


def _is_orthogonal(case):
    K, P = case["K"], torch.as_tensor(case.result)
    inner = torch.stack([((K - P) * _shift(K, i)).sum() for i in range(len(K))])
    return close(inner, torch.zeros_like(inner), 1e-9)


CIRCULANT = "returns a matrix that commutes with the cyclic shift"
KEEPS = "leaves a circulant matrix as it is"
NEAREST = "leaves a rest that is orthogonal to all circulant matrices"


@exercise(
    "19.2",
    "the nearest circulant matrix",
    reference=_nearest_circulant,
    hint="replace every entry by the mean of all entries with the same (i - j) mod n",
    properties=[
        Property(
            CIRCULANT,
            _commutes,
            "entries with the same (i - j) modulo n must be equal; the diagonals wrap around",
        ),
        Property(
            KEEPS,
            _is_projection,
            "a circulant matrix is its own nearest one: take means, not sums",
        ),
        Property(
            NEAREST,
            _is_orthogonal,
            "the number nearest to several others, in squares, is their mean; use all rows",
        ),
    ],
    wrong=[
        (_toeplitz, CIRCULANT),
        (_anticirculant, CIRCULANT),
        (_summed, KEEPS),
        (_first_column, NEAREST),
        (_fourier_complex, KIND),
        (lambda K: _nearest_circulant(K).T, KEEPS),
    ],
    tolerance=1e-9,
)
def _(generator):
    return {"K": torch.randn(4, 4, generator=generator, dtype=torch.float64)}
