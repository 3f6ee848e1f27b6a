"""The base class of all forward operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ..devices import plain_mode
from .checks import (
    as_matrix,
    check_image_shape,
    check_positive,
    describe,
    noise_levels,
)
from .materialise import home, materialise, real_vectors
from .structure import General, Noise, PreInverse, Stationary

RANK_TOLERANCE = 1e-10
"""Singular values at most this fraction of the largest count as zero in ``A_dagger``."""


MAPS = frozenset({"A", "A_adjoint", "A_vjp", "A_dagger", "A_tikhonov"})
"""The methods that map between images and measurements."""


class Constant:
    """A float64 (or complex128) array, copied once to each device and precision it is used in.

    An operator follows the device and the dtype of its input, while the numbers that define it
    stay in float64: moving or casting the module changes nothing.
    """

    def __init__(self, value: Tensor):
        double = torch.complex128 if value.is_complex() else torch.float64
        with torch.inference_mode(False):
            self.value = value.detach().to("cpu", double, copy=True)
        self.copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def __reduce__(self) -> tuple:
        return Constant, (self.value,)  # pickled and copied without its copies

    def like(self, x: Tensor) -> Tensor:
        """Returns the array on the device and in the precision of x."""
        dtype = x.dtype.to_complex() if self.value.is_complex() else x.dtype.to_real()
        key = (x.device, dtype)
        if key not in self.copies:
            with torch.inference_mode(False):
                self.copies[key] = self.value.to(x.device, dtype)
        return self.copies[key]


class Operator(nn.Module):
    """A linear forward operator A, from images to measurements.

    Subclasses define ``A``, ``A_adjoint``, ``A_dagger`` and ``A_tikhonov`` on batches. The names
    are those of `deepinv <https://deepinv.github.io>`_, so that a ``deepinv.physics.LinearPhysics``
    can be used in the same places.

    Attributes:
        image_shape: (H, W) if A acts on every channel alike, (C, H, W) if it acts on whole images,
            None if images of any size will do.
    """

    image_shape: tuple[int, ...] | None = None

    def __init_subclass__(cls, **settings: object) -> None:
        """Keeps autocast out of the maps of every operator, whoever defines them."""
        super().__init_subclass__(**settings)
        for name in MAPS & cls.__dict__.keys():
            setattr(cls, name, plain_mode()(cls.__dict__[name]))

    def A(self, x: Tensor) -> Tensor:
        """Measures images without noise, ``A x``.

        Args:
            x: (B, C, H, W) real images.

        Raises:
            ValueError: if x has another shape or dtype, or contains NaN or Inf.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define A")

    def A_adjoint(self, y: Tensor) -> Tensor:
        """Applies the adjoint: ``Re<A x, y> = <x, A_adjoint(y)>`` for all x and y.

        Args:
            y: measurements, shaped as ``A`` returns them.

        Returns:
            (B, C, H, W) real images.

        Raises:
            ValueError: if y has another shape or dtype, or contains NaN or Inf.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define A_adjoint")

    def A_vjp(self, x: Tensor, v: Tensor) -> Tensor:
        """Applies the adjoint of the derivative of A at x, ``J(x)^T v``; A_adjoint, as A is linear.

        An operator that is not linear defines it anew; steps on the data then follow it.

        Args:
            x: (B, C, H, W) real images.
            v: shaped as ``A(x)``.

        Returns:
            (B, C, H, W) real images.

        Raises:
            ValueError: if v has another shape or dtype, or contains NaN or Inf.

        Example:
            >>> import torch
            >>> from lemmse.operators import Mask
            >>> Mask([[1.0, 0.0]]).A_vjp(torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
            tensor([[[[1., 0.]]]])
        """
        return self.A_adjoint(v)

    def A_dagger(self, y: Tensor) -> Tensor:
        """Applies the Moore-Penrose pseudo-inverse: the least-squares image of least norm.

        Singular values at most 1e-10 of the largest one count as zero, 1e-6 for an operator that is
        known in float32 only.

        Args:
            y: measurements, shaped as ``A`` returns them.

        Returns:
            (B, C, H, W) real images.

        Raises:
            ValueError: if y has another shape or dtype, or contains NaN or Inf.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define A_dagger")

    def A_tikhonov(self, y: Tensor, regularisation: float = 0.01) -> Tensor:
        """Applies the Tikhonov inverse ``(A^T A + lambda I)^{-1} A^T``.

        Args:
            y: measurements, shaped as ``A`` returns them.
            regularisation: lambda > 0, in units of a squared singular value of A.

        Returns:
            (B, C, H, W) real images, the minimisers of ``|A x - y|^2 + lambda |x|^2``.

        Raises:
            ValueError: if lambda is not positive, or y is not a measurement.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define A_tikhonov")

    def forward(self, x: Tensor) -> Tensor:
        """The same as :meth:`A`."""
        return self.A(x)

    def measured(self, y: Tensor) -> Tensor:
        """Sets to zero the entries of y that are never measured (here there are none)."""
        return y

    @plain_mode()
    def measure(
        self,
        x: Tensor,
        sigma: float | Sequence[float] | Tensor | np.ndarray,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Measures images with additive white Gaussian noise, ``y = A x + sigma e``.

        Where A x is complex, the real and the imaginary part of e are independent standard
        Gaussians.

        Args:
            x: (B, C, H, W) real images.
            sigma: standard deviation of the noise, in the unit of y: a number, or one for each
                image, (B,) or (B, 1, 1, 1). Zero is allowed.
            generator: source of the noise; None stands for the global one of torch.

        Raises:
            ValueError: if sigma is negative, not finite or of another shape, or x is not a batch
                of images that fit.

        Example:
            >>> import torch
            >>> from lemmse.operators import Identity
            >>> g = torch.Generator().manual_seed(0)
            >>> Identity().measure(torch.zeros(2, 1, 8, 8), sigma=0.1, generator=g).shape
            torch.Size([2, 1, 8, 8])
        """
        y = self.A(x)
        level = noise_levels(sigma, len(x), y.dtype.to_real(), y.device, zero=True)
        level = level.reshape(-1, *[1] * (y.ndim - 1))
        return y + level * self.measured(white_noise(y, generator))

    def maps_to_images(self, regularisation: float) -> dict[str, Callable[[Tensor], Tensor]]:
        """Returns the pre-inverses that this operator knows by name."""
        return {
            "pinv": self.A_dagger,
            "tikhonov": partial(self.A_tikhonov, regularisation=regularisation),
            "adjoint": self.A_adjoint,
        }

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> Noise | None:
        """Returns what a map does to white noise, where that is known in closed form, else None.

        Args:
            kind: a name of ``maps_to_images``, or "forward" for A itself taken as a pre-inverse.
            image_shape: (C, H, W).
            regularisation: lambda of "tikhonov".
        """
        return None

    @plain_mode()
    def preinverse(
        self,
        kind: object = None,
        image_shape: tuple[int, int, int] | None = None,
        regularisation: float = 0.01,
    ) -> PreInverse:
        """Returns a pre-inverse B of this operator; see :func:`lemmse.operators.preinverse`."""
        shape = check_image_shape(image_shape, self.image_shape)
        named = self.maps_to_images(check_positive(regularisation, "regularisation"))
        function: Callable[[Tensor], Tensor]
        if kind is None or (isinstance(kind, str) and kind == "identity"):
            self.check_measures_images(shape)
            name, function, noise = "identity", nn.Identity(), white(shape)
        elif isinstance(kind, str):
            if kind not in named:
                raise ValueError(
                    f"expected the pre-inverse of {type(self).__name__} to be one of "
                    f"{['identity', *named]}, an operator, a matrix or a callable, got {kind!r}"
                )
            name, function = kind, named[kind]
            noise = self.structure(kind, shape, regularisation)
            noise = noise or self.written_out(function, shape)
        elif isinstance(kind, Operator):
            name = type(kind).__name__
            function, noise = self.map_of_operator(kind, shape)
        elif isinstance(kind, Tensor | np.ndarray):
            name = "matrix"
            noise = self.checked_matrix(as_matrix(kind, "the pre-inverse"), shape)
            function = MatrixMap(noise, shape)
        elif callable(kind):
            name = "callable"
            noise = self.written_out(kind, shape)
            function = MatrixMap(noise, shape)
        else:
            raise ValueError(
                "expected a pre-inverse that is None, a name, an operator, a matrix or a callable, "
                f"got {describe(kind)}"
            )
        y = self.example_measurement(shape)
        return PreInverse(name, function, noise, shape, tuple(y.shape[1:]), y.is_complex())

    def example_measurement(self, image_shape: tuple[int, int, int]) -> Tensor:
        """Returns the measurement of one black image, for its shape and dtype."""
        device, dtype = home(self)
        return self.A(torch.zeros(1, *image_shape, device=device, dtype=dtype))

    def check_measures_images(self, image_shape: tuple[int, int, int]) -> None:
        """Raises ValueError unless measurements are real and have the shape of images."""
        y = self.example_measurement(image_shape)
        if y.is_complex() or y.shape[1:] != image_shape:
            raise ValueError(
                f"expected measurements that are real images of shape {image_shape} for this "
                f"pre-inverse, but {type(self).__name__} gives {describe(y[0])}"
            )

    def written_out(
        self, function: Callable[[Tensor], Tensor], image_shape: tuple[int, int, int]
    ) -> General:
        """Writes a linear map from measurements to images out as a matrix."""
        y = self.example_measurement(image_shape)
        matrix = materialise(function, y.shape[1:], y.is_complex())
        if len(matrix) != math.prod(image_shape):
            raise ValueError(
                f"expected a pre-inverse that returns images of shape {image_shape}, got "
                f"{len(matrix)} numbers for one measurement"
            )
        return General(matrix * self.support(y), per_channel=image_shape[0] == 1)

    def support(self, y: Tensor) -> Tensor:
        """Returns 1 for each real number of a measurement that is measured, 0 for the others."""
        ones = torch.ones_like(y) * (1 + 1j) if y.is_complex() else torch.ones_like(y)
        return real_vectors(self.measured(ones)).to("cpu", torch.float64)

    def map_of_operator(
        self, inverse: Operator, image_shape: tuple[int, int, int]
    ) -> tuple[Callable[[Tensor], Tensor], Noise]:
        """Returns the map ``inverse.A``, and its structure."""
        noise = inverse.structure("forward", image_shape, 0.0)
        if noise is None:
            noise = self.written_out(inverse.A, image_shape)
            return MatrixMap(noise, image_shape), noise
        self.check_measures_images(image_shape)
        check_image_shape(image_shape, inverse.image_shape)
        return inverse.A, noise

    def checked_matrix(self, matrix: Tensor, image_shape: tuple[int, int, int]) -> General:
        """Returns a matrix that maps measurements to images, of each channel or whole ones."""
        y = self.example_measurement(image_shape)
        channels, pixels = image_shape[0], math.prod(image_shape[1:])
        numbers = y.numel() * (2 if y.is_complex() else 1)
        shapes = {(channels * pixels, numbers): False}
        if y.ndim > 2 and y.shape[1] == channels:
            shapes[(pixels, numbers // channels)] = True
        if tuple(matrix.shape) not in shapes:
            raise ValueError(
                f"expected the pre-inverse to be a matrix of shape "
                f"{' or '.join(map(str, shapes))}, got {tuple(matrix.shape)}"
            )
        per_channel = shapes[tuple(matrix.shape)]
        support = self.support(y[:, 0] if per_channel else y)
        return General(matrix * support, per_channel)


class MatrixMap:
    """A map from measurements to images that is given as a matrix."""

    def __init__(self, noise: General, image_shape: tuple[int, int, int]):
        self.matrix = Constant(noise.matrix)
        self.per_channel = noise.per_channel
        self.image_shape = image_shape

    def __call__(self, y: Tensor) -> Tensor:
        by_channel = self.per_channel and self.image_shape[0] > 1
        vectors = real_vectors(y.flatten(0, 1) if by_channel else y)
        return (vectors @ self.matrix.like(y).T).reshape(-1, *self.image_shape)


def white(image_shape: tuple[int, int, int]) -> Stationary:
    """Returns the structure of noise that is left as it is, ``B = I``."""
    return Stationary(torch.ones(image_shape[1:], dtype=torch.float64, device="cpu"))


def white_noise(y: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draws standard Gaussian noise like y; real and imaginary part each where y is complex."""
    parts = (*y.shape, 2) if y.is_complex() else y.shape
    device = y.device if generator is None else generator.device
    noise = torch.randn(parts, generator=generator, dtype=y.dtype.to_real(), device=device)
    return (torch.view_as_complex(noise) if y.is_complex() else noise).to(y.device)
