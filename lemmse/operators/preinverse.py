"""Pre-inverses of any operator, ours or of another library."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from importlib import import_module

from ..devices import plain_mode
from .base import Operator
from .checks import check_image_shape, describe
from .foreign import ForeignOperator
from .structure import PreInverse

STRUCTURES = {"deepinv": "lemmse.deepinv"}
"""Modules that know the operators of another library, imported when one of them comes."""


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
            batches, such as ``deepinv.physics.LinearPhysics``, which is written out as a matrix
            unless `lemmse.deepinv.recognise` knows it.
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
    """Returns an `Operator`: an object of another library is replaced by ours, or a copy wrapped.

    So later changes of the object change nothing, unless it cannot be copied.

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
    image_shape = check_image_shape(image_shape, None)
    return known(operator, image_shape) or ForeignOperator(copied(operator), image_shape)


@plain_mode()  # a copy made in inference mode could have no gradients later
def copied(value: object) -> object:
    """Returns a copy of an object with all that it holds; the object itself if it has none.

    Example:
        >>> copied([1, [2]])
        [1, [2]]
    """
    try:
        return deepcopy(value)
    except Exception:  # of any kind: the code is not ours
        return value


def known(operator: object, image_shape: tuple[int, int, int]) -> Operator | None:
    """Returns our counterpart of another library's operator, None if we have none."""
    for cls in type(operator).__mro__:
        module = STRUCTURES.get(cls.__module__.partition(".")[0])
        if module is not None:
            return import_module(module).recognise(operator, image_shape)
    return None
