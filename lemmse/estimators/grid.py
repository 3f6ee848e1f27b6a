"""Measurements of any size: where patches are cut, and which training locations vote on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fields import Field, LocationGroup, location_groups
from ..operators import General, Identity, PreInverse, as_operator
from ..operators.checks import describe

SAME_NOISE = 0.01
"""How much the variances of the noise in a patch may differ between two image sizes, relatively."""


@dataclass(frozen=True)
class Grid:
    """The locations of a measurement's image, by the group of training locations that vote there.

    Attributes:
        preinverse: B, of this image size.
        places: pairs of the index of a group and the locations that see as it does, (L,).
        blank: the measurement of a black image, (1, ...).
    """

    preinverse: PreInverse
    places: list[tuple[int, Tensor]]
    blank: Tensor

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.preinverse.image_shape[1:]


def grid_of(
    y: Tensor,
    operator: object,
    own: PreInverse,
    kind: object,
    regularisation: float,
    field: Field,
    groups: list[LocationGroup],
) -> Grid:
    """The grid of a measurement that is not of the training images' size, or has its own operator.

    Args:
        y: the measurement, (B, ...).
        operator: its forward operator; None where B = I, then y is an image of any size.
        own: the pre-inverse of the training images.
        kind, regularisation: what it was made of.
        field: what is seen.
        groups: the training locations.

    Raises:
        ValueError: if the noise in the patches is not that of the training locations.
    """
    channels = own.image_shape[0]
    if operator is None:
        operator = Identity()
    elif not (kind is None or isinstance(kind, str)):
        raise ValueError(
            "expected an estimator whose pre-inverse has a name to be called with another "
            f"operator, got one with {describe(kind)}, which belongs to images of size "
            f"{own.image_shape[1:]}"
        )
    if not isinstance(y, Tensor) or y.ndim != 4 or y.shape[1] != channels:
        raise ValueError(f"expected y of shape (B, {channels}, H, W), got {describe(y)}")
    operator = as_operator(operator, tuple(y.shape[1:]))
    size = (operator.image_shape or y.shape)[-2:]
    field.check_fits(size)
    shape = (channels, *size)
    pre = operator.preinverse(kind, shape, regularisation)
    noise = (own.noise, pre.noise)
    if any(isinstance(n, General) for n in noise) or len({type(n) for n in noise}) > 1:
        raise ValueError(
            "expected pre-inverses that are both circulant or both masks, for another image size; "
            f"got {own.name!r} ({type(own.noise).__name__}) for the training images and "
            f"{pre.name!r} ({type(pre.noise).__name__}) for y"
        )
    return Grid(pre, _places(field, groups, own, pre), operator.example_measurement(shape))


def _places(
    field: Field, groups: list[LocationGroup], own: PreInverse, pre: PreInverse
) -> list[tuple[int, Tensor]]:
    """Finds for each group of locations of a measurement the training locations that see alike."""
    device = groups[0].locations.device
    mine = location_groups(pre.noise, field, pre.image_shape)
    widths = own.image_shape[2], pre.image_shape[2]
    numbers = own.image_shape[0] * field.patch_size**2
    # Two subspaces that have the same projection of a random vector are the same.
    probe = torch.randn(numbers, generator=torch.Generator().manual_seed(0)).double()
    marks = [
        torch.stack([torch.cat([_phase(g, field, width), g.projected(probe)]) for g in some])
        for some, width in zip((groups, mine), widths, strict=True)
    ]
    distance, nearest = torch.cdist(marks[1], marks[0]).min(1)
    places = []
    for group, far, index in zip(mine, distance.tolist(), nearest.tolist(), strict=True):
        row, column = divmod(int(group.locations[0]), pre.image_shape[2])
        where = f"pixel ({row}, {column}) of a {pre.image_shape[1]} x {pre.image_shape[2]} image"
        if far > 1e-6:
            raise ValueError(
                "expected training images with a pixel whose patch has the pattern of noise-free "
                f"entries (hidden, padded, filtered out) of that around {where}: there is none, so "
                "nothing was learned for it"
            )
        _check_same_noise(groups[index], group, where)
        places.append((index, group.locations.to(device)))
    return places


def _phase(group: LocationGroup, field: Field, width: int) -> Tensor:
    """The phase of a group, (1,) float64."""
    return field.phase(group.locations[:1].cpu(), width).double()


def _check_same_noise(keys: LocationGroup, group: LocationGroup, where: str) -> None:
    """Raises ValueError unless the noise around a pixel is that of the training locations."""
    if not (keys.shared and group.shared):
        raise ValueError(
            "expected noise that differs from pixel to pixel by what is seen only, for another "
            "image size; here it has a strength of its own at every pixel"
        )
    if keys.matrix is None and group.matrix is None:
        return
    whitening = [_written_out(g) for g in (keys, group)]
    # What whitens the one, applied to noise of the other: of covariance I if they are the same.
    relative = whitening[0] @ torch.linalg.pinv(whitening[1])
    variances = torch.linalg.svdvals(relative).square()
    worst = (variances - 1).abs().max().item() if len(variances) else 0.0
    if worst > SAME_NOISE:
        raise ValueError(
            f"expected noise around {where} like that of the training images, to {SAME_NOISE:.0%} "
            f"in variance, got {worst:.2%}: at this size the pre-inverse is another filter"
        )


def _written_out(group: LocationGroup) -> Tensor:
    """The whitening matrix of a group, (r, d), on the CPU."""
    if group.matrix is None:
        return torch.eye(group.rank, dtype=torch.float64)
    return group.matrix[0].cpu()
