"""The best affine function of a patch: what a comparison with LE-MMSE has to be seen beside."""

from __future__ import annotations

import torch
from torch import Tensor

from ..devices import plain_mode, precise
from ..fields import Field, as_field, extract, patch_covariances
from ..fields.whitening import view_covariances
from ..operators import Diagonal, Stationary
from ..operators.structure import Noise
from .base import IMAGES_AT_ONCE, Estimator
from .module import prepared


class LinearFilter(Estimator):
    r"""The affine function of the P x P patch with the least mean square error: one for all pixels.

    .. math:: f(v) = \bar x + \Sigma_{xv} \left(\Sigma_{vv} + \sigma^2\, \overline{Q_n Q_n^T}
        \right)^{-1} (v - \bar v), \qquad v = Q_n y, \quad Q_n = \Pi_n E B

    Means and covariances run over all pixels n of all training images, without noise; with a period
    s, over the pixels of each of the s^2 phases, which have a function each. So it is what a single
    convolution with this padding, mask and stride can do at best. It minimises
    the risk of LE-MMSE among the affine functions, so LE-MMSE is never worse on its training
    images: where a network is as near to LE-MMSE as this filter, it shows nothing. With P = 1 it
    is the affine guess of a pixel from itself. Everything is computed in float64 (float32 on
    Apple's GPUs), and casting it changes nothing.

    Args:
        images: training images, (N, C, H, W).
        operator: the forward operator A; None is denoising.
        preinverse: B, see `lemmse.operators.preinverse`.
        patch_size: P, odd; None is the side of the field, 5 without one.
        regularisation: lambda of "tikhonov".
        padding, period, field: what is seen, as for `LEMMSE`.

    Attributes:
        operator, preinverse, field, patch_size: A, B, what is seen, and P.

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
        patch_size: int | None = None,
        regularisation: float = 0.01,
        padding: str = "circular",
        period: int = 1,
        field: object = None,
    ):
        super().__init__(images, operator)
        self.field = as_field(patch_size, padding, period, field)
        self.field.check_fits(self.image_shape[1:])
        self.patch_size = self.field.patch_size
        self.preinverse = self.operator.preinverse(preinverse, self.image_shape, regularisation)
        moments = self._moments(images)
        mean = moments[:, 0, 1:]
        noise = mean_noise_covariance(self.preinverse.noise, self.field, self.image_shape)
        self.register_buffer("_mean", mean)
        self.register_buffer("_covariance", moments[:, 1:, 1:] - mean[:, :, None] * mean[:, None])
        self.register_buffer("_noise", noise.to(mean))
        self.register_buffer("_largest", mean.new_tensor(self._largest_measured(images)))

    def _estimate(self, y: Tensor, sigma: Tensor) -> Tensor:
        channels, (height, width) = self.image_shape[0], self.image_shape[1:]
        z = self.preinverse.apply(y).to(self._mean)
        values = z.new_zeros(len(z), height * width, channels)
        for phase, (mean, covariance) in enumerate(zip(self._mean, self._covariance, strict=True)):
            of_patch = covariance[channels:, channels:]
            matrix = of_patch + sigma.square()[:, None, None] * self._noise[phase]
            # Pixels that are never seen have no variance: the pseudo-inverse leaves them out.
            weights = torch.linalg.pinv(matrix, hermitian=True) @ covariance[channels:, :channels]
            here = self._locations(phase, z.device)
            patches = extract(z, self.field, here)
            found = mean[:channels] + (patches - mean[channels:]) @ weights
            values = values.index_copy(1, here, found)
        return values.mT.unflatten(2, (height, width))

    @prepared
    def _scale(self) -> float:
        return self._largest.item() or 1.0

    def _locations(self, phase: int, device: torch.device) -> Tensor:
        """The pixels of a phase."""
        height, width = self.image_shape[1:]
        every = torch.arange(height * width, device=device)
        return every[self.field.phase(every, width) == phase]

    def _moments(self, images: Tensor) -> Tensor:
        """For each phase the mean of r r^T over images and its pixels n, r = (1, x[n], patch at n).

        Returns:
            (s^2, d, d) with d = 1 + C + C P^2.
        """
        masks = self.field.mask.flatten(0, 1).flatten(1).to(images.device)
        shown = masks.repeat(1, self.image_shape[0])
        places = [self._locations(phase, images.device) for phase in range(len(shown))]
        products = [0] * len(shown)
        for x in images.split(IMAGES_AT_ONCE):
            x = x.to(precise(images.device))
            z = self.preinverse.apply(self.operator.A(x))
            for phase, here in enumerate(places):
                pixels = x.flatten(2).mT[:, here].flatten(0, 1)
                patches = extract(z, self.field, here).flatten(0, 1) * shown[phase]
                rows = torch.cat([torch.ones_like(pixels[:, :1]), pixels, patches], 1)
                products[phase] = products[phase] + rows.mT @ rows
        counts = [len(images) * len(here) for here in places]
        return torch.stack([total / n for total, n in zip(products, counts, strict=True)])


def mean_noise_covariance(noise: Noise, field: Field, image_shape: tuple[int, int, int]) -> Tensor:
    r"""The mean over the pixels n of a phase of :math:`Q_n Q_n^T`, for white noise of variance 1.

    Returns:
        (s^2, C P^2, C P^2), float64; zero where nothing is seen.

    Example:
        >>> from lemmse.operators import Identity
        >>> gain = Identity().preinverse(None, (1, 4, 4)).noise
        >>> mean_noise_covariance(gain, as_field(3), (1, 4, 4))[0].diagonal().sum().item()
        9.0
    """
    views = field.views(image_shape[1:])
    channels = image_shape[0]
    if isinstance(noise, Stationary):
        share = torch.bincount(views.label).double()
        covariance = view_covariances(noise.spectrum, views)
        return _blocks(_mean_by_phase(covariance, share, views.phase), channels)
    every, phase = torch.ones(len(views.label)).double(), views.phase[views.label]
    if isinstance(noise, Diagonal):
        same = views.first[:, :, None] == views.first[:, None, :]
        same &= views.seen[:, :, None] & views.seen[:, None, :]
        gains = extract(noise.gain.double().expand(image_shape)[None], field)[0]
        parts = [
            _mean_by_phase(g[:, :, None] * g[:, None, :] * same[views.label], every, phase)
            for g in gains.unflatten(1, (channels, -1)).unbind(1)
        ]
        return torch.stack([torch.block_diag(*of_phase) for of_phase in zip(*parts, strict=True)])
    covariance = patch_covariances(noise, field, views, image_shape)
    mean = _mean_by_phase(covariance, every, phase)
    return _blocks(mean, channels if noise.per_channel else 1)


def _mean_by_phase(covariance: Tensor, weight: Tensor, phase: Tensor) -> Tensor:
    """Weighted means of covariances (K, d, d) of some phases (K,): (s^2, d, d)."""
    means = []
    for p in range(int(phase.max()) + 1):
        w = weight * (phase == p)
        means.append(torch.einsum("k,kij->ij", w / w.sum(), covariance.double()))
    return torch.stack(means)


def _blocks(covariance: Tensor, channels: int) -> Tensor:
    """Block-diagonal matrices of C times the same block, for each of (s^2, d, d)."""
    return torch.stack([torch.block_diag(*[one] * channels) for one in covariance])
