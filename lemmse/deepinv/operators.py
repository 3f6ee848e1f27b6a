"""Operators in the conventions of deepinv, where those differ from ours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..operators import MRI, Constant, General, Mask, Operator, PreInverse, Stationary
from ..operators.base import MatrixMap
from ..operators.blur import negate_frequencies
from ..operators.checks import check_images, check_positive, check_sizes
from ..operators.pixelwise import check_mask
from ..operators.structure import Noise

PLANE = (-2, -1)


class Inpainting(Mask):
    """Inpainting as in deepinv: hidden pixels of a measurement are exactly zero, without noise.

    So ``B = I`` is the same as ``B = A``: the noise is that of the visible pixels alone.

    Args:
        mask: as for `lemmse.operators.Mask`.

    Raises:
        ValueError: as for `lemmse.operators.Mask`.

    Example:
        >>> import torch
        >>> mask = Inpainting(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        >>> mask.measure(torch.zeros(1, 1, 2, 2), 1.0)[0, 0, 0, 1].item()
        0.0
    """

    def measured(self, y: Tensor) -> Tensor:
        return y * self.mask.like(y)

    def preinverse(
        self,
        kind: object = None,
        image_shape: tuple[int, int, int] | None = None,
        regularisation: float = 0.01,
    ) -> PreInverse:
        if kind is None or (isinstance(kind, str) and kind == "identity"):
            kind = "adjoint"
        return super().preinverse(kind, image_shape, regularisation)

    def map_of_operator(
        self, inverse: Operator, image_shape: tuple[int, int, int]
    ) -> tuple[Callable[[Tensor], Tensor], Noise]:
        noise = self.written_out(inverse.A, image_shape)
        return MatrixMap(noise, image_shape), noise


class RealImageMRI(Operator):
    """Our `MRI` of real grey images, its measurements laid out as deepinv lays out k-space.

    Measurements are real, (B, 2, H, W), real and imaginary part, with the zero frequency in the
    middle and the origin of the image at pixel (H // 2, W // 2): what ``deepinv.physics.MRI`` makes
    of images without imaginary part.

    Args:
        mri: the operator, its mask in the order of ``torch.fft.fft2``.

    Example:
        >>> import torch
        >>> from lemmse.operators import MRI
        >>> mri = RealImageMRI(MRI(torch.ones(4, 4), (4, 4)))
        >>> y = mri.A(torch.ones(1, 1, 4, 4))
        >>> y.shape, y[0, 0, 2, 2].item()
        (torch.Size([1, 2, 4, 4]), 4.0)
    """

    def __init__(self, mri: MRI):
        super().__init__()
        self.mri = mri
        self.image_shape = (1, *mri.image_shape)
        self.phase = Constant(phase_of_centre(mri.image_shape))

    @classmethod
    def centred(cls, mask: Tensor) -> RealImageMRI:
        """The operator with a mask (H, W) whose zero frequency is in the middle."""
        return cls(MRI(torch.fft.ifftshift(mask, dim=PLANE), tuple(mask.shape)))

    def laid_out(self, y: Tensor) -> Tensor:
        """Turns complex measurements (B, 1, H, W) of ``mri`` into real ones, (B, 2, H, W)."""
        y = torch.fft.fftshift(y * self.phase.like(y), dim=PLANE)
        return torch.cat([y.real, y.imag], 1)

    def natural(self, y: Tensor) -> Tensor:
        """Undoes `laid_out`, which is unitary."""
        check_images(y, "y", (2, *self.mri.image_shape))
        y = torch.fft.ifftshift(torch.complex(*y.chunk(2, dim=1)), dim=PLANE)
        return y * self.phase.like(y).conj()

    def measured(self, y: Tensor) -> Tensor:
        return self.laid_out(self.mri.measured(self.natural(y)))

    def A(self, x: Tensor) -> Tensor:
        check_images(x, "x", self.image_shape)
        return self.laid_out(self.mri.A(x))

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.mri.A_adjoint(self.natural(y))

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.mri.A_dagger(self.natural(y))

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        return self.mri.A_tikhonov(self.natural(y), regularisation)

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> Stationary | None:
        return self.mri.structure(kind, image_shape, regularisation)


def phase_of_centre(image_size: tuple[int, int]) -> Tensor:
    r"""What moving the origin of an image to pixel c = (H // 2, W // 2) does to its transform.

    .. math:: e^{2 \pi i (k_1 c_1 / H + k_2 c_2 / W)}

    Returns:
        (H, W) complex128, in the order of ``fft2``.

    Example:
        >>> phase_of_centre((1, 2)).real
        tensor([[ 1., -1.]], dtype=torch.float64)
    """
    rows, columns = (
        torch.exp(2j * torch.pi * torch.arange(n, dtype=torch.float64, device="cpu") * (n // 2) / n)
        for n in image_size
    )
    return rows[:, None] * columns


class ComplexImageMRI(Operator):
    """MRI of complex images, as in deepinv: channels 0 and 1 are real and imaginary part.

    ``A x = m * F x`` with F the unitary discrete Fourier transform, zero frequency in the middle,
    origin of the image at pixel (H // 2, W // 2). A A^T is a projection, so ``A_dagger`` is
    ``A_adjoint`` and ``A_tikhonov`` is ``A_adjoint / (1 + lambda)``.

    Args:
        mask: (H, W), boolean or numbers 0 and 1, the zero frequency in the middle.

    Raises:
        ValueError: if the mask is not such a matrix, or samples nothing.

    Example:
        >>> import torch
        >>> mri = ComplexImageMRI(torch.ones(4, 4))
        >>> x = torch.rand(1, 2, 4, 4)
        >>> torch.allclose(mri.A_dagger(mri.A(x)), x, atol=1e-6)
        True
    """

    def __init__(self, mask: Tensor):
        super().__init__()
        mask = check_mask(mask, ranks=(2,))
        if not mask.any():
            raise ValueError("expected a mask that samples something, got zeros only")
        self.image_shape = (2, *check_sizes(tuple(mask.shape), "the mask", ranks=(2,)))
        self.mask = Constant(mask)

    def measured(self, y: Tensor) -> Tensor:
        return y * self.mask.like(y)

    def A(self, x: Tensor) -> Tensor:
        check_images(x, "x", self.image_shape)
        return self.measured(centred_transform(x, torch.fft.fft2))

    def A_adjoint(self, y: Tensor) -> Tensor:
        check_images(y, "y", self.image_shape)
        return centred_transform(self.measured(y), torch.fft.ifft2)

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.A_adjoint(y)

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        return self.A_adjoint(y) / (1 + check_positive(regularisation, "regularisation"))

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> Stationary | General | None:
        """Stationary, the same for both channels, where the mask is even; else None.

        ``B B^T = F^H diag(m) F`` is a complex circulant matrix, and real if ``m(k) = m(-k)``; if it
        is not, it mixes the two channels.
        """
        mask = torch.fft.ifftshift(self.mask.value, dim=PLANE)
        if kind not in ("adjoint", "pinv", "tikhonov") or (mask != negate_frequencies(mask)).any():
            return None
        gain = 1 / (1 + regularisation) if kind == "tikhonov" else 1.0
        return Stationary(mask * gain**2)


def centred_transform(x: Tensor, transform) -> Tensor:
    """A unitary transform of (B, 2, H, W), real and imaginary part, with centred origins."""
    z = torch.fft.ifftshift(torch.complex(x[:, 0], x[:, 1]), dim=PLANE)
    z = torch.fft.fftshift(transform(z, norm="ortho"), dim=PLANE)
    return torch.stack([z.real, z.imag], 1)
