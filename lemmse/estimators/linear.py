"""The best of all affine estimators: the Wiener filter and its kin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..devices import precise
from ..operators import Identity, Operator, Stationary, as_operator
from ..operators.checks import check_finite, check_images, noise_levels
from ..operators.materialise import real_vectors
from .base import real_dtype

IMAGES_AT_ONCE = 256


class LinearMMSE:
    r"""The affine function of y with the least mean square error over the training images.

    .. math:: \hat x = \mu + C A^T (A C A^T + \sigma^2 I)^{-1} (y - A \mu)

    with :math:`\mu` and C the mean and the covariance (over N, not N - 1) of the training images.
    It is the posterior mean of the Gaussian prior that has the same two moments. With
    ``stationary`` the moments are averaged over all circular shifts: :math:`\mu` is constant on
    each channel and C is circulant, :math:`S(k)` at frequency k; for an operator that is circulant,
    too, with singular values s(k), this is the Wiener filter

    .. math:: \hat x = \mu + F^H \frac{S}{s^2 S + \sigma^2} F A^T (y - A \mu)

    Channels are correlated in both. Everything is computed in float64 (float32 on Apple's GPUs).

    Args:
        images: training images, (N, C, H, W).
        operator: the forward operator A; None is denoising.
        stationary: use the moments of all circular shifts of the training images.

    Attributes:
        operator: A.
        mean: :math:`\mu`, (C, H, W), float64.
        spectrum: S, (H, W, C, C) complex128 in the frequency order of ``fft2``, the power spectrum
            of the images without their mean, for the unitary transform; None unless stationary.

    Raises:
        ValueError: the images are not a non-empty, finite batch or do not fit the operator.

    Source: N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series, 1949;
        S. M. Kay, Fundamentals of Statistical Signal Processing I, 1993, chapter 12.

    Example:
        >>> x = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1)  # mean 1, variance 1
        >>> LinearMMSE(x)(torch.tensor([[[[3.0]]]]), sigma=1.0).item()
        2.0
    """

    def __init__(self, images: Tensor, operator: object = None, stationary: bool = False):
        check_images(images, "the training images", None)
        self.image_shape = tuple(images.shape[1:])
        self.operator: Operator = as_operator(
            Identity() if operator is None else operator, self.image_shape
        )
        images = images.to(precise(images.device))
        self.mean = images.mean((0, 2, 3) if stationary else 0, keepdim=True)[0]
        self.mean = self.mean.expand(self.image_shape)
        centred = images - self.mean
        self.spectrum = power_spectrum(centred) if stationary else None
        noise = self.operator.preinverse("adjoint", self.image_shape).noise
        self._circulant = noise.spectrum if stationary and isinstance(noise, Stationary) else None
        if self._circulant is None:
            self._factorise(circulant_root(self.spectrum) if stationary else centred)

    def __call__(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Estimates the images behind some measurements.

        Args:
            y: measurements, as ``operator.measure`` makes them, on the device of the images.
            sigma: standard deviation of the noise, > 0: a number, or (B,).

        Returns:
            (B, C, H, W), in the precision of y.

        Raises:
            ValueError: y does not fit the operator, or sigma is not positive.
        """
        blank = self.operator.A(self.mean[None])
        if not isinstance(y, Tensor) or y.shape[1:] != blank.shape[1:] or len(y) == 0:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"y: expected shape (B, {', '.join(map(str, blank.shape[1:]))}), got {got}"
            )
        check_finite(y, "y")
        variance = noise_levels(sigma, len(y), self.mean.dtype, y.device).square()
        residual = self.operator.measured(y.to(blank.dtype)) - blank
        estimate = self._wiener if self._circulant is not None else self._dense
        return (self.mean + estimate(residual, variance)).to(real_dtype(y))

    def _factorise(self, root: Tensor) -> None:
        """From R, (r, C, H, W) with C = R^T R / r: the SVD of A R^T."""
        measured = torch.cat(
            [real_vectors(self.operator.A(part)) for part in root.split(IMAGES_AT_ONCE)]
        )
        p, self._s, self._qh = torch.linalg.svd(
            measured / math.sqrt(len(root)), full_matrices=False
        )
        self._gain = p.T @ root.flatten(1) / math.sqrt(len(root))

    def _dense(self, residual: Tensor, variance: Tensor) -> Tensor:
        """With :math:`A R^T = Q s P^T`: the rows of R, combined by P s / (s^2 + sigma^2) Q^T r."""
        coefficients = real_vectors(residual) @ self._qh.T
        coefficients = coefficients * self._s / (self._s.square() + variance[:, None])
        return (coefficients @ self._gain).reshape(-1, *self.image_shape)

    def _wiener(self, residual: Tensor, variance: Tensor) -> Tensor:
        back = torch.fft.fft2(self.operator.A_adjoint(residual)).permute(2, 3, 1, 0)
        gain = self._circulant[..., None, None].to(self.spectrum) * self.spectrum
        # (s^2 S + sigma^2 I)^{-1} and S commute; the former first, for each sigma its own.
        eigenvalues, vectors = torch.linalg.eigh(gain)
        rotated = vectors.mH @ back / (eigenvalues[..., None] + variance)
        return torch.fft.ifft2((self.spectrum @ (vectors @ rotated)).permute(3, 2, 0, 1)).real


def power_spectrum(images: Tensor) -> Tensor:
    """The mean of F x (F x)^H at each frequency, (H, W, C, C), for the unitary transform F.

    Example:
        >>> x = torch.randn(1000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> round(power_spectrum(x).mean().real.item(), 1)
        1.0
    """
    total = 0
    for part in images.split(IMAGES_AT_ONCE):
        f = torch.fft.fft2(part, norm="ortho").permute(2, 3, 1, 0)
        total = total + f @ f.mH
    return total / len(images)


def circulant_root(spectrum: Tensor) -> Tensor:
    """Images R, (r, C, H, W), with the circulant covariance R^T R / r of this power spectrum."""
    height, width, channels, _ = spectrum.shape
    eigenvalues, vectors = torch.linalg.eigh(spectrum)
    root = vectors * eigenvalues.clamp_min(0).sqrt()[..., None, :] @ vectors.mH
    kernels = torch.fft.ifft2(root.permute(3, 2, 0, 1)).real  # of the transpose, (C, C, H, W)
    shifts = [
        kernels.roll((row, column), (2, 3)) for row in range(height) for column in range(width)
    ]
    return torch.cat(shifts) * math.sqrt(height * width * channels)
