"""Pre-inverses of any operator, ours or of another library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from .base import Operator
from .checks import check_image_shape, check_images, describe
from .materialise import real_vectors
from .matrix import MatrixOperator
from .structure import General, PreInverse


def preinverse(
    operator: Operator,
    kind: object = None,
    image_shape: Sequence[int] | None = None,
    regularisation: float = 0.01,
) -> PreInverse:
    """Returns a linear map B from measurements to images, and what it does to white noise.

    The kinds are

    - None or "identity": ``B = I``; measurements must be real and have the shape of images;
    - "adjoint", "pinv", "tikhonov": ``A^T``, ``A^+``, ``(A^T A + lambda I)^{-1} A^T``; the adjoint
      of MRI is the zero-filled inverse Fourier transform;
    - "fbp": filtered back-projection, of `Tomography` only;
    - an operator, whose ``A`` maps measurements to images;
    - a matrix, (H*W, m) for each channel or (C*H*W, m) for whole images; complex measurements count
      as real ones, real parts first;
    - any other linear callable from measurements to images, written out as a matrix.

    Args:
        operator: an `Operator`, or any object with linear methods ``A`` and ``A_adjoint`` on
            batches, such as ``deepinv.physics.LinearPhysics``, which is written out as a matrix.
        kind: which B.
        image_shape: (C, H, W); needed unless the operator acts on whole images of a known shape.
        regularisation: lambda > 0 of "tikhonov", in units of a squared singular value of A.

    Returns:
        The map, with the structure of ``B B^T``: `Stationary` for `Identity`, `Blur` and `MRI`,
        `Diagonal` for `Mask`, `General` otherwise.

    Raises:
        ValueError: if the kind is unknown or does not suit the operator, the image shape does not
            fit, lambda is not positive, or a map that has to be written out is not linear.

    Example:
        >>> from lemmse.operators import Blur, preinverse
        >>> b = preinverse(Blur.gaussian(1.0, (28, 28)), "tikhonov", (1, 28, 28), 0.01)
        >>> round(b.noise.spectrum.mean().sqrt().item(), 3)
        2.825
    """
    return as_operator(operator, image_shape).preinverse(kind, image_shape, regularisation)


def as_operator(operator: object, image_shape: Sequence[int] | None) -> Operator:
    """Returns an `Operator`; an object of another library is wrapped.

    Args:
        operator: an `Operator`, or an object with linear methods ``A`` and ``A_adjoint``.
        image_shape: (C, H, W) of the images that a foreign object is applied to.

    Raises:
        ValueError: if the object lacks one of these methods, or a foreign one has no shape.

    Example:
        >>> from lemmse.operators import Identity, as_operator
        >>> type(as_operator(Identity(), None)).__name__
        'Identity'
    """
    if isinstance(operator, Operator):
        return operator
    methods = [callable(getattr(operator, name, None)) for name in ("A", "A_adjoint")]
    if isinstance(operator, type) or not all(methods):
        raise ValueError(
            f"expected an operator with methods A and A_adjoint, got {describe(operator)}"
        )
    return ForeignOperator(operator, check_image_shape(image_shape, None))


class ForeignOperator(Operator):
    """Makes an operator of an object of another library that has linear ``A`` and ``A_adjoint``.

    The inverses come from A written out as a matrix: iterative ones, which many libraries use,
    stop early and so are neither exact nor linear.

    Args:
        physics: the object; its methods take and return batches of tensors.
        image_shape: (C, H, W) of the images.

    Example:
        >>> from lemmse.operators import Identity
        >>> ForeignOperator(Identity(), (1, 8, 8)).image_shape
        (1, 8, 8)
    """

    def __init__(self, physics: object, image_shape: tuple[int, int, int]):
        super().__init__()
        self.physics = physics
        self.image_shape = image_shape

    def A(self, x: Tensor) -> Tensor:
        check_images(x, "x", self.image_shape)
        return self.physics.A(x)

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.physics.A_adjoint(y)

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.dense.A_dagger(real_vectors(y))

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        return self.dense.A_tikhonov(real_vectors(y), regularisation)

    @cached_property
    def dense(self) -> MatrixOperator:
        """The same operator as a matrix."""
        return MatrixOperator(self.A, self.image_shape)

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> General | None:
        if kind in ("pinv", "tikhonov"):
            return self.dense.structure(kind, image_shape, regularisation)
        return None
