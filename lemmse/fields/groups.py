"""Which locations see alike: groups by the subspace on which the noise in a patch lives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ..operators import Diagonal, General, Stationary
from .cut import extract
from .field import Field, Views, as_field
from .whitening import view_covariances, whitening

HIDDEN = -1  # an element of a patch that carries no noise


@dataclass(frozen=True)
class LocationGroup:
    r"""Locations whose patches of z = B y live on one subspace, and how to whiten them.

    With :math:`Q_n = \Pi_n E B`, where E continues an image beyond its border and
    :math:`\Pi_n` cuts what the field sees at n, the noise in patch n has covariance
    :math:`\sigma^2 Q_n Q_n^T`. Locations of one phase form a group when the images of their
    :math:`Q_n` are the same subspace: a generic patch seen at n lies in the image of
    :math:`Q_{n'}` with minimal rank for the n' of its own group and for no others. That is the
    minimal-rank rule: the subspace of n contains v, so a competing n' must contain the whole
    subspace of n (almost surely), and having no larger rank it must equal it.

    So a border needs no rule of its own. Padded zeros are entries without noise, a subspace by the
    pattern of what is there; copies of a pixel are equal, a subspace by the pattern of copies, in
    which the pseudo-inverse of :math:`Q_n Q_n^T` counts the pixel once.

    Attributes:
        locations: pixel indices, (L,).
        rank: r, the dimension of the subspace.
        matrix: whitening matrices W with :math:`W Q Q^T W^T = I_r`, float64: (L, r, d), or
            (1, r, d) when one serves all locations; None stands for the identity.
        log_pdet: logarithm of the pseudo-determinant of :math:`Q_n Q_n^T`, (L,) or (1,).
        centre: subtracted from every patch before whitening, (d,) float64: distances stay, and
            whitened patches near zero lose fewer digits when they are rounded to float32.
    """

    locations: Tensor
    rank: int
    matrix: Tensor | None
    log_pdet: Tensor
    centre: Tensor | None = None

    @property
    def shared(self) -> bool:
        """Whether one whitening serves all locations."""
        return len(self.log_pdet) == 1

    def whiten(self, patches: Tensor, which: slice = slice(None)) -> Tensor:
        """Applies each location's own whitening to the patches cut there.

        Args:
            patches: (..., l, d), cut at ``locations[which]``.
            which: a part of the group.

        Returns:
            (..., l, r), of the dtype of the patches.
        """
        if self.shared:
            return self.whiten_as(patches, which)
        matrix = self.matrix[which].to(patches)
        return torch.einsum("lrd,...ld->...lr", matrix, self._centred(patches))

    def whiten_as(self, patches: Tensor, which: slice) -> Tensor:
        """Applies one whitening, shared or that of the single location ``which``, to (..., d)."""
        if self.matrix is None:
            return self._centred(patches)
        matrix = self.matrix[0] if self.shared else self.matrix[which][0]
        return self._centred(patches) @ matrix.to(patches).T

    def _centred(self, patches: Tensor) -> Tensor:
        return patches if self.centre is None else patches - self.centre.to(patches)

    def projected(self, vector: Tensor) -> Tensor:
        """The projection of a vector (d,) on the subspace of the group, on the vector's device."""
        if self.matrix is None:
            return vector
        basis = functional.normalize(self.matrix[0].to(vector), dim=-1)
        return basis.T @ (basis @ vector)

    def to(self, device: torch.device) -> LocationGroup:
        """The same group on another device."""
        fields = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **fields)


def location_groups(
    noise: Stationary | Diagonal | General,
    field: Field | int,
    image_shape: tuple[int, int, int],
) -> list[LocationGroup]:
    """Groups the locations by phase and by the subspace on which the patches of the noise live.

    Args:
        noise: the structure of B, from ``operators.preinverse(...).noise``.
        field: P, or a `Field`.
        image_shape: (C, H, W).

    Returns:
        Groups that together hold every location once.

    Example:
        >>> noise = Stationary(torch.ones(6, 6, dtype=torch.float64))
        >>> [group] = location_groups(noise, 3, (1, 6, 6))
        >>> group.rank, group.shared, len(group.locations)
        (9, True, 36)
        >>> zeros = location_groups(noise, as_field(3, "zeros"), (1, 6, 6))
        >>> sorted(group.rank for group in zeros)  # four corners, four edges, the interior
        [4, 4, 4, 4, 6, 6, 6, 6, 9]
    """
    field = field if isinstance(field, Field) else as_field(field)
    views = field.views(image_shape[1:])
    if isinstance(noise, Diagonal):
        gain = noise.gain.expand(image_shape)
        gains = extract(gain[None], field)[0].unflatten(1, (image_shape[0], -1))
        each = torch.arange(len(views.label))
        return _independent_groups(gains, views, views.label, each)
    if isinstance(noise, Stationary):
        if (noise.spectrum == noise.spectrum[0, 0]).all():  # white, up to a gain
            gain = noise.spectrum[0, 0].sqrt()
            gains = gain.expand(len(views.phase), image_shape[0], field.patch_size**2)
            every = torch.arange(len(views.phase))
            return _independent_groups(gains, views, every, views.label)
        covariance = view_covariances(noise.spectrum, views)
        return _correlated_groups(covariance, views.phase, views.label, image_shape[0])
    covariance = patch_covariances(noise, field, views, image_shape)
    channels = image_shape[0] if noise.per_channel else 1
    _, one = _first_of_each(views.label)
    common = covariance[one]
    if _all_equal(covariance, common[views.label]):  # B is circulant, for all that it is a matrix
        return _correlated_groups(common, views.phase, views.label, channels)
    each = torch.arange(len(views.label))
    return _correlated_groups(covariance, views.phase[views.label], each, channels)


