"""Estimators that see the whole measurement: MMSE and equivariant MMSE."""

from __future__ import annotations

import torch
from torch import Tensor

from ..devices import plain_mode
from ..fields import whitening
from ..operators import Diagonal, Stationary
from ..operators.materialise import real_vectors
from ..reduction import Screen, State, combine, reduce
from .base import WeightedAverage
from .module import prepared
from .shifts import Shifts


class MMSE(WeightedAverage):
    r"""The best of all estimators under the empirical distribution of the training images.

    .. math:: \hat x(y) = \sum_k w_k x_k, \qquad w_k \propto e^{-\|y - A x_k\|^2 / 2 \sigma^2}

    At small :math:`\sigma` it returns a training image whatever the measurement: it memorises.

    Args:
        images: training images, (N, C, H, W).
        operator: the forward operator A; None is denoising.
        dtype: precision of the keys; the work is done in it wherever that is exact to 1e-4.

    Raises:
        ValueError: if the images are not a non-empty, finite batch or do not fit the operator.

    Source: the posterior mean of a discrete prior; [LE], section on the MMSE estimator.

    Example:
        >>> x = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> bool((MMSE(x)(x[:2], 0.01) - x[:2]).abs().max() < 1e-6)
        True
    """

    @plain_mode()
    def __init__(
        self, images: Tensor, operator: object = None, *, dtype: torch.dtype = torch.float32
    ):
        super().__init__(images, operator, dtype)

    @prepared
    def _source(self) -> Screen:
        """The measurements of the training images, as real vectors."""
        return self._screened(lambda x: real_vectors(self.operator.A(x)))

    def _evaluate(self, y: Tensor, sigma: Tensor, details: bool) -> State:
        queries = real_vectors(y)
        state = reduce(queries, sigma.square().reciprocal(), self._source, details)
        log_pdet = torch.zeros_like(sigma)
        constant = self._log_normaliser(self._noisy, log_pdet, sigma, self.total_images)
        return self._spread(state.shift(constant))

    def _spread(self, state: State) -> State:
        """From one state an image, (B), to one a pixel, (B, H*W)."""
        pixels = self.image_shape[1] * self.image_shape[2]
        pixel = torch.arange(pixels, device=state.mean.device)
        return _per_pixel(state, self._as_pixels, pixel)


