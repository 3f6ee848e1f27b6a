"""An operator as three factors: two fixed linear maps, and one number a direction between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..devices import plain_mode
from ..operators import Blur, Constant, Diagonal, Operator, Stationary
from ..operators.base import RANK_TOLERANCE
from ..operators.materialise import real_vectors

PENALTIES = ("identity", "gradient")


@dataclass(frozen=True)
class Decomposition:
    r"""The generalised singular value decomposition of A and of a penalty D.

    .. math:: A = U\, \mathrm{diag}(s)\, X^{-1}, \qquad
        D^T D = X^{-T} \mathrm{diag}(p)\, X^{-1}, \qquad U^T U = I

    so that for every :math:`\lambda`

    .. math:: (A^T A + \lambda D^T D)^{-1} A^T = X\, \mathrm{diag}\Big(
        \frac{s}{s^2 + \lambda p}\Big)\, U^T

    For :math:`D = I` it is the ordinary decomposition: p = 1 and X = V is orthogonal.

    Attributes:
        singular_values: s, float64 on the CPU; exactly zero where A transmits nothing. Its shape is
            (H, W) over frequencies, (1 or C, H, W) over pixels, or (r,) for a matrix of rank r.
        penalty: p, of the same shape.
        analysis: :math:`y \mapsto U^T y`. Coefficients have shape (B, C, H, W), complex over
            frequencies; for a matrix (B, C, r), or (B, r) if it acts on whole images.
        synthesis: :math:`c \mapsto X c`, images (B, C, H, W).
        pairs: (H, W) integers, over frequencies only: k and -k, which must have the same gain for
            images to be real, have the same one. Otherwise None.

    Source: P. C. Hansen, Rank-Deficient and Discrete Ill-Posed Problems, SIAM 1998, section 2.1.2.
    """

    singular_values: Tensor
    penalty: Tensor
    analysis: Callable[[Tensor], Tensor]
    synthesis: Callable[[Tensor], Tensor]
    pairs: Tensor | None = None


@plain_mode()
def decompose(
    operator: Operator, image_shape: tuple[int, int, int], penalty: str = "identity"
) -> Decomposition:
    """Decomposes an operator: by Fourier transform, pixel by pixel, or numerically.

    Where A^T A is circulant (identity, blur, MRI) V is the discrete Fourier transform, where it is
    diagonal (masks) V is the identity; else the operator is written out as a matrix and decomposed
    in float64, which takes O(n^3) time for n pixels.

    Args:
        operator: A.
        image_shape: (C, H, W).
        penalty: "identity", D = I; or "gradient", D the differences of neighbouring pixels along
            rows and columns, circular, for each channel.

    Raises:
        ValueError: the penalty is another one, or with "gradient" A maps constant images to zero,
            so that nothing determines the mean of an image.

    Example:
        >>> from lemmse.operators import Blur
        >>> blur = Blur.gaussian(1.0, (8, 8))
        >>> d = decompose(blur, (1, 8, 8))
        >>> bool((d.singular_values - blur.transfer.value.abs()).abs().max() < 1e-15)
        True
    """
    if penalty not in PENALTIES:
        raise ValueError(f"penalty: expected one of {list(PENALTIES)}, got {penalty!r}")
    per_channel = treats_channels_alike(operator)
    if per_channel:
        image_shape = (1, *image_shape[1:])
    noise = operator.preinverse("adjoint", image_shape).noise
    if isinstance(noise, Stationary):
        return _fourier(operator, noise.spectrum, penalty)
    if isinstance(noise, Diagonal) and penalty == "identity":
        return _pixels(noise.gain)
    matrix = noise.gain.flatten().diag() if isinstance(noise, Diagonal) else noise.matrix.T
    return _dense(matrix, per_channel, image_shape, penalty)


def treats_channels_alike(operator: Operator) -> bool:
    """Whether A acts on every channel by itself, and on all of them in the same way."""
    return operator.image_shape is None or len(operator.image_shape) == 2


def gradient_spectrum(image_size: tuple[int, int]) -> Tensor:
    r"""Eigenvalues of D^T D for circular differences D, (H, W) in the order of ``fft2``.

    .. math:: d(k) = 4 \sin^2(\pi k_1 / H) + 4 \sin^2(\pi k_2 / W)

    Example:
        >>> gradient_spectrum((2, 2))
        tensor([[0., 4.],
                [4., 8.]], dtype=torch.float64)
    """
    rows, columns = (
        4 * torch.sin(math.pi * torch.arange(n, dtype=torch.float64) / n) ** 2 for n in image_size
    )
    return rows[:, None] + columns


def gradient_matrix(image_size: tuple[int, int]) -> Tensor:
    """D^T D as a matrix (H*W, H*W), float64.

    Example:
        >>> gradient_matrix((1, 3))
        tensor([[ 2., -1., -1.],
                [-1.,  2., -1.],
                [-1., -1.,  2.]], dtype=torch.float64)
    """
    height, width = image_size
    pixels = torch.eye(height * width, dtype=torch.float64).unflatten(1, (height, width))
    differences = [(pixels.roll(1, axis) - pixels).flatten(1) for axis in (1, 2)]
    return sum(d @ d.T for d in differences)


@plain_mode()
def squared_norm(operator: Operator, image_shape: tuple[int, int, int]) -> float:
    """The largest eigenvalue of A^T A, the Lipschitz constant L of the gradient of |Ax - y|^2 / 2.

    Example:
        >>> from lemmse.operators import Identity
        >>> squared_norm(Identity(), (1, 8, 8))
        1.0
    """
    noise = operator.preinverse("adjoint", image_shape).noise
    if isinstance(noise, Stationary):
        return noise.spectrum.max().item()
    if isinstance(noise, Diagonal):
        return noise.gain.square().max().item()
    rows, columns = noise.matrix.shape
    matrix = noise.matrix if rows <= columns else noise.matrix.T
    return torch.linalg.eigvalsh(matrix @ matrix.T)[-1].item()


def _fourier(operator: Operator, spectrum: Tensor, penalty: str) -> Decomposition:
    s = _nonzero(spectrum.sqrt())
    p = torch.ones_like(s) if penalty == "identity" else gradient_spectrum(tuple(s.shape))
    if not (s + p).all():
        _raise_no_mean()
    analysis = _FourierAnalysis(operator, torch.where(s > 0, 1 / s, 0))
    return Decomposition(s, p, analysis, _real_inverse_fourier, _frequency_pairs(*s.shape))


class _FourierAnalysis:
    """Coefficients over frequencies, :math:`U^T y`."""

    def __init__(self, operator: Operator, inverse: Tensor):
        # Of a blur, U is known: that spares A^T y, whose rounding errors 1 / s would amplify.
        known = isinstance(operator, Blur)
        self.adjoint = None if known else operator.A_adjoint
        self.gain = Constant(operator.transfer.value.conj() * inverse if known else inverse)

    def __call__(self, y: Tensor) -> Tensor:
        z = y if self.adjoint is None else self.adjoint(y)
        return torch.fft.fft2(z, norm="ortho") * self.gain.like(y)


def _real_inverse_fourier(c: Tensor) -> Tensor:
    return torch.fft.ifft2(c, norm="ortho").real


def _pixels(gain: Tensor) -> Decomposition:
    s = gain.abs()
    return Decomposition(s, torch.ones_like(s), _Product(gain.sign()), nn.Identity())


class _Product:
    """Multiplication of each number with its own."""

    def __init__(self, factor: Tensor):
        self.factor = Constant(factor)

    def __call__(self, y: Tensor) -> Tensor:
        return y * self.factor.like(y)


def _dense(
    matrix: Tensor, per_channel: bool, image_shape: tuple[int, int, int], penalty: str
) -> Decomposition:
    shape = image_shape[1:] if per_channel else image_shape
    u, s, x, p = _singular_system(matrix, shape, penalty)
    return Decomposition(s, p, _DenseAnalysis(u, per_channel), _DenseSynthesis(x, shape))


class _DenseAnalysis:
    """:math:`U^T y` for a matrix U, of each channel or of whole measurements."""

    def __init__(self, u: Tensor, per_channel: bool):
        self.u, self.per_channel = Constant(u), per_channel

    @plain_mode()
    def __call__(self, y: Tensor) -> Tensor:
        if not self.per_channel:
            return real_vectors(y) @ self.u.like(y)
        return (real_vectors(y.flatten(0, 1)) @ self.u.like(y)).unflatten(0, y.shape[:2])


class _DenseSynthesis:
    """:math:`X c` for a matrix X, as images."""

    def __init__(self, x: Tensor, shape: tuple[int, ...]):
        self.x, self.shape = Constant(x.T.contiguous()), shape

    @plain_mode()
    def __call__(self, c: Tensor) -> Tensor:
        return (c @ self.x.like(c)).unflatten(-1, self.shape)


def _singular_system(
    matrix: Tensor, shape: tuple[int, ...], penalty: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """U, s, X and p, without the directions in which s vanishes."""
    if penalty == "identity":
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        keep = _nonzero(s) > 0
        return u[:, keep], s[keep], vh[keep].T, torch.ones_like(s[keep])
    # With A^T A + t D^T D = C C^T, the ordinary decomposition of A C^{-T} is the generalised one.
    planes = gradient_matrix(shape[-2:])
    gram = matrix.T @ matrix
    t = gram.trace() / (len(gram) * planes.diagonal().mean())
    total = gram + t * torch.block_diag(*[planes] * (len(gram) // len(planes)))
    factor, failed = torch.linalg.cholesky_ex(total)
    smallest = factor.diagonal().min() / factor.diagonal().max()
    if failed or smallest < RANK_TOLERANCE**0.5:
        _raise_no_mean()
    inverse = torch.linalg.solve_triangular(factor, torch.eye(len(gram)).to(gram), upper=False).T
    u, s, qh = torch.linalg.svd(matrix @ inverse, full_matrices=False)
    keep = _nonzero(s) > 0
    return u[:, keep], s[keep], inverse @ qh[keep].T, ((1 - s[keep] ** 2) / t).clamp_min(0)


def _nonzero(s: Tensor) -> Tensor:
    """Singular values, exactly zero where they count as zero."""
    return torch.where(s > RANK_TOLERANCE * s.max(), s, 0)


def _frequency_pairs(height: int, width: int) -> Tensor:
    """The same integer, from 0 without gaps, for each frequency and its negative."""
    here = torch.arange(height * width).unflatten(0, (height, width))
    negative = here.flip(0, 1).roll((1, 1), (0, 1))
    return torch.unique(torch.minimum(here, negative), return_inverse=True)[1]


def _raise_no_mean() -> None:
    raise ValueError(
        "penalty: expected an operator that sees constant images, for the gradient does not; this "
        "one maps them to zero"
    )
