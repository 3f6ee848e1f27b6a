"""Magnetic resonance imaging: undersampled Fourier transform."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

from .base import Constant, Operator
from .blur import Blur, negate_frequencies
from .checks import COMPLEX, check_images, check_positive, check_sizes, check_tensor
from .pixelwise import check_mask
from .structure import Stationary


class MRI(Operator):
    """Accelerated single-coil MRI of real images: ``A x = m * F x``.

    F is the unitary discrete Fourier transform of each channel, m one at the sampled frequencies
    and zero elsewhere, in the order of ``torch.fft.fft2`` (the zero frequency first). Measurements
    are complex, (B, C, H, W); their unsampled entries are zero, also in noise, and are ignored.

    Images are real, so the adjoint for the inner product ``Re <., .>`` is the real part of the
    zero-filled inverse, ``A_adjoint y = Re F^H (m * y)``, and ``A_adjoint A = F^H diag(s) F`` with
    ``s(k) = (m(k) + m(-k)) / 2``: a frequency sampled together with its negative has s = 1,
    alone s = 1/2. ``A_dagger`` divides the adjoint's spectrum by s where it is not zero,
    ``A_tikhonov`` by s + lambda.

    Args:
        mask: (H, W) boolean, or numbers 0 and 1.
        image_size: (H, W).

    Raises:
        ValueError: if the mask is not such a matrix of the image's size, or samples nothing.

    Example:
        >>> import torch
        >>> from lemmse.operators import MRI
        >>> mri = MRI(torch.ones(4, 4), (4, 4))
        >>> x = torch.rand(1, 1, 4, 4)
        >>> torch.allclose(mri.A_dagger(mri.A(x)), x, atol=1e-6)
        True
    """

    def __init__(self, mask: Tensor, image_size: Sequence[int]):
        super().__init__()
        self.image_shape = check_sizes(image_size, "image_size", ranks=(2,))
        mask = check_mask(mask, ranks=(2,)).double()
        if mask.shape != self.image_shape or not mask.any():
            raise ValueError(
                f"expected a mask of shape {self.image_shape} that samples something, got shape "
                f"{tuple(mask.shape)} with {int(mask.sum())} samples"
            )
        density = (mask + negate_frequencies(mask)) / 2
        self.mask = Constant(mask)
        self.density = Constant(density)
        self.inverse_density = Constant(torch.where(density > 0, 1 / density, 0))

    @classmethod
    def cartesian(
        cls,
        acceleration: float,
        image_size: Sequence[int],
        centre_fraction: float = 0.08,
        seed: int = 0,
    ) -> MRI:
        """Samples ``round(W / acceleration)`` of the W columns of k-space.

        The ``max(1, round(centre_fraction * W))`` columns of lowest frequency are always among
        them, the others are chosen at random: the random masks of fastMRI (Zbontar et al. 2018,
        arXiv 1811.08839).

        Args:
            acceleration: at least 1.
            image_size: (H, W).
            centre_fraction: share of the columns, from 0 to 1.
            seed: seed of the choice.

        Raises:
            ValueError: if the acceleration is below 1, the fraction is not between 0 and 1, or more
                columns belong to the centre than are to be sampled.

        Example:
            >>> from lemmse.operators import MRI
            >>> int(MRI.cartesian(4, (32, 32)).mask.value[0].sum())
            8
        """
        height, width = check_sizes(image_size, "image_size", ranks=(2,))
        if check_positive(acceleration, "acceleration") < 1:
            raise ValueError(f"expected acceleration to be at least 1, got {acceleration!r}")
        if not isinstance(centre_fraction, Real) or not 0 <= centre_fraction <= 1:
            raise ValueError(
                f"expected centre_fraction to be a number from 0 to 1, got {centre_fraction!r}"
            )
        total, centre = round(width / acceleration), max(1, round(centre_fraction * width))
        if centre > total:
            raise ValueError(
                f"expected at most {total} columns in the centre, as many as acceleration "
                f"{acceleration} samples, got {centre} from centre_fraction {centre_fraction}"
            )
        by_frequency = torch.fft.fftfreq(width, device="cpu").abs().argsort(stable=True)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(width - centre, generator=generator, device="cpu")
        rest = by_frequency[centre:][order]
        mask = torch.zeros(height, width, device="cpu")
        mask[:, by_frequency[:centre]] = 1
        mask[:, rest[: total - centre]] = 1
        return cls(mask, image_size)

    def measured(self, y: Tensor) -> Tensor:
        return y * self.mask.like(y)

    def A(self, x: Tensor) -> Tensor:
        check_images(x, "x", self.image_shape)
        return self.measured(torch.fft.fft2(x, norm="ortho"))

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.weighted_inverse(y, torch.ones_like(self.density.value))

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.weighted_inverse(y, self.inverse_density.value)

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        check_positive(regularisation, "regularisation")
        return self.weighted_inverse(y, 1 / (self.density.value + regularisation))

    def weighted_inverse(self, y: Tensor, weights: Tensor) -> Tensor:
        """Returns ``Re F^H (weights * m * y)``, for even weights."""
        check_tensor(y, "y", COMPLEX, ("B", "C", *self.image_shape))
        weights = (weights * self.mask.value).to(y.device, y.dtype.to_real())
        return torch.fft.ifft2(y * weights, norm="ortho").real

    def artefacts(self) -> Blur:
        """The filter ``A_adjoint A``, which lays moved copies of an image over it.

        Its kernel ``h = F^-1 s`` is the point-spread function of the sampling pattern.

        Example:
            >>> import torch
            >>> from lemmse.operators import MRI
            >>> mri = MRI.cartesian(4, (8, 8))
            >>> x = torch.rand(1, 1, 8, 8)
            >>> torch.allclose(mri.artefacts().A(x), mri.A_adjoint(mri.A(x)), atol=1e-6)
            True
        """
        kernel = torch.fft.ifft2(self.density.value).real
        centred = kernel.roll([side // 2 for side in self.image_shape], (0, 1))
        return Blur(centred, self.image_shape)

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> Stationary | None:
        s = self.density.value
        if kind == "adjoint":
            return Stationary(s)
        if kind == "pinv":
            return Stationary(self.inverse_density.value)
        if kind == "tikhonov":
            return Stationary(s / (s + regularisation) ** 2)
        return None