class EquivariantMMSE(WeightedAverage):
    r"""The best estimator that commutes with all circular shifts of the pre-inverted image z = B y.

    Every shift :math:`T_s` of the image is as good as the image itself, so the MMSE estimate is
    averaged over all of them, each weighted with its evidence:

    .. math:: \hat x = \sum_{s, k} w_{s,k}\, T_s^{-1} x_k, \qquad
        w_{s,k} \propto e^{-\|W (T_s z - B A x_k)\|^2 / 2 \sigma^2}, \qquad W = (B B^T)^{+1/2}

    If :math:`B B^T` is singular, only those shifts count that map the image of B onto itself (the
    minimal-rank rule). The same estimator is LE-MMSE with the whole image as its patch.

    Args:
        images: training images, (N, C, H, W).
        operator: the forward operator A; None is denoising.
        preinverse: B, as in `operators.preinverse`.
        regularisation: lambda of the Tikhonov inverse.
        dtype: as for `MMSE`.

    Raises:
        ValueError: as for `MMSE`, or if B does not suit the operator.

    Source: [LE], equivariant MMSE.

    Example:
        >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> shifted = x[:1].roll(3, -1)
        >>> bool((EquivariantMMSE(x)(shifted, 0.01) - shifted).abs().max() < 1e-6)
        True
    """

    @plain_mode()
    def __init__(
        self,
        images: Tensor,
        operator: object = None,
        preinverse: object = None,
        *,
        regularisation: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__(images, operator, dtype)
        self.preinverse = self.operator.preinverse(preinverse, self.image_shape, regularisation)

    @prepared
    def _whitening(self) -> _WholeImage:
        return _whole_image_whitening(self.preinverse.noise, self.image_shape)

    @prepared
    def _source(self) -> Screen:
        """The training images as the estimator sees them, whitened."""
        apply = self._whitening.apply
        return self._screened(lambda x: apply(self.preinverse.apply(self.operator.A(x))))

    @prepared
    def _shifts(self) -> Shifts | None:
        """All shifts at once, where B is circulant: its whitening commutes with them."""
        if not isinstance(self.preinverse.noise, Stationary):
            return None
        return Shifts(self._source, self.image_shape)

    def _evaluate(self, y: Tensor, sigma: Tensor, details: bool) -> State:
        z = self.preinverse.apply(y)
        states = [self._evaluate_one(z[i], sigma[i], details) for i in range(len(z))]
        return combine(states, torch.stack)

    def _evaluate_one(self, z: Tensor, sigma: Tensor, details: bool) -> State:
        whitened, precision = self._whitening, sigma.square().reciprocal()
        shifts = whitened.shifts.to(z.device)
        if self._shifts is None:
            state = self._of_each_shift(z, precision, shifts, details)
        else:
            z = whitened.apply(z[None]).view_as(z)
            if not details and self._shifts.precise(z, precision):
                state = self._of_all_shifts(z, precision)
            else:
                near = self._shifts.near(z, precision, details)
                state = self._of_each_shift(z, precision, shifts[near], details)
        _, height, width = self.image_shape
        samples = self.total_images * height * width
        constant = self._log_normaliser(whitened.rank, whitened.log_pdet.to(sigma), sigma, samples)
        return state.shift(constant)

    def _of_all_shifts(self, z: Tensor, precision: Tensor) -> State:
        """The state of every pixel, (H*W), by FFT; z is whitened."""
        state = reduce(z.flatten()[None], precision, self._shifts)
        return State(state.log_sum.expand(z[0].numel()), self._as_pixels(state.mean[0]))

    def _of_each_shift(self, z: Tensor, precision: Tensor, shifts: Tensor, details: bool) -> State:
        """The same from some shifts, one after the other; z is whitened where they commute."""
        _, height, width = self.image_shape
        # T_s z [n] = z[n + s], and back: the estimate at n comes from pixel n - s.
        there = _displaced(shifts, 1, height, width)
        back = _displaced(shifts, -1, height, width)
        moved = z.flatten(1)[:, there].transpose(0, 1).unflatten(2, (height, width))
        queries = moved.flatten(1) if self._shifts else self._whitening.apply(moved)
        state = reduce(queries, precision, self._source, details)

        def move_back(flat: Tensor) -> Tensor:
            pixels = self._as_pixels(flat)
            return pixels.gather(1, back[..., None].expand_as(pixels))

        return _per_pixel(state, move_back, back).collapse(0)


def _per_pixel(state: State, as_pixels, pixel: Tensor) -> State:
    """Spreads a state of whole images, (n), over their pixels, (n, H*W).

    Args:
        state: mean (n, C*H*W), sources that are image indices.
        as_pixels: takes (n, C*H*W) to (n, H*W, C).
        pixel: where in the image the value of each pixel comes from, (H*W) or (n, H*W).
    """
    pixels = pixel.shape[-1]
    tensors = state.tensors()
    spread = [as_pixels(t) if t.ndim == 2 else t[:, None].expand(-1, pixels) for t in tensors]
    if state.details is not None:
        spread[-1] = spread[-1] * pixels + pixel
    return State.of(spread)


def _displaced(shifts: Tensor, sign: int, height: int, width: int) -> Tensor:
    """All pixel indices, displaced by shifts that are pixel indices themselves, (S, H*W)."""
    rows = torch.arange(height, device=shifts.device) + sign * (shifts // width)[:, None]
    columns = torch.arange(width, device=shifts.device) + sign * (shifts % width)[:, None]
    return (rows % height * width)[:, :, None].add(columns[:, None, :] % width).flatten(1)


class _WholeImage:
    """Whitening of whole images, and the shifts that leave the image of B where it is.

    Attributes:
        apply: takes images (n, C, H, W) to whitened vectors (n, D).
        rank, log_pdet: of B B^T.
        shifts: pixel indices s of the allowed shifts, (S,).
    """

    def __init__(self, apply, rank: int, log_pdet: Tensor, shifts: Tensor):
        self.apply, self.rank, self.log_pdet, self.shifts = apply, rank, log_pdet, shifts


def _whole_image_whitening(noise, image_shape) -> _WholeImage:
    if isinstance(noise, Stationary):
        return _whiten_stationary(noise, image_shape)
    if isinstance(noise, Diagonal):
        return _whiten_diagonal(noise, image_shape)
    return _whiten_general(noise, image_shape)


def _whiten_stationary(noise, image_shape) -> _WholeImage:
    channels, height, width = image_shape
    support = noise.spectrum > 0
    gain = torch.where(support, noise.spectrum, 1.0).rsqrt() * support

    def apply(z: Tensor) -> Tensor:
        if (noise.spectrum == 1).all():
            return z.flatten(1)
        return torch.fft.ifft2(torch.fft.fft2(z) * gain.to(z)).real.flatten(1)

    log_pdet = channels * noise.spectrum[support].log().sum()
    every = torch.arange(height * width)
    return _WholeImage(apply, channels * int(support.sum()), log_pdet, every)


def _whiten_diagonal(noise, image_shape) -> _WholeImage:
    _, height, width = image_shape
    gain = noise.gain.expand(image_shape)
    visible = gain != 0
    every = torch.arange(height * width)
    moved = visible.flatten(1)[:, _displaced(every, 1, height, width)]
    allowed = (moved == visible.flatten(1)[:, None, :]).all(2).all(0)

    def apply(z: Tensor) -> Tensor:
        return z[:, visible.to(z.device)] / gain[visible].to(z)

    log_pdet = gain[visible].square().log().sum()
    return _WholeImage(apply, int(visible.sum()), log_pdet, every[allowed])


def _whiten_general(noise, image_shape) -> _WholeImage:
    channels, height, width = image_shape
    matrix, log_pdet, rank = whitening((noise.matrix @ noise.matrix.T)[None])
    matrix, log_pdet, rank = matrix[0, : rank[0]], log_pdet[0], int(rank[0])
    copies = channels if noise.per_channel else 1

    def apply(z: Tensor) -> Tensor:
        return (z.reshape(len(z), copies, -1) @ matrix.to(z).T).flatten(1)

    shifts = torch.arange(height * width)
    if rank < matrix.shape[1]:
        basis = torch.nn.functional.normalize(matrix, dim=1)
        planes = basis.unflatten(1, (-1, height, width))
        kept = [
            (basis @ planes.roll((s // width, s % width), (-2, -1)).flatten(1).T).square().sum()
            for s in range(height * width)
        ]
        shifts = shifts[(torch.stack(kept) - rank).abs() < 1e-6]
    return _WholeImage(apply, copies * rank, copies * log_pdet, shifts)
