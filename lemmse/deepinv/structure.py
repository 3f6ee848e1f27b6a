"""Operators of deepinv whose structure we know: they need not be written out as matrices."""

from __future__ import annotations

import torch
from deepinv import physics as foreign
from torch import Tensor

from ..operators import Blur, Identity, Operator
from ..operators.foreign import ForeignOperator
from .operators import ComplexImageMRI, Inpainting, RealImageMRI
from .physics import Physics

AGREEMENT = 1e-5
"""How far, relative to the largest value, a measurement may differ from that of a counterpart."""


def recognise(physics: object, image_shape: tuple[int, int, int]) -> Operator | None:
    """Returns our operator for one of deepinv's, None if there is none.

    Known are ``Denoising``, ``Inpainting`` and ``Demosaicing`` with zeros and ones, ``BlurFFT`` and
    ``Blur`` with circular padding and one kernel for all channels, single-coil ``MRI`` in two
    dimensions (of complex images with two channels, or of real images with one), and our own
    `Physics`. The counterpart is checked: it must measure a random image as the original does. It
    holds what the original was at that time; later updates of its mask or kernel do not reach it.

    Args:
        physics: any object.
        image_shape: (C, H, W).

    Example:
        >>> import deepinv
        >>> physics = deepinv.physics.Inpainting((1, 8, 8), mask=0.5)
        >>> type(recognise(physics, (1, 8, 8))).__name__
        'Inpainting'
    """
    if isinstance(physics, Physics):
        return physics.operator
    try:
        operator = counterpart(physics, image_shape)
    except (ValueError, RuntimeError):  # a mask of other values than 0 and 1, or of another shape
        return None
    return operator if operator is not None and agrees(operator, physics, image_shape) else None


def counterpart(physics: object, image_shape: tuple[int, int, int]) -> Operator | None:
    """Returns the operator that a physics should be, going by its class and its buffers."""
    if isinstance(physics, foreign.Denoising):
        return Identity()
    if isinstance(physics, foreign.Inpainting):
        mask = only_one(physics.mask)
        return None if mask is None else Inpainting(mask.broadcast_to(image_shape))
    if isinstance(physics, foreign.BlurFFT) or (
        isinstance(physics, foreign.Blur) and physics.padding == "circular"
    ):
        kernel = same_for_all_channels(physics.filter)
        return None if kernel is None else Blur(kernel, image_shape[1:])
    if isinstance(physics, foreign.MRI) and not physics.three_d:
        mask = same_for_all_channels(physics.mask)
        if mask is None:
            return None
        return RealImageMRI.centred(mask) if image_shape[0] == 1 else ComplexImageMRI(mask)
    return None


def only_one(buffer: Tensor | None) -> Tensor | None:
    """Returns a buffer without its batch dimension, if it has one; None if there are several."""
    if buffer is None or (buffer.ndim == 4 and len(buffer) > 1):
        return None
    return buffer[0] if buffer.ndim == 4 else buffer


def same_for_all_channels(buffer: Tensor | None) -> Tensor | None:
    """Returns (h, w) of a buffer (1, c, h, w) whose channels are all the same, else None."""
    channels = only_one(buffer)
    if channels is None or channels.ndim != 3 or (channels != channels[:1]).any():
        return None
    return channels[0]


@torch.no_grad()
def agrees(operator: Operator, physics: object, image_shape: tuple[int, int, int]) -> bool:
    """Whether an operator measures a random image as a physics does.

    A real image with one channel goes into an MRI of complex images with a zero imaginary part.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, *image_shape, generator=generator, dtype=torch.float64, device="cpu")
    expected = operator.A(x)
    ours = isinstance(physics, Physics)
    if isinstance(operator, RealImageMRI) and not ours:
        x = torch.cat([x, torch.zeros_like(x)], 1)
    try:
        other = physics.operator if ours else ForeignOperator(physics, tuple(x.shape[1:]))
        seen = other.A(x)
    except ValueError:  # images of this shape do not fit
        return False
    if seen.shape != expected.shape:
        return False
    return bool((seen - expected).abs().max() <= AGREEMENT * expected.abs().max())
