"""The noise in a patch: its covariance, and what makes it white."""

from __future__ import annotations

import torch
from torch import Tensor

from .field import Views

# Eigenvalues below this fraction of the largest one count as zero: the covariances are computed in
# float64, whose rounding leaves about 1e-15 of the largest eigenvalue in a null direction.
RANK_TOLERANCE = 1e-11


def toeplitz_covariance(spectrum: Tensor, patch_size: int) -> Tensor:
    r"""Covariance between the pixels of a patch of stationary noise.

    .. math:: \Sigma_{ij} = S[(p_i - p_j) \bmod (H, W)], \qquad S = \mathrm{ifft2}(|\hat b|^2)

    Args:
        spectrum: :math:`|\hat b|^2`, (H, W) float64.
        patch_size: P.

    Returns:
        (P*P, P*P) float64.

    Example:
        >>> toeplitz_covariance(torch.ones(5, 5, dtype=torch.float64), 3).diagonal().mean().item()
        1.0
    """
    height, width = spectrum.shape
    autocovariance = torch.fft.ifft2(spectrum).real
    side = torch.arange(patch_size)
    row, column = (axis.reshape(-1) for axis in torch.meshgrid(side, side, indexing="ij"))
    return autocovariance[
        (row[:, None] - row[None, :]) % height, (column[:, None] - column[None, :]) % width
    ]


def view_covariances(spectrum: Tensor, views: Views) -> Tensor:
    """Covariances between the elements of some views of stationary noise, (K, P*P, P*P).

    Args:
        spectrum: as in `toeplitz_covariance`.
        views: from `Field.views`; what is not seen carries no noise.
    """
    height, width = spectrum.shape
    autocovariance = torch.fft.ifft2(spectrum).real
    apart = views.offsets[:, :, None] - views.offsets[:, None, :]
    covariance = autocovariance[apart[..., 0] % height, apart[..., 1] % width]
    seen = views.seen.to(covariance)
    return covariance * seen[:, :, None] * seen[:, None, :]


def whitening(covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Whitening matrices of positive semi-definite matrices, degenerate ones included.

    From the eigendecomposition :math:`\Sigma = U \Lambda U^T` with r eigenvalues above rounding:
    :math:`W = \Lambda_r^{-1/2} U_r^T`, so that :math:`W \Sigma W^T = I_r` and
    :math:`\|W v\|^2 = v^T \Sigma^+ v`.

    Args:
        covariance: (..., d, d), float64.

    Returns:
        W, (..., d, d), whose rows from r on are zero; the log pseudo-determinant (...); r (...).
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(-1), vectors.flip(-1)
    keep = values > RANK_TOLERANCE * values[..., :1].clamp_min(0)
    scale = torch.where(keep, values, 1.0)
    matrix = vectors.mT * (keep / scale.sqrt())[..., None]
    return matrix, scale.log().sum(-1), keep.sum(-1)
