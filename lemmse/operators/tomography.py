"""Parallel-beam tomography."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from ..devices import plain_mode
from .base import Constant
from .checks import check_sizes, describe
from .matrix import MatrixOperator
from .structure import General, Noise


class Tomography(MatrixOperator):
    """Parallel-beam tomography: sums of the image along lines.

    At angle theta, the measurement in detector cell d is the sum over t = 0..D-1 of the image at

        ``column = cos(theta) u + sin(theta) v,  row = -sin(theta) u + cos(theta) v``

    with ``u = d - D // 2 + centre`` and ``v = t - D // 2``, rows and columns counted from pixel
    ``(H // 2, W // 2)``; the image is interpolated bilinearly and zero outside its frame. There are
    ``D = ceil(sqrt(2) max(H, W))`` cells, one pixel wide. This is
    ``skimage.transform.radon(image, angles, circle=False)``, to rounding, as a matrix. Inverses are
    those of `MatrixOperator`.

    Measurements are (B, C, D, len(angles)), in the image's unit times pixels.

    Args:
        angles: angles in degrees, any positive number of them.
        image_size: (H, W).
        centre: pixels by which the middle of the detector misses the axis of rotation; 0 in a
            scanner that is well adjusted, and in scikit-image.

    Raises:
        ValueError: if the angles are not a non-empty list of finite numbers, the size is not two
            positive integers, or the centre is not a finite number.

    Source: A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging, 1988, chapter 3.

    Example:
        >>> import torch
        >>> from lemmse.operators import Tomography
        >>> scan = Tomography([0.0, 90.0], (4, 4))
        >>> scan.A(torch.ones(1, 1, 4, 4))[0, 0, :, 0]
        tensor([0., 4., 4., 4., 4., 0.])
    """

    def __init__(
        self,
        angles: Sequence[float] | Tensor,
        image_size: Sequence[int],
        centre: float = 0.0,
    ):
        image_size = check_sizes(image_size, "image_size", ranks=(2,))
        angles = check_angles(angles)
        cells = math.ceil(math.sqrt(2) * max(image_size))
        if not isinstance(centre, Real) or not math.isfinite(centre):
            raise ValueError(f"expected centre to be a finite number of pixels, got {centre!r}")
        super().__init__(radon_matrix(angles, image_size, cells, centre), image_size)
        self.angles = angles
        self.centre = centre
        self.measurement_shape = (cells, len(angles))

    @plain_mode()
    def filtered_backprojection(self, y: Tensor) -> Tensor:
        """Inverts the transform approximately: ramp filter, then back-projection.

        ``z[p] = pi / (2 n) sum_theta (r * y_theta)(u_theta(p))`` for n angles, which should be
        spread evenly over 180 degrees; the filter is ``r[0] = 1/2``, ``r[d] = -2 / (pi d)^2`` for
        odd d, zero for even d, with linear interpolation between detector cells and zero
        beyond them. It equals
        ``skimage.transform.iradon(y, angles, output_size, circle=False)`` for square images.

        Args:
            y: (B, C, D, len(angles)) measurements.

        Returns:
            (B, C, H, W) images.

        Raises:
            ValueError: if y has another shape or dtype, or contains NaN or Inf.

        Source: Kak and Slaney, 1988, section 3.3, equation 61.

        Example:
            >>> import torch
            >>> from lemmse.operators import Tomography
            >>> scan = Tomography(torch.arange(0, 180, 4), (16, 16))
            >>> x = torch.zeros(1, 1, 16, 16)
            >>> x[..., 4:12, 4:12] = 1
            >>> z = scan.filtered_backprojection(scan.A(x))
            >>> round(z[..., 6:10, 6:10].mean().item(), 1)
            1.0
        """
        vectors = self.measurement_vectors(y)
        return self.images(vectors @ self.backprojection.like(y).T)

    @cached_property
    def backprojection(self) -> Constant:
        """The matrix (H*W, D * len(angles)) of filtered back-projection."""
        return Constant(
            backprojection_matrix(
                self.angles, self.image_shape, self.measurement_shape[0], self.centre
            )
        )

    def maps_to_images(self, regularisation: float) -> dict:
        return super().maps_to_images(regularisation) | {"fbp": self.filtered_backprojection}

    def structure(
        self, kind: str, image_shape: tuple[int, int, int], regularisation: float
    ) -> Noise | None:
        if kind == "fbp":
            return General(self.backprojection.value, per_channel=True)
        return super().structure(kind, image_shape, regularisation)


def check_angles(angles: object) -> np.ndarray:
    """Returns angles in degrees as float64 array.

    Raises:
        ValueError: if they are not a non-empty list of finite real numbers.
    """
    try:
        array = np.asarray(angles, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"expected angles to be a non-empty list of finite degrees, got {describe(angles)}"
        )
    return array


def radon_matrix(
    angles: np.ndarray, image_size: tuple[int, int], cells: int, centre: float
) -> Tensor:
    """Returns the matrix (cells * angles, H*W) of the Radon transform, float64."""
    height, width = image_size
    theta = np.deg2rad(angles)[:, None, None]
    v, u = np.mgrid[:cells, :cells] - cells // 2
    u = u + centre
    columns = np.cos(theta) * u + np.sin(theta) * v + width // 2
    rows = -np.sin(theta) * u + np.cos(theta) * v + height // 2
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    rays = (np.arange(cells) * len(angles) + np.arange(len(angles))[:, None])[:, None, :]
    matrix = np.zeros(cells * len(angles) * height * width)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        weight = (1 - np.abs(rows - row)) * (1 - np.abs(columns - column))
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = rays * (height * width) + row * width + column
        matrix += np.bincount(index[inside], weight[inside], minlength=matrix.size)
    return torch.from_numpy(matrix).reshape(-1, height * width)


def backprojection_matrix(
    angles: np.ndarray, image_size: tuple[int, int], cells: int, centre: float
) -> Tensor:
    """Returns the matrix (H*W, cells * angles) of filtered back-projection, float64."""
    height, width = image_size
    rows, columns = np.mgrid[:height, :width]
    theta = np.deg2rad(angles)[:, None, None]
    u = (columns - width // 2) * np.cos(theta) - (rows - height // 2) * np.sin(theta)
    distance = np.abs((u - centre + cells // 2)[..., None] - np.arange(cells))
    seen = (distance <= cells - 1).all(-1, keepdims=True)
    interpolation = np.clip(1 - distance, 0, None) * seen
    lag = np.arange(cells)[:, None] - np.arange(cells)
    odd = lag % 2 == 1
    ramp = np.where(odd, -2 / (np.pi * np.where(odd, lag, 1)) ** 2, 0.5 * (lag == 0))
    matrix = interpolation @ ramp * (np.pi / (2 * len(angles)))
    return torch.from_numpy(matrix.transpose(1, 2, 3, 0).reshape(height * width, -1).copy())
