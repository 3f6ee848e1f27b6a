"""Our estimators and networks as deepinv's denoisers and reconstructors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from deepinv import models as foreign
from deepinv.physics import GaussianNoise
from torch import Tensor

from ..devices import precise
from ..networks import LocalNetwork
from ..operators import MRI, Identity
from ..operators.checks import check_images, describe, noise_levels
from .operators import RealImageMRI
from .structure import agrees

BEYOND = ("refuse", "clamp")
HALF = (torch.float16, torch.bfloat16)


class Denoiser(foreign.Denoiser):
    r"""An estimator or a network as one of deepinv's denoisers, ``denoiser(x, sigma)``.

    Noise levels may be what deepinv's algorithms pass: a number, or one for each image as a tensor
    (B,), (B, 1, 1, 1), a list or an array; gradients flow to x and sigma. At ``sigma = 0`` an image
    is returned as it is. Half precision is computed in float32 and returned in half precision.

    Args:
        model: an estimator for denoising (its operator is `Identity`), a network for denoising, or
            any callable ``model(x, sigma)`` on x (B, C, H, W) and sigma (B,).
        beyond: what to do with noise levels above ``model.largest_sigma``, up to which networks
            are trained: "refuse" raises, "clamp" denoises at the largest. Estimators have no such
            limit.

    Raises:
        ValueError: the model is for another operator or no callable, or ``beyond`` is unknown. (A
            ``LocalNetwork`` does not hold its operator; its skip connection tells if there is one.)

    Example:
        >>> from lemmse import estimators
        >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> denoiser = Denoiser(estimators.LEMMSE(x, patch_size=3))
        >>> denoiser(x[:2], sigma=torch.tensor([0.1, 0.0])).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, model: Callable[[Tensor, Tensor], Tensor], beyond: str = "refuse"):
        super().__init__()
        if not callable(model) or isinstance(model, type):
            raise ValueError(f"expected an estimator or a network, got {describe(model)}")
        operator = getattr(model, "operator", None)
        if operator is not None and not isinstance(operator, Identity):
            raise ValueError(
                f"expected a model for denoising, got one for {type(operator).__name__}; "
                "Reconstructor takes it"
            )
        if isinstance(model, LocalNetwork) and not model.skip.denoises:
            raise ValueError(
                "expected a model for denoising, got a local network that was fitted to another "
                "operator or pre-inverse: its input is z = B y, and no noisy image"
            )
        if beyond not in BEYOND:
            raise ValueError(f"expected beyond to be one of {BEYOND}, got {beyond!r}")
        self.model = model
        self.beyond = beyond

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs) -> Tensor:
        """Denoises images.

        Args:
            x: (B, C, H, W).
            sigma: standard deviation of the noise, >= 0.
            kwargs: what algorithms of deepinv pass to other denoisers; ignored.

        Returns:
            (B, C, H, W), of the dtype of x.

        Raises:
            ValueError: x or sigma do not fit, sigma is beyond what the model knows, or the model
                returns no images of the shape of x.
        """
        if isinstance(x, Tensor) and x.dtype in HALF:
            return self(x.float(), sigma).to(x.dtype)
        check_images(x, "x", None)
        levels = noise_levels(sigma, len(x), precise(x.device), x.device, zero=True)
        levels = self._within(levels)
        noisy = levels.detach() > 0
        if noisy.all():
            return self._denoised(x, levels)
        if not noisy.any():
            return x.clone()
        denoised = self._denoised(x[noisy], levels[noisy])
        return x.masked_scatter(noisy[:, None, None, None], denoised)

    def _denoised(self, x: Tensor, levels: Tensor) -> Tensor:
        """What the model makes of noisy images: it may be anybody's, and return anything."""
        y = self.model(x, levels)
        if not isinstance(y, Tensor) or y.shape != x.shape or not y.is_floating_point():
            raise ValueError(
                f"expected the model to take {describe(x)} to images of the same shape, got "
                f"{describe(y)}"
            )
        return y.to(x.dtype)

    def _within(self, levels: Tensor) -> Tensor:
        """Noise levels that the model knows."""
        largest = getattr(self.model, "largest_sigma", None)
        if largest is None or not (levels > largest).any():
            return levels
        if self.beyond == "clamp":
            return levels.clamp(max=largest)
        raise ValueError(
            f"expected sigma of at most {largest}, up to which the network is trained, got "
            f'{levels.max().item():.3g}; Denoiser(model, beyond="clamp") denoises at {largest}'
        )


class Reconstructor(foreign.Reconstructor):
    r"""An estimator or a network with physics inside as deepinv's ``reconstructor(y, physics)``.

    The noise level is that of ``physics.noise_model``. The model knows its operator already, so
    ``physics`` must be the same: that is checked on one image at every call. Measurements of `MRI`
    are taken in deepinv's layout (see `RealImageMRI`). Where measurements are complex, deepinv's
    sigma is that of both parts together, and the model is given :math:`\sigma / \sqrt 2`, that of
    each.

    Args:
        model: called as ``model(y, sigma)``, with attributes ``operator`` and ``image_shape``.

    Raises:
        ValueError: the model lacks one of these.

    Example:
        >>> from lemmse.deepinv import Physics
        >>> from lemmse.estimators import MMSE
        >>> from lemmse.operators import Mask
        >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> physics = Physics(Mask.central(2, (8, 8)), sigma=0.1)
        >>> Reconstructor(MMSE(x, physics))(physics(x[:2]), physics).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, model: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        lacking = [name for name in ("operator", "image_shape") if not hasattr(model, name)]
        if not callable(model) or isinstance(model, type) or lacking:
            raise ValueError(
                "expected an estimator or a network with physics inside, with attributes operator "
                f"and image_shape, got {describe(model)}"
            )
        self.model = model

    def forward(self, y: Tensor, physics: torch.nn.Module, **kwargs) -> Tensor:
        """Estimates the images behind some measurements.

        Args:
            y: measurements, as ``physics(x)`` makes them.
            physics: a linear physics of deepinv with Gaussian noise.
            kwargs: what deepinv passes to other reconstructors; ignored.

        Returns:
            (B, C, H, W).

        Raises:
            ValueError: the noise is not Gaussian, the physics is another than the model's, or y
                does not fit.
        """
        if not isinstance(y, Tensor):
            raise ValueError(f"expected y to be a tensor of measurements, got {describe(y)}")
        noise = getattr(physics, "noise_model", None)
        if not isinstance(noise, GaussianNoise):
            raise ValueError(
                f"expected a physics with Gaussian noise, got {describe(noise)} as noise model"
            )
        operator = self.model.operator
        if isinstance(operator, MRI):
            operator = RealImageMRI(operator)
        if not agrees(operator, physics, self.model.image_shape):
            raise ValueError(
                f"expected a physics that measures as the model's {type(operator).__name__} does, "
                f"got another, {type(physics).__name__}"
            )
        sigma = noise_levels(noise.sigma, len(y), precise(y.device), y.device)
        if y.is_complex():
            sigma = sigma / 2**0.5
        natural = y if operator is self.model.operator else operator.natural(y)
        return self.model(natural, sigma)
