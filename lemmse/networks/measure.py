"""The field of any network, measured: shape, period and padding, or why it has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..devices import plain_mode
from ..fields import Field
from ..operators.checks import check_image_shape
from .field import TRIALS, as_function, check_output, seen_by_pixels

LARGEST_PERIOD = 8
TOLERANCE = 1e-3
"""How far from equal two outputs may be that should be equal, relative to the largest output."""


@dataclass(frozen=True)
class MeasuredField:
    """What was measured.

    Attributes:
        field: the field, or None if the network has none.
        finite: whether an output pixel depends on some pixels around it only; False also if it
            depends on pixels as far as the border of the images tried.
        obstacles: why no formula describes the network, in words; empty if one does.

    Example:
        >>> print(field_of(lambda z: z, (1, 8, 8)))
        field 1 x 1, period 1, circular padding
    """

    field: Field | None
    finite: bool
    obstacles: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.field is None:
            return "no field: " + "; ".join(self.obstacles)
        size, period = self.field.patch_size, self.field.period
        seen = self.field.mask.flatten(2).sum(2)
        parts = "" if (seen == size**2).all() else f", of which {seen.min()} pixels are seen"
        if seen.min() != seen.max():
            parts = f", of which {seen.min()} to {seen.max()} pixels are seen, by phase"
        return f"field {size} x {size}{parts}, period {period}, {self.field.padding} padding"


@plain_mode()
@torch.enable_grad()
def field_of(
    network: Callable[..., Tensor],
    image_shape: Sequence[int],
    sigma: float | None = None,
    seed: int = 0,
) -> MeasuredField:
    r"""Measures what each output pixel of a network depends on, and which pixels are treated alike.

    Gradients of every output pixel at random images say what is seen; shifts of the images, away
    from the border, give the period s; what is seen near the border gives the padding. A network
    whose field is measured here is one of those that LE-MMSE with that field is the best of:

    .. math:: \phi(z)[n] = f_{n \bmod s}(\Pi_n E z)

    with a function of its own for every pattern of padded pixels. Padding by zeros, reflection or
    replication, in the input or in every layer, shows a full patch the same pixels, so it has the
    same formula; "zeros" stands for all of them unless the network's layers say otherwise.

    Args:
        network: from images (B, C, H, W) to images of the same height and width; called as
            ``network(z)``, or ``network(z, sigma)`` if sigma is given. The images have its own
            precision (float64 if it has no parameters).
        image_shape: (C, H, W) of the images to try, larger than the field that is expected.
        sigma: the noise level, for networks that want one.
        seed: of the random images.

    Raises:
        ValueError: if the network does not return images of this height and width.

    Example:
        >>> from lemmse.networks import PatchMLP
        >>> measured = field_of(PatchMLP(1, 3, width=4), (1, 10, 10), sigma=0.3)
        >>> print(measured)
        field 3 x 3, period 1, circular padding
    """
    channels, height, width = check_image_shape(image_shape, None)
    call, home = as_function(network, sigma)
    generator = torch.Generator().manual_seed(seed)
    z = torch.rand(TRIALS, channels, height, width, generator=generator).to(home)
    unsteady = _unsteady(call, z, network)
    if unsteady:
        return MeasuredField(None, False, (unsteady,))
    seen = torch.stack([seen_by_pixels(call, one[None], generator) for one in z]).any(0)
    return _described(call, network, z, seen)


def _unsteady(call: Callable[[Tensor], Tensor], z: Tensor, network: object) -> str:
    """Says why the output is no function of one image alone; empty if it is one."""
    with torch.no_grad():
        output = call(z[:1])
        check_output(output, z)
        training = isinstance(network, nn.Module) and network.training
        hint = "; it is in training mode, call its eval() first" if training else ""
        if not _alike(call(z[:1]), output):
            return "two calls with the same image differ: a layer is random, as dropout is" + hint
        if not _alike(call(z)[:1], output):
            return "the output depends on the other images of a batch, as with batch norm" + hint
    return ""


def _alike(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= TOLERANCE * b.abs().max())


def _described(
    call: Callable[[Tensor], Tensor], network: object, z: Tensor, seen: Tensor
) -> MeasuredField:
    """Finds shape, period and padding of what is seen."""
    height, width = z.shape[2:]
    middle = (height // 2) * width + width // 2
    centre = seen[middle]
    border = torch.ones(height, width, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    if (centre & border).any():
        return MeasuredField(None, False, (_why_infinite(network, height, width),))
    rows, columns = torch.arange(height), torch.arange(width)
    reach = _reach(centre[None], torch.tensor([middle]), width)
    # Farther shifts leave no pixel that is away from the border.
    largest = min(LARGEST_PERIOD, (min(height, width) - 1) // 2 - reach - 1)
    period = _period(call, z, reach, largest)
    if period is None:
        return MeasuredField(
            None,
            True,
            (
                f"shifted images do not give shifted outputs for any shift up to {largest}, even "
                "far from the border: the network knows where a pixel is, as with an encoding of "
                f"positions, or its period is larger than {height} x {width} images can show",
            ),
        )
    # One pixel of each phase, as near to the middle as there is one.
    top, left = (height - period) // 2, (width - period) // 2
    inner = (rows[top : top + period, None] * width + columns[left : left + period]).flatten()
    if (seen[inner] & border).any():
        return MeasuredField(None, False, (_why_infinite(network, height, width),))
    reach = _reach(seen[inner], inner, width)
    mask = torch.zeros(period, period, 2 * reach + 1, 2 * reach + 1, dtype=torch.bool)
    for n in inner.tolist():
        r, c = divmod(n, width)
        window = seen[n, r - reach : r + reach + 1, c - reach : c + reach + 1]
        mask[r % period, c % period] = window
    if not mask.flatten(2).any(2).all():
        return MeasuredField(None, True, ("the output does not depend on the image",))
    for padding in _paddings(network):
        field = Field(mask, padding)
        if 2 * reach + 1 <= min(height, width) and torch.equal(_expected(field, z), seen):
            return MeasuredField(field, True)
    return MeasuredField(
        None,
        True,
        (
            "what is seen at the border fits no padding (circular, zeros, reflect, replicate): "
            "perhaps it is filled from the data, or the size of the images is no multiple of the "
            "stride",
        ),
    )


def _reach(seen: Tensor, pixels: Tensor, width: int) -> int:
    """How far pixels see, the largest of row and column distance."""
    which, rows, columns = seen.nonzero(as_tuple=True)
    if not len(which):
        return 0
    distance = torch.maximum(
        (rows - pixels[which] // width).abs(), (columns - pixels[which] % width).abs()
    )
    return int(distance.max())


@torch.no_grad()
def _period(call: Callable[[Tensor], Tensor], z: Tensor, reach: int, largest: int) -> int | None:
    """The smallest shift, down and right, that the network commutes with away from the border."""
    output = call(z)
    for s in range(1, largest + 1):
        margin = reach + s + 1
        agree = True
        for axis in (2, 3):
            difference = call(z.roll(s, axis)) - output.roll(s, axis)
            # Along the border everything goes on as well: only the shifted axis is cut.
            inner = difference.narrow(axis, margin, z.shape[axis] - 2 * margin)
            agree &= bool(inner.abs().max() <= TOLERANCE * output.abs().max())
        if agree:
            return s
    return None


def _expected(field: Field, z: Tensor) -> Tensor:
    """Which pixels a field sees at each location, (H*W, H, W)."""
    height, width = z.shape[2:]
    locations = torch.arange(height * width)
    pixels = field.pixels((height, width))
    phase = field.phase(locations, width)
    visible = field.mask.flatten(0, 1).flatten(1)[phase] & (pixels >= 0)
    seen = torch.zeros(height * width, height * width + 1, dtype=torch.bool)
    seen.scatter_(1, torch.where(visible, pixels, height * width), True)
    return seen[:, :-1].unflatten(1, (height, width))


def _paddings(network: object) -> list[str]:
    """Paddings to try, in order: what the network's layers say about themselves comes first."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    said = {getattr(module, "padding_mode", None) for module in modules}
    named = [name for name in ("reflect", "replicate") if name in said]
    return ["circular", *named, *(p for p in ("zeros", "reflect", "replicate") if p not in named)]


GLOBAL = {
    "GroupNorm": "normalises over pixels",
    "InstanceNorm": "normalises over pixels",
    "LayerNorm": "may normalise over pixels",
    "Attention": "looks at all pixels",
    "AdaptiveAvgPool": "averages over all pixels",
}
"""Layers whose field is the whole image, by a part of the name of their class."""


def _why_infinite(network: object, height: int, width: int) -> str:
    """Says why the field is as large as the images, and what can be done."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    names = sorted({type(module).__name__ for module in modules})
    found = [f"{n} {does}" for n in names for part, does in GLOBAL.items() if part in n]
    if found:
        return "an output pixel depends on the whole image: " + ", ".join(found)
    return (
        f"a pixel in the middle depends on the border of {height} x {width} images: the field is "
        "infinite, or larger than that; try larger images"
    )
