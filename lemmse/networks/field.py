"""What a network sees, measured: its receptive field, and whether it commutes with shifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import plain_mode
from ..operators.checks import check_finite, check_image_shape, describe

TRIALS = 3
"""Random images tried: a gradient may vanish at one of them, as behind a closed ReLU."""
AT_ONCE = 64  # output pixels differentiated at once, one copy of the image each


@dataclass(frozen=True)
class ReceptiveField:
    """What was measured.

    Attributes:
        mask: (H, W) boolean, centred: true at ``[H // 2 + i, W // 2 + j]`` if some output pixel
            depends on the input pixel i rows below and j columns to the right of it (circularly).
        size: (rows, columns) of the smallest rectangle, centred on the pixel, that holds the mask.
        equivariance_error: the largest difference between "shift, then network" and "network, then
            shift" over all shifts tried, relative to the largest output.

    Example:
        >>> receptive_field(lambda z: z, (1, 8, 8)).size
        (1, 1)
    """

    mask: Tensor
    size: tuple[int, int]
    equivariance_error: float


@plain_mode()
@torch.enable_grad()
def receptive_field(
    network: Callable[..., Tensor],
    image_shape: Sequence[int],
    sigma: float | None = None,
    seed: int = 0,
) -> ReceptiveField:
    r"""Measures the receptive field of any network, and its equivariance to circular shifts.

    The gradient of every output pixel n, in a random direction of its channels, is computed with
    respect to the input at random images. Pixels where it is not exactly zero are seen:

    .. math:: \mathrm{mask}[\delta] = \exists\, n, z:\
        \partial \phi(z)[n] / \partial z[n + \delta] \ne 0

    Args:
        network: from images (B, C, H, W) to images of the same height and width; called as
            ``network(z)``, or ``network(z, sigma)`` if sigma is given. Call its ``eval()``
            before: in training mode, layers with running statistics would update them. The images
            have its own precision (float64 if it has no parameters).
        image_shape: (C, H, W) of the images to try; larger than the field that is expected.
        sigma: the noise level, for networks that want one.
        seed: of the random images.

    Returns:
        See `ReceptiveField`.

    Raises:
        ValueError: if the network does not return images of this height and width.

    Example:
        >>> from lemmse.networks import PatchMLP
        >>> receptive_field(PatchMLP(1, 5), (1, 12, 12), sigma=0.3).size
        (5, 5)
    """
    channels, height, width = check_image_shape(image_shape, None)
    call, home = as_function(network, sigma)
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(height, width, dtype=torch.bool)
    error = 0.0
    for _ in range(TRIALS):
        z = torch.rand(1, channels, height, width, generator=generator).to(home)
        for pixel, seen in enumerate(seen_by_pixels(call, z, generator)):
            mask |= seen.roll((-(pixel // width), -(pixel % width)), (0, 1))
        error = max(error, _shift_error(call, z))
    mask = mask.roll((height // 2, width // 2), (0, 1))
    return ReceptiveField(mask, _extent(mask), error)


def as_function(
    network: Callable[..., Tensor], sigma: float | None
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A network as a function of images alone, and a tensor of the precision and device of these.

    Those are its parameters' own, float64 on the CPU if it has none.
    """
    parameter = next(iter(getattr(network, "parameters", lambda: iter(()))()), None)
    home = torch.zeros((), dtype=torch.float64) if parameter is None else parameter.detach()
    return (network if sigma is None else lambda z: network(z, sigma)), home


def check_output(output: Tensor, z: Tensor) -> None:
    """ValueError unless a network returns finite images of the height and width of z."""
    expected = f"network: expected an output (B, C, {z.shape[2]}, {z.shape[3]}) of real numbers"
    if not isinstance(output, Tensor) or not output.is_floating_point():
        raise ValueError(f"{expected}, got {describe(output)}")
    if output.ndim != 4 or output.shape[2:] != z.shape[2:]:
        raise ValueError(f"{expected}, got {tuple(output.shape)}")
    check_finite(output, "the output of the network")


def seen_by_pixels(
    call: Callable[[Tensor], Tensor], z: Tensor, generator: torch.Generator
) -> Tensor:
    """Which input pixels each output pixel has a gradient by: (H*W, H, W) boolean.

    Args:
        call: see `as_function`.
        z: one image, (1, C, H, W).
        generator: for the direction, among the channels, in which the output is differentiated.
    """
    height, width = z.shape[2:]
    seen = []
    for pixels in torch.arange(height * width).split(AT_ONCE):
        batch = z.detach().repeat(len(pixels), 1, 1, 1).requires_grad_()
        output = call(batch)
        check_output(output, batch)
        direction = torch.randn(output.shape[1], generator=generator).to(output)
        flat = torch.einsum("bchw,c->bhw", output, direction).flatten(1)
        total = flat[torch.arange(len(pixels)), pixels].sum()
        total = total + 0 * batch.sum()  # a constant network has a gradient then, too: zero
        (gradient,) = torch.autograd.grad(total, batch)
        seen.append((gradient != 0).any(1).cpu())
    return torch.cat(seen)


@torch.no_grad()
def _shift_error(call: Callable[[Tensor], Tensor], z: Tensor) -> float:
    """The largest relative difference over all circular shifts."""
    output = call(z)
    worst = 0.0
    for row in range(z.shape[2]):
        for column in range(z.shape[3]):
            shifted = call(z.roll((row, column), (2, 3)))
            difference = shifted - output.roll((row, column), (2, 3))
            worst = max(worst, (difference.abs().max() / output.abs().max()).item())
    return worst


def _extent(mask: Tensor) -> tuple[int, int]:
    """The sides of the smallest rectangle that is centred and holds the mask."""
    sides = []
    for axis, length in enumerate(mask.shape):
        hit = mask.any(1 - axis).nonzero().flatten()
        # An even length has one row more before the centre than after it.
        side = 2 * (hit - length // 2).abs().max().item() + 1 if len(hit) else 0
        sides.append(min(side, length))
    return tuple(sides)
