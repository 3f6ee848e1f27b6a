r"""Flips and quarter turns of patches: the group D4 of the square.

A function f of patches commutes with the eight flips and turns of the image exactly when it gives
the eight transformed copies :math:`r v` of a patch one and the same answer: the pixel in the centre
stays where it is. The best such function is found by letting every training patch vote for every
one of its copies. Since

.. math:: \mathcal N(v;\; r \mu,\, r \Sigma r^T) = \mathcal N(r^{-1} v;\; \mu,\, \Sigma),

that is the same as letting all training patches vote on every copy of v: queries are transformed,
and keys and noise covariances stay as they are, whatever A and B do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .fields import LocationGroup

SYMMETRIES = (None, "d4")


def transformations(symmetry: str | None, patch_size: int, channels: int = 1) -> Tensor:
    """The transformations of a patch, as permutations of its elements.

    Args:
        symmetry: None, only the identity; or "d4", the four quarter turns of the patch and those of
            its mirror image.
        patch_size: P.
        channels: C; all channels are moved alike.

    Returns:
        (S, C*P*P) int64 with S = 1 or 8: ``patch[t[s]]`` is a transformed copy of a patch whose
        elements are in the order (C, P, P). The first row is the identity.

    Raises:
        ValueError: if the symmetry is unknown.

    Example:
        >>> transformations("d4", 3)[:3].tolist()
        [[0, 1, 2, 3, 4, 5, 6, 7, 8], [2, 5, 8, 1, 4, 7, 0, 3, 6], [8, 7, 6, 5, 4, 3, 2, 1, 0]]
    """
    if symmetry not in SYMMETRIES:
        raise ValueError(f"expected symmetry to be one of {SYMMETRIES}, got {symmetry!r}")
    elements = torch.arange(channels * patch_size**2).view(channels, patch_size, patch_size)
    if symmetry is None:
        return elements.view(1, -1)
    views = (elements, elements.flip(2))
    return torch.stack([view.rot90(turn, (1, 2)).flatten() for view in views for turn in range(4)])


def partners(groups: Sequence[LocationGroup], copies: Tensor) -> list[dict[int, Tensor]]:
    """Which groups of locations vote on which transformed copies of the patches of a group.

    A patch v of one group lies on that group's subspace, its copy on the transformed subspace. Of
    the locations that have the copy in their subspace, those of minimal rank count: the group, if
    there is one, whose subspace is the transformed one. Where the noise has full rank, all copies
    count, and the only group votes on all of them.

    Args:
        groups: from `fields.location_groups`.
        copies: from `transformations`.

    Returns:
        For each group i a dictionary: j to the indices of the transformations, (t,), that take the
        subspace of group i to that of group j. The identity, 0, takes each group to itself.
    """
    found = [{i: [0]} for i in range(len(groups))]
    if len(copies) > 1:
        # The projections of a random vector: two subspaces that have the same one are the same.
        probe = torch.randn(copies.shape[1], generator=torch.Generator().manual_seed(0)).double()
        marks = torch.stack([group.projected(probe) for group in groups])
    for s, copy in enumerate(copies[1:], start=1):
        # Projecting on the moved subspace is moving back, projecting, and moving.
        back = probe[copy.argsort()]
        moved = torch.stack([group.projected(back) for group in groups])[:, copy]
        distance, nearest = torch.cdist(moved, marks).min(1)
        for i in (distance < 1e-6).nonzero()[:, 0].tolist():
            found[i].setdefault(int(nearest[i]), []).append(s)
    return [{j: torch.tensor(s) for j, s in entry.items()} for entry in found]