def _independent_groups(
    gains: Tensor, views: Views, view: Tensor, label: Tensor
) -> list[LocationGroup]:
    r"""Groups where the noise is independent from pixel to pixel: no rank is left to rounding.

    The patch of a pixel with gain g that stands k times in it has there, with e the indicator of
    its copies, the variance :math:`g^2 k` in the direction :math:`e / \sqrt k`. So the subspace is
    known from which elements carry noise and which of them are copies of each other.

    Args:
        gains: of the elements of K kinds of patches, (K, C, P*P); 0 where there is no noise.
        views: the views of the field.
        view: which view each kind has, (K,).
        label: which kind each location has, (L,).
    """
    gains = gains * views.seen[view][:, None]
    start = torch.arange(gains.shape[1])[:, None] * gains.shape[2]
    copy_of = torch.where(gains != 0, views.first[view][:, None] + start, HIDDEN).flatten(1)
    gains = gains.flatten(1)
    table = torch.cat([views.phase[view][:, None], copy_of], 1).int()
    patterns, which = table.unique(dim=0, return_inverse=True)
    groups = []
    for index, pattern in enumerate(patterns[:, 1:]):
        locations = (which == index)[label].nonzero()[:, 0]
        pixel = pattern[pattern != HIDDEN].unique()
        copies = pixel[:, None] == pattern
        count = copies.sum(1)
        gain = gains[label[locations]][:, pixel]
        if (gain == gain[:1]).all():
            gain = gain[:1]
        matrix = (copies / count[:, None].double()) / gain[..., None]
        plain = len(pixel) == len(pattern) and len(gain) == 1 and bool((gain == 1).all())
        log_pdet = (gain.square() * count).log().sum(1)
        groups.append(LocationGroup(locations, len(pixel), None if plain else matrix, log_pdet))
    return groups


def _correlated_groups(
    covariance: Tensor, phase: Tensor, label: Tensor, channels: int
) -> list[LocationGroup]:
    """Groups by the subspaces that the eigenvectors of the covariances span.

    Args:
        covariance: of K kinds of patches, (K, d, d).
        phase: of each kind, (K,).
        label: which kind each location has, (L,).
        channels: how many channels are filtered alike, each with such a covariance.
    """
    matrix, log_pdet, rank = whitening(covariance)
    groups = []
    for part in _same_subspace(matrix, rank, phase):
        w, constant = matrix[part, : int(rank[part[0]])], log_pdet[part]
        place = torch.full_like(phase, -1)
        place[part] = torch.arange(len(part))
        own = place[label]
        locations = (own >= 0).nonzero()[:, 0]
        if _all_equal(covariance[part]):
            w, constant = w[:1], constant[:1]
        else:
            w, constant = w[own[locations]], constant[own[locations]]
        if channels > 1:
            w, constant = _repeat_over_channels(w, constant, channels)
        groups.append(LocationGroup(locations, w.shape[1], w, constant))
    return groups


def _repeat_over_channels(matrix: Tensor, log_pdet: Tensor, channels: int):
    """The whitening of C independent, equally filtered channels: a block-diagonal matrix."""
    return torch.stack([torch.block_diag(*[m] * channels) for m in matrix]), channels * log_pdet


def patch_covariances(
    noise: General, field: Field, views: Views, image_shape: tuple[int, int, int]
) -> Tensor:
    """The covariance of the noise in the patch of every location, (L, d, d).

    It is that of one channel, d = P*P, where B filters all channels alike.
    """
    channels, height, width = image_shape
    rows = 1 if noise.per_channel else channels
    plane = field.pixels((height, width)).clamp_min(0)
    pixels = torch.cat([plane + row * height * width for row in range(rows)], 1)
    seen = views.seen[views.label].double().repeat(1, rows)
    # One row of B a pixel: the covariance of a patch is the Gram matrix of its rows.
    gram = noise.matrix @ noise.matrix.T
    return gram[pixels[:, :, None], pixels[:, None, :]] * seen[:, :, None] * seen[:, None, :]


def _all_equal(covariance: Tensor, wanted: Tensor | None = None) -> bool:
    """Whether covariances (L, d, d) are what they should be, or the first, but for rounding."""
    wanted = covariance[:1] if wanted is None else wanted
    return bool((covariance - wanted).abs().max() <= 1e-13 * covariance.abs().max())


def _first_of_each(label: Tensor) -> tuple[Tensor, Tensor]:
    """The different labels, ascending, and where each stands first."""
    labels, inverse = label.unique(return_inverse=True)
    place = torch.full_like(labels, len(label))
    return labels, place.scatter_reduce(0, inverse, torch.arange(len(label)), "amin")


def _same_subspace(matrix: Tensor, rank: Tensor, phase: Tensor) -> list[Tensor]:
    """Partitions whitening matrices by phase and by row space."""
    basis = functional.normalize(matrix, dim=-1)
    full = rank == matrix.shape[-1]
    groups = [(full & (phase == p)).nonzero()[:, 0] for p in phase[full].unique()]
    rest = (~full).nonzero()[:, 0]
    while len(rest):
        first = rest[0]
        # For orthonormal bases of r rows, ||U_1 U_2^T||_F^2 = r exactly when the spans agree.
        overlap = (basis[rest] @ basis[first].T).square().sum((1, 2))
        same = (rank[rest] == rank[first]) & ((overlap - rank[first]).abs() < 1e-6)
        same &= phase[rest] == phase[first]
        groups.append(rest[same])
        rest = rest[~same]
    return groups
