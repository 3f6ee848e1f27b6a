r"""Networks whose layers come from the operator, and the linear ones among them.

All are called ``network(y, sigma)`` with the measurement y itself. What follows from the operator
is fixed and stays out of ``state_dict``; what is trained are a few numbers. A network follows the
device and the precision of y, as operators do, and like them it is computed outside autocast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..devices import plain_mode, precise
from ..operators import Operator, as_operator, materialise
from ..operators.checks import (
    COMPLEX,
    REAL,
    check_image_shape,
    check_positive,
    check_tensor,
    noise_levels,
)
from ..operators.materialise import real_vectors
from .decomposition import decompose, treats_channels_alike


class PhysicsNetwork(nn.Module):
    """A network that reconstructs images from measurements, with a known operator inside.

    Subclasses define ``reconstruct(y, sigma)``.

    Args:
        operator: A, or an object of another library with ``A`` and ``A_adjoint``.
        image_shape: (C, H, W).

    Attributes:
        image_shape: (C, H, W).
        measurement_shape: shape of one measurement, without the batch.
        alike: whether A treats every channel alike.
        unit_shape: shape of what A acts on as a whole: (1, H, W) if so, else (C, H, W).

    Raises:
        ValueError: images of this shape do not fit the operator.

    Example:
        >>> from lemmse.operators import MRI
        >>> PhysicsNetwork(MRI.cartesian(4, (8, 8)), (1, 8, 8)).measurement_shape
        (1, 8, 8)
    """

    def __init__(self, operator: object, image_shape: Sequence[int]):
        super().__init__()
        operator = as_operator(operator, image_shape)
        self.image_shape = check_image_shape(image_shape, operator.image_shape)
        y = operator.example_measurement(self.image_shape)
        self.measurement_shape = tuple(y.shape[1:])
        self._complex = y.is_complex()
        self.alike = treats_channels_alike(operator)
        self.unit_shape = (1, *self.image_shape[1:]) if self.alike else self.image_shape
        self._operator = (operator,)  # a tuple, because modules as such become submodules

    @property
    def operator(self) -> Operator:
        """The operator A. It is no submodule, so not trained, saved or moved with the rest."""
        return self._operator[0]

    @plain_mode()
    def forward(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Reconstructs images.

        Args:
            y: measurements, as ``operator.measure`` returns them.
            sigma: standard deviation of the noise in y, >= 0, in the unit of y: a number or (B,).

        Returns:
            (B, C, H, W), in the precision of y.

        Raises:
            ValueError: y is no measurement, holds NaN or Inf, or sigma does not fit.
        """
        return self.reconstruct(*self.checked(y, sigma))

    def reconstruct(self, y: Tensor, sigma: Tensor) -> Tensor:
        """What a subclass defines: images from checked measurements and noise levels (B,)."""
        raise NotImplementedError(f"{type(self).__name__} does not define reconstruct")

    def vectors(self, y: Tensor) -> Tensor:
        """Measurements as vectors of real numbers, (B, C, m), or (B, 1, m) of whole images."""
        return real_vectors(y.flatten(0, 1) if self.alike else y).unflatten(0, (len(y), -1))

    def checked(self, y: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        """The arguments of a call: y, and sigma as a tensor (B,) on the device of y.

        Raises:
            ValueError: see `forward`.
        """
        check_tensor(y, "y", COMPLEX if self._complex else REAL, ("B", *self.measurement_shape))
        return y, noise_levels(sigma, len(y), y.dtype.to_real(), y.device, zero=True)


class SpectralNetwork(PhysicsNetwork):
    r"""Three linear layers, of which the one in the middle is trained.

    .. math:: \hat x = X\, \mathrm{diag}(g(\sigma))\, U^T y

    Subclasses define ``precision()``, the :math:`\pi_i` in

    .. math:: g_i(\sigma) = \frac{s_i}{s_i^2 + \sigma^2 \pi_i p_i}

    Gains are computed in float64, whatever the precision of y.

    Args:
        operator, image_shape: see `PhysicsNetwork`.
        penalty: see `decompose`.
    """

    def __init__(self, operator: object, image_shape: Sequence[int], penalty: str = "identity"):
        super().__init__(operator, image_shape)
        self.decomposition = decompose(self.operator, self.image_shape, penalty)

    @property
    def singular_values(self) -> Tensor:
        """s, float64 on the CPU; for its shape see `Decomposition`."""
        return self.decomposition.singular_values

    def analysis(self, y: Tensor) -> Tensor:
        """:math:`U^T y`, the coefficients of measurements along the singular directions."""
        return self.decomposition.analysis(self.checked(y, 0.0)[0])

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """:math:`X c`, images (B, C, H, W) from coefficients."""
        return self.decomposition.synthesis(coefficients)

    def precision(self) -> Tensor:
        """What a subclass defines: positive, float64; one number, or one for each direction."""
        raise NotImplementedError(f"{type(self).__name__} does not define precision")

    def gains(self, sigma: float | Tensor) -> Tensor:
        """The diagonal g, zero where s is.

        Args:
            sigma: a number, or (B,).

        Returns:
            Float64, of the shape of ``singular_values``; after B, if sigma is (B,).

        Raises:
            ValueError: sigma is negative or not finite.
        """
        precision = self.precision()
        high = {"dtype": precision.dtype, "device": precision.device}
        s, p = (t.to(**high) for t in (self.singular_values, self.decomposition.penalty))
        one = not isinstance(sigma, Tensor) or sigma.ndim == 0
        noise = noise_levels(sigma, 1 if one else len(sigma), **high, zero=True).square()
        noise = noise.reshape(*[] if one else noise.shape, *[1] * s.ndim)
        return s / (s.square() + noise * precision * p + (s == 0))

    def reconstruct(self, y: Tensor, sigma: Tensor) -> Tensor:
        coefficients = self.decomposition.analysis(y)
        gains = self.gains(sigma).to(y.device, y.dtype.to_real())
        between = coefficients.ndim - gains.ndim
        gains = gains.reshape(len(y), *[1] * between, *gains.shape[1:])
        return self.decomposition.synthesis(gains * coefficients)

    @torch.no_grad()
    def matrix(self, sigma: float) -> Tensor:
        """The whole network as one linear layer.

        Args:
            sigma: standard deviation of the noise.

        Returns:
            Float64 on the CPU, (H*W, m), to be applied to each channel, if the operator treats
            channels alike, otherwise (C*H*W, m). A complex measurement of m numbers counts as 2m
            real ones, the real parts first.
        """
        shape = tuple(self.operator.example_measurement(self.unit_shape).shape[1:])

        def network(y: Tensor) -> Tensor:
            level = torch.full((len(y),), float(sigma), dtype=y.dtype.to_real())
            return self.reconstruct(y, level)

        return materialise(network, shape, self._complex)


class RegularisedInverse(SpectralNetwork):
    r"""The closed form of a Gaussian prior, with its one number trained.

    .. math:: \hat x = (A^T A + \lambda D^T D)^{-1} A^T y, \qquad \lambda = \sigma^2 \pi

    the minimiser of :math:`\|A x - y\|^2 + \lambda \|D x\|^2`, and for :math:`D = I` also
    :math:`A^T (A A^T + \lambda I)^{-1} y`. It is computed exactly, by `Decomposition`.

    Args:
        operator, image_shape: see `PhysicsNetwork`.
        penalty: "identity", D = I; or "gradient", D the circular differences of neighbouring
            pixels.
        precision: :math:`\pi > 0` before training; with D = I it is one over the variance of a
            pixel.

    Attributes:
        log_precision: the logarithm of :math:`\pi`, trained.

    Raises:
        ValueError: see `PhysicsNetwork`; the penalty is another one; the precision is not
            positive; or, with "gradient", A maps constant images to zero.

    Source: [PHY], section on Bayesian inversion; Tikhonov and Arsenin, Solutions of Ill-Posed
        Problems, 1977.

    Example:
        >>> from lemmse.operators import Identity
        >>> y = torch.ones(1, 1, 4, 4)
        >>> RegularisedInverse(Identity(), (1, 4, 4))(y, sigma=1.0)[0, 0, 0, 0].item()
        0.5
        >>> RegularisedInverse(Identity(), (1, 4, 4), "gradient")(y, sigma=1.0)[0, 0, 0, 0].item()
        1.0
    """

    def __init__(
        self,
        operator: object,
        image_shape: Sequence[int],
        penalty: str = "identity",
        precision: float = 1.0,
    ):
        super().__init__(operator, image_shape, penalty)
        self.log_precision = nn.Parameter(
            torch.tensor(math.log(check_positive(precision, "precision")))
        )

    def precision(self) -> Tensor:
        """:math:`\\pi`, one number, in float64."""
        return exactly(self.log_precision).exp()


class SVDNet(SpectralNetwork):
    r"""The SVD network: U and V fixed, one number trained for each singular direction.

    .. math:: \hat x = V\, \mathrm{diag}(g)\, U^T y, \qquad
        g_i(\sigma) = \frac{s_i}{s_i^2 + \sigma^2 \pi_i}

    where :math:`1 / \pi_i` plays the part of the variance of images along :math:`v_i`. With the
    true one (the second moment, for the network has no offset), g is the Wiener gain; if moreover
    the images have mean zero and a covariance that V diagonalises, the network is the linear MMSE
    estimator. :math:`g_i = 0` where :math:`s_i` vanishes, at most 1e-10 of the largest one.

    For a blur (or the identity, or MRI) V is the discrete Fourier transform: one number for each
    frequency, the same for k and -k and for all channels. For a mask V is the identity. For any
    other operator A is decomposed numerically, in float64.

    The numbers are logarithms and have a long way to go, from 0 to some -5 at low frequencies and
    8 at high ones: train them with a learning rate of about 0.05.

    Args:
        operator, image_shape: see `PhysicsNetwork`.
        precision: all :math:`\pi_i` before training, > 0.

    Attributes:
        log_precision: logarithms of the :math:`\pi_i`, trained; only of the directions, or pairs
            of frequencies, where s does not vanish.

    Raises:
        ValueError: see `PhysicsNetwork`; or the precision is not positive.

    Source: [PHY], section on the SVD network.

    Example:
        >>> from lemmse.operators import Blur
        >>> net = SVDNet(Blur.gaussian(1.0, (8, 8)), (1, 8, 8))
        >>> net.log_precision.shape, net.gains(0.1).shape
        (torch.Size([34]), torch.Size([8, 8]))
        >>> net(torch.rand(2, 1, 8, 8), sigma=0.1).shape
        torch.Size([2, 1, 8, 8])
    """

    index: Tensor

    def __init__(self, operator: object, image_shape: Sequence[int], precision: float = 1.0):
        super().__init__(operator, image_shape)
        s, pairs = self.singular_values, self.decomposition.pairs
        names = torch.arange(s.numel(), device=s.device) if pairs is None else pairs
        names = names.reshape(s.shape)
        index = torch.zeros_like(names)
        index[s > 0] = torch.unique(names[s > 0], return_inverse=True)[1]
        self.register_buffer("index", index.to(torch.get_default_device()), persistent=False)
        start = math.log(check_positive(precision, "precision"))
        self.log_precision = nn.Parameter(torch.full((int(index.max()) + 1,), start))

    def precision(self) -> Tensor:
        """:math:`\\pi_i`, of the shape of ``singular_values``, in float64."""
        return exactly(self.log_precision).exp()[self.index]

    @property
    def prior_variance(self) -> Tensor:
        """:math:`1 / \\pi_i`, of the shape of ``singular_values``; NaN where s vanishes."""
        variance = 1 / self.precision().detach()
        return variance.masked_fill(self.singular_values.to(variance.device) == 0, torch.nan)

    @torch.no_grad()
    def set_prior_variance(self, variance: Tensor) -> None:
        """Sets the trained numbers by hand.

        Args:
            variance: positive, of the shape of ``singular_values``; where several directions share
                one number, their mean counts. Ignored where s vanishes.

        Raises:
            ValueError: another shape, or a number that is not positive and finite.

        Example:
            >>> from lemmse.operators import Identity
            >>> net = SVDNet(Identity(), (1, 4, 4))
            >>> net.set_prior_variance(torch.full((4, 4), 0.25))
            >>> round(net.gains(0.5)[0, 0].item(), 6)
            0.5
        """
        s = self.singular_values
        if not isinstance(variance, Tensor) or variance.shape != s.shape:
            got = tuple(variance.shape) if isinstance(variance, Tensor) else variance
            raise ValueError(f"variance: expected shape {tuple(s.shape)}, got {got}")
        live = (s > 0).to(self.index.device)
        values = variance.to(self.log_precision)[live]
        if not (torch.isfinite(values) & (values > 0)).all():
            raise ValueError("variance: expected positive, finite numbers")
        where, ones = self.index[live], torch.ones_like(values)
        total, count = torch.zeros_like(self.log_precision), torch.zeros_like(self.log_precision)
        mean = total.index_add(0, where, values) / count.index_add(0, where, ones)
        self.log_precision.copy_(-mean.log())


def exactly(t: Tensor) -> Tensor:
    """A tensor in the best precision of its device."""
    return t.to(precise(t.device))
