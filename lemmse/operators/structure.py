"""What a pre-inverse does to white noise: the structure of ``B B^T``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..devices import plain_mode
from .checks import COMPLEX, REAL, check_tensor, describe


@dataclass(frozen=True)
class Stationary:
    """Noise whose covariance is circulant, the same for every channel.

    ``B B^T = F^H diag(spectrum) F`` with F the unitary discrete Fourier transform.

    Attributes:
        spectrum: (H, W) float64, non-negative and even, in the frequency order of
            ``torch.fft.fft2``. A frequency that B does not transmit is exactly zero.

    Example:
        >>> from lemmse.operators import Identity
        >>> Identity().preinverse("pinv", (1, 4, 4)).noise.spectrum.mean().item()
        1.0
    """

    spectrum: Tensor


@dataclass(frozen=True)
class Diagonal:
    """Noise that stays independent from pixel to pixel: ``B = diag(gain)``.

    Attributes:
        gain: (1, H, W), the same for every channel, or (C, H, W); float64.

    Example:
        >>> from lemmse.operators import Mask
        >>> Mask.central(2, (4, 4)).preinverse("pinv", (1, 4, 4)).noise.gain.sum().item()
        12.0
    """

    gain: Tensor


@dataclass(frozen=True)
class General:
    """Noise of any covariance ``B B^T``, given by B as a matrix.

    Attributes:
        matrix: float64, (H*W, m) if ``per_channel``, else (C*H*W, m). A complex measurement of
            m numbers counts as 2m real ones: the real parts first, then the imaginary parts.
        per_channel: whether the same matrix acts on each channel separately.

    Example:
        >>> from lemmse.operators import Tomography
        >>> noise = Tomography([0.0, 90.0], (4, 4)).preinverse("pinv", (1, 4, 4)).noise
        >>> noise.matrix.shape, noise.per_channel
        (torch.Size([16, 12]), True)
    """

    matrix: Tensor
    per_channel: bool


Noise = Stationary | Diagonal | General


@dataclass(frozen=True)
class PreInverse:
    """A linear map ``z = B y`` from measurements to images, and what it does to the noise.

    Attributes:
        name: what B is, for titles and messages.
        function: takes measurements y to images; `apply` calls it.
        noise: the structure of ``B B^T``, the covariance of ``B e`` for white noise e.
        image_shape: (C, H, W).
        measurement_shape: shape of one measurement.
        is_complex: whether measurements are complex.

    Example:
        >>> import torch
        >>> from lemmse.operators import Blur
        >>> blur = Blur.gaussian(1.0, (8, 8))
        >>> b = blur.preinverse("tikhonov", (1, 8, 8), 0.01)
        >>> b.apply(torch.ones(2, 1, 8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """

    name: str
    function: Callable[[Tensor], Tensor]
    noise: Noise
    image_shape: tuple[int, int, int]
    measurement_shape: tuple[int, ...]
    is_complex: bool = False

    @plain_mode()
    def apply(self, y: Tensor) -> Tensor:
        """Returns ``B y``.

        Args:
            y: (B, ...) measurements.

        Returns:
            (B, C, H, W), in the precision of y.

        Raises:
            ValueError: if y is no finite batch of measurements of this shape.
        """
        check_tensor(y, "y", COMPLEX if self.is_complex else REAL, ("B", *self.measurement_shape))
        z = self.function(y)
        if z.shape != (len(y), *self.image_shape):
            raise ValueError(
                f"expected the pre-inverse {self.name} to return {len(y)} images of shape "
                f"{self.image_shape}, got {describe(z)}"
            )
        return z
