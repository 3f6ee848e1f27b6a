"""The best affine function of a patch: what a comparison with LE-MMSE has to be seen beside."""

from __future__ import annotations

import torch
from torch import Tensor

from ..devices import plain_mode, precise
from ..fields import as_field, extract, patch_covariances, toeplitz_covariance
from ..operators import Diagonal, Stationary
from ..operators.structure import Noise
from .base import IMAGES_AT_ONCE, Estimator
from .module import prepared


class LinearFilter(Estimator):
    r"""The affine function of the P x P patch with the least mean square error: one for all pixels.

    .. math:: f(v) = \bar x + \Sigma_{xv} \left(\Sigma_{vv} + \sigma^2\, \overline{Q_n Q_n^T}
        \right)^{-1} (v - \bar v), \qquad v = Q_n y, \quad Q_n = \Pi_n B

    Means and covariances run over all pixels n of all training images, without noise. It minimises
    the risk of LE-MMSE among the affine functions, so LE-MMSE is never worse on its training
    images: where a network is as near to LE-MMSE as this filter, it shows nothing. With P = 1 it
    is the affine guess of a pixel from itself. Everything is computed in float64 (float32 on
    Apple's GPUs), and casting it changes nothing.

    Args:
        images: training images, (N, C, H, W).
        operator: the forward operator A; None is denoising.
        preinverse: B, see `lemmse.operators.preinverse`.
        patch_size: P, odd.
        regularisation: lambda of "tikhonov".

    Attributes:
        operator, preinverse, patch_size: A, B and P.

    Raises:
        ValueError: the images are not a non-empty, finite batch, the patch does not fit them, or
            operator or pre-inverse do not.

    Source: N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series, 1949.

    Example:
        >>> x = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1)  # mean 1, variance 1
        >>> LinearFilter(x, patch_size=1)(torch.tensor([[[[3.0]]]]), sigma=1.0).item()
        2.0
    """

    @plain_mode()
    @torch.no_grad()
    def __init__(
        self,
        images: Tensor,
        operator: object = None,
        preinverse: object = None,
        patch_size: int = 5,
        regularisation: float = 0.01,
    ):
        super().__init__(images, operator)
        as_field(patch_size).check_fits(self.image_shape[1:])
        self.patch_size = patch_size
        self.preinverse = self.operator.preinverse(preinverse, self.image_shape, regularisation)
        high = precise(images.device)
        total, products = 0, 0
        for x in images.split(IMAGES_AT_ONCE):
            rows = self._rows(x.to(high))
            products = products + rows.T @ rows
            total += len(rows)
        moments = products / total
        mean = moments[0, 1:]
        noise = mean_noise_covariance(self.preinverse.noise, patch_size, self.image_shape)
        self.register_buffer("_mean", mean)
        self.register_buffer("_covariance", moments[1:, 1:] - torch.outer(mean, mean))
        self.register_buffer("_noise", noise.to(mean))
        self.register_buffer("_largest", mean.new_tensor(self._largest_measured(images)))

    def _estimate(self, y: Tensor, sigma: Tensor) -> Tensor:
        channels = self.image_shape[0]
        of_patch = self._covariance[channels:, channels:]
        matrix = of_patch + sigma.square()[:, None, None] * self._noise
        # Pixels that are always hidden have no variance: the pseudo-inverse leaves them out.
        weights = torch.linalg.pinv(matrix, hermitian=True) @ self._covariance[channels:, :channels]
        patches = extract(self.preinverse.apply(y).to(weights), self.patch_size)
        values = self._mean[:channels] + (patches - self._mean[channels:]) @ weights
        return values.mT.unflatten(2, self.image_shape[1:])

    @prepared
    def _scale(self) -> float:
        return self._largest.item() or 1.0

    def _rows(self, x: Tensor) -> Tensor:
        """One row (1, x[n], patch of B A x at n) for every pixel n of every image."""
        z = self.preinverse.apply(self.operator.A(x))
        pixels = x.flatten(2).mT.flatten(0, 1)
        patches = extract(z, self.patch_size).flatten(0, 1)
        return torch.cat([torch.ones_like(pixels[:, :1]), pixels, patches], 1)


def mean_noise_covariance(
    noise: Noise, patch_size: int, image_shape: tuple[int, int, int]
) -> Tensor:
    r"""The mean over all pixels n of :math:`Q_n Q_n^T`, for white noise of variance 1.

    Returns:
        (C P^2, C P^2), float64.

    Example:
        >>> from lemmse.operators import Identity
        >>> gain = Identity().preinverse(None, (1, 4, 4)).noise
        >>> mean_noise_covariance(gain, 3, (1, 4, 4)).diagonal().sum().item()
        9.0
    """
    channels = image_shape[0]
    if isinstance(noise, Stationary):
        return torch.block_diag(*[toeplitz_covariance(noise.spectrum, patch_size)] * channels)
    if isinstance(noise, Diagonal):
        gains = extract(noise.gain.expand(image_shape)[None], patch_size)[0]
        return gains.double().square().mean(0).diag()
    field = as_field(patch_size)
    views = field.views(image_shape[1:])
    covariance = patch_covariances(noise, field, views, image_shape).mean(0)
    return torch.block_diag(*[covariance] * (channels if noise.per_channel else 1))
