"""The best of all affine estimators: the Wiener filter and its kin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..devices import plain_mode, precise
from ..operators import Stationary
from ..operators.materialise import real_vectors
from .base import IMAGES_AT_ONCE, Estimator, NoiseLevel, answer_dtype
from .module import prepared


class LinearMMSE(Estimator):
    r"""The affine function of y with the least mean square error over the training images.

    .. math:: \hat x = \mu + C A^T (A C A^T + \sigma^2 I)^{-1} (y - A \mu)

    with :math:`\mu` and C the mean and the covariance (over N, not N - 1) of the training images.
    It is the posterior mean of the Gaussian prior that has the same two moments. With
    ``stationary`` the moments are averaged over all circular shifts: :math:`\mu` is constant on
    each channel and C is circulant, :math:`S(k)` at frequency k; for an operator that is circulant,
    too, with singular values s(k), this is the Wiener filter

    .. math:: \hat x = \mu + F^H \frac{S}{s^2 S + \sigma^2} F A^T (y - A \mu)

    Channels are correlated in both. Everything is computed in float64 (float32 on Apple's GPUs),
    and casting it changes nothing.

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

    @plain_mode()
    @torch.no_grad()
    def __init__(self, images: Tensor, operator: object = None, stationary: bool = False):
        super().__init__(images, operator)
        self.stationary = stationary
        images = images.to(precise(images.device))
        mean = images.mean((0, 2, 3) if stationary else 0, keepdim=True)[0]
        mean = mean.expand(self.image_shape).clone()
        centred = images - mean
        noise = self.operator.preinverse("adjoint", self.image_shape).noise
        spectrum = power_spectrum(centred) if stationary else None
        circulant = noise.spectrum if stationary and isinstance(noise, Stationary) else None
        self.register_buffer("mean", mean)
        self.register_buffer("spectrum", spectrum)
        self.register_buffer("_largest", mean.new_tensor(self._largest_measured(images)))
        self.register_buffer("_circulant", circulant)
        if circulant is None:
            self._factorise(circulant_root(spectrum) if stationary else centred)

    @plain_mode()
    def log_density(self, y: Tensor, sigma: NoiseLevel) -> Tensor:
        r"""The log-density of measurements under the Gaussian prior; differentiable, as a call is.

        .. math:: \log \mathcal N(y;\; A \mu,\, A C A^T + \sigma^2 I)

        Arguments and errors as for a call.

        Returns:
            (B,), in the precision of y, or in float32 if that is lower.

        Example:
            >>> x = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1)  # mean 1, variance 1
            >>> round(LinearMMSE(x).log_density(torch.ones(1, 1, 1, 1), sigma=1.0).exp().item(), 4)
            0.2821
        """
        measured, sigma = self._checked(y, sigma)
        residual, variance = self._residual(measured), sigma.square()
        # (A C A^T + sigma^2 I)^{-1} r = (r - A x) / sigma^2 with x the estimate of r.
        left = residual - self.operator.A(self._centred_estimate(residual, variance))
        square = (real_vectors(residual) * real_vectors(left)).sum(1) / variance
        ratios = self._eigenvalues.flatten() / variance[:, None]
        noise = self._noisy * (2 * math.pi * variance).log()
        return (-(noise + ratios.log1p().sum(1) + square) / 2).to(answer_dtype(y))

    def _estimate(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self.mean + self._centred_estimate(self._residual(y), sigma.square())

    def _residual(self, y: Tensor) -> Tensor:
        return self.operator.measured(y) - self.operator.A(self.mean[None])

    def _centred_estimate(self, residual: Tensor, variance: Tensor) -> Tensor:
        estimate = self._wiener if self._circulant is not None else self._dense
        return estimate(residual, variance)

    @prepared
    def _eigenvalues(self) -> Tensor:
        """Those of A C A^T that are not 0, and perhaps some zeros."""
        return self._s.square() if self._circulant is None else self._decomposed[0].clamp_min(0)

    @prepared
    def _decomposed(self) -> tuple[Tensor, Tensor] | None:
        """The eigenvalues and eigenvectors of s^2 S at each frequency; None unless circulant."""
        if self._circulant is None:
            return None
        gain = self._circulant[..., None, None].to(self.spectrum) * self.spectrum
        return torch.linalg.eigh(gain)

    @prepared
    def _scale(self) -> float:
        return self._largest.item() or 1.0

    def _factorise(self, root: Tensor) -> None:
        """From R, (r, C, H, W) with C = R^T R / r: the SVD of A R^T."""
        measured = torch.cat(
            [real_vectors(self.operator.A(part)) for part in root.split(IMAGES_AT_ONCE)]
        )
        p, s, qh = torch.linalg.svd(measured / math.sqrt(len(root)), full_matrices=False)
        self.register_buffer("_s", s)
        self.register_buffer("_qh", qh)
        self.register_buffer("_gain", p.T @ root.flatten(1) / math.sqrt(len(root)))

    def _dense(self, residual: Tensor, variance: Tensor) -> Tensor:
        """With :math:`A R^T = Q s P^T`: the rows of R, combined by P s / (s^2 + sigma^2) Q^T r."""
        coefficients = real_vectors(residual) @ self._qh.T
        coefficients = coefficients * self._s / (self._s.square() + variance[:, None])
        return (coefficients @ self._gain).reshape(-1, *self.image_shape)

    def _wiener(self, residual: Tensor, variance: Tensor) -> Tensor:
        back = torch.fft.fft2(self.operator.A_adjoint(residual)).permute(2, 3, 1, 0)
        # (s^2 S + sigma^2 I)^{-1} and S commute; the former first, for each sigma its own.
        eigenvalues, vectors = self._decomposed
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
