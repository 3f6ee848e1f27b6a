"""Our operators as deepinv's linear physics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from deepinv import physics as foreign
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..devices import precise
from ..operators import MRI, Operator, as_operator
from ..operators.checks import as_numbers, describe, noise_levels
from .operators import RealImageMRI

OF_THE_NOISE = ("sigma", "seed")
"""Arguments that deepinv passes to the operator, though they are meant for the noise model."""


class Physics(foreign.LinearPhysics):
    r"""One of our operators with Gaussian noise, as deepinv's ``LinearPhysics``.

    ``physics(x)`` is ``A x + sigma e``; a complex e has variance 1, half of it in each part, as
    everywhere in deepinv (not as in our ``measure``). Pseudo-inverse and proximal operator are
    exact, in closed form,

    .. math:: \arg\min_u \tfrac{\gamma}{2} \|A u - y\|^2 + \tfrac12 \|u - z\|^2
        = z + (A^T A + I / \gamma)^{-1} A^T (y - A z),

    where deepinv's default iterates. Gradients flow to z, y and :math:`\gamma`. `MRI` measures real
    grey images into real k-space of shape (B, 2, H, W), as `RealImageMRI` says.

    Args:
        operator: A, as for the estimators.
        sigma: standard deviation of the noise, >= 0, in the unit of y: a number, or one for each
            image, (B,).
        image_shape: (C, H, W); needed only where an operator of another library needs it.
        generator: source of the noise; None stands for the global one of torch.

    Attributes:
        operator: A, an `Operator`.

    Raises:
        ValueError: the operator is none, or sigma is negative, not finite or of another shape.

    Example:
        >>> from lemmse.operators import Blur
        >>> physics = Physics(Blur.gaussian(1.0, (8, 8)), sigma=0.1)
        >>> y = physics(torch.rand(2, 1, 8, 8))
        >>> physics.prox_l2(torch.zeros_like(y), y, gamma=10.0).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        operator: object,
        sigma: float | Sequence[float] | Tensor,
        image_shape: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ):
        operator = as_operator(operator, image_shape)
        given = as_numbers(sigma)
        many = 1 if given is None or given.ndim == 0 else max(1, len(given))
        levels = noise_levels(sigma, many, torch.float32, torch.device("cpu"), zero=True)
        noise = foreign.GaussianNoise(levels if many > 1 else levels[0], rng=generator)
        super().__init__(noise_model=noise, img_size=image_shape)
        self.operator: Operator = RealImageMRI(operator) if isinstance(operator, MRI) else operator

    def A(self, x: Tensor, **parameters) -> Tensor:
        """Measures images without noise, ``A x``."""
        self.update_parameters(**parameters)
        return self.operator.A(x)

    def A_adjoint(self, y: Tensor, **parameters) -> Tensor:
        """Applies the adjoint."""
        self.update_parameters(**parameters)
        return self.operator.A_adjoint(y)

    def A_dagger(self, y: Tensor, **solver) -> Tensor:
        """Applies the exact pseudo-inverse; settings of a solver are ignored."""
        return self.operator.A_dagger(y)

    def noise(self, x: Tensor, **parameters) -> Tensor:
        """Adds the noise, where there are measurements."""
        return self.operator.measured(self.noise_model(x, **parameters))

    def prox_l2(
        self, z: Tensor | float | None, y: Tensor, gamma: float | Tensor, **solver
    ) -> Tensor:
        """Applies the exact proximal operator; settings of a solver are ignored.

        Args:
            z: images, or one number for all pixels; None stands for zero.
            y: measurements.
            gamma: weight of the measurements, > 0: a number, or one for each image.

        Raises:
            ValueError: gamma is not positive, or z or y do not fit.
        """
        if not isinstance(z, Tensor):
            z = torch.full_like(self.A_adjoint(y), 0.0 if z is None else float(z))
        damping = 1 / weights(gamma, y)
        step = damped_inverse(self.operator, y - self.operator.A(z), damping)
        return z + (
            OfDamping.apply(step, damping, self.operator) if damping.requires_grad else step
        )

    def update_parameters(self, **parameters) -> None:
        """Raises ValueError for any parameter but those of the noise: the operator is fixed."""
        unknown = [key for key, value in parameters.items() if value is not None]
        unknown = [key for key in unknown if key not in OF_THE_NOISE]
        if unknown:
            raise ValueError(
                f"expected no parameters of the operator, which is a fixed "
                f"{type(self.operator).__name__}, got {', '.join(unknown)}"
            )


def weights(gamma: object, y: Tensor) -> Tensor:
    """Returns the weights of a proximal operator as (B,), in the best precision."""
    try:
        return noise_levels(gamma, len(y), precise(y.device), y.device)
    except ValueError:
        raise ValueError(
            f"expected gamma to be a number > 0, or one for each of {len(y)} images, got "
            f"{describe(gamma)}"
        ) from None


def damped_inverse(operator: Operator, y: Tensor, damping: Tensor) -> Tensor:
    """Applies ``(A^T A + lambda I)^{-1} A^T`` with a lambda (B,) for each measurement."""
    numbers = damping.tolist()
    if len(set(numbers)) == 1:
        return operator.A_tikhonov(y, numbers[0])
    return torch.cat([operator.A_tikhonov(y[i : i + 1], n) for i, n in enumerate(numbers)])


class OfDamping(torch.autograd.Function):
    r"""Makes ``u = (A^T A + lambda I)^{-1} A^T y`` differentiable in lambda.

    .. math:: \frac{\partial u}{\partial \lambda} = -R u, \qquad
        R = (A^T A + \lambda I)^{-1} = (I - R A^T A) / \lambda

    It returns u as it is, which carries its gradient in y already.
    """

    @staticmethod
    def forward(u: Tensor, damping: Tensor, operator: Operator) -> Tensor:
        return u.view_as(u)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.operator = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        u, damping = ctx.saved_tensors
        # 1 - s^2 / (s^2 + lambda) cancels where s^2 is large: in the best precision.
        g = gradient.to(damping.dtype)
        through = damped_inverse(ctx.operator, ctx.operator.A(g), damping)
        solved = (g - through) / damping[:, None, None, None]
        return gradient, -(u * solved).sum((1, 2, 3)), None
