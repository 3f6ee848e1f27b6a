"""Patches: circular extraction, noise covariance, visibility patterns, merging of equal ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from .devices import precise
from .operators import Diagonal, General, Stationary
from .operators.checks import as_integer

# Eigenvalues below this fraction of the largest one count as zero: the covariances are computed in
# float64, whose rounding leaves about 1e-15 of the largest eigenvalue in a null direction.
RANK_TOLERANCE = 1e-11

ROWS = 1 << 16  # vectors compared at once when equal ones are merged


def extract(x: Tensor, patch_size: int, locations: Tensor | None = None) -> Tensor:
    r"""Cuts the patches centred at the given pixels, with circular boundaries.

    .. math:: (\Pi_n x)_{c, i, j} = x[c, (r + i - p) \bmod H, (s + j - p) \bmod W],
        \qquad n = (r, s),\; p = (P - 1) / 2

    Args:
        x: images, (B, C, H, W).
        patch_size: P, odd, at most the smaller side of the images.
        locations: the pixels n = row * W + column, (L,); None means all H*W, in order.

    Returns:
        (B, L, C*P*P), the elements of a patch in the order (C, P, P).

    Raises:
        ValueError: if x is not a batch of images or P does not fit.

    Example:
        >>> extract(torch.arange(9.0).view(1, 1, 3, 3), 3)[0, 0].int().tolist()
        [8, 6, 7, 2, 0, 1, 5, 3, 4]
    """
    if x.ndim != 4:
        raise ValueError(f"expected images of shape (B, C, H, W), got shape {tuple(x.shape)}")
    patch_size = check_patch_size(patch_size, x.shape[-2:])
    if locations is None:
        margin = patch_size // 2
        padded = functional.pad(x, (margin,) * 4, mode="circular")
        return functional.unfold(padded, patch_size).transpose(1, 2)
    pixels = patch_pixels(patch_size, x.shape[-2:]).to(x.device)[locations.to(x.device)]
    return x.flatten(2)[:, :, pixels].transpose(1, 2).flatten(2)


def patch_pixels(patch_size: int, image_size: tuple[int, int]) -> Tensor:
    """The pixels of every patch: (H*W, P*P), pixel indices row * W + column, centre by centre.

    Example:
        >>> patch_pixels(3, (4, 4))[5].tolist()
        [0, 1, 2, 4, 5, 6, 8, 9, 10]
    """
    height, width = image_size
    reach = torch.arange(patch_size) - patch_size // 2
    rows = (torch.arange(height)[:, None] + reach) % height
    columns = (torch.arange(width)[:, None] + reach) % width
    return (rows[:, None, :, None] * width + columns[None, :, None, :]).reshape(
        height * width, patch_size**2
    )


def check_patch_size(patch_size: object, image_size: tuple[int, int]) -> int:
    """Returns a patch size; ValueError unless it is odd, positive and fits into the image."""
    size = as_integer(patch_size, "patch_size, which is odd,", 1)
    if size % 2 == 0:
        raise ValueError(f"expected patch_size to be odd, got {size}")
    if size > min(image_size):
        raise ValueError(
            f"expected patch_size of at most {min(image_size)} for images of size "
            f"{tuple(image_size)}, got {size}"
        )
    return size


@dataclass(frozen=True)
class LocationGroup:
    r"""Locations whose patches of z = B y live on one subspace, and how to whiten them.

    With :math:`Q_n = \Pi_n B`, the noise in patch n has covariance
    :math:`\sigma^2 Q_n Q_n^T`. Locations form a group when the images of their :math:`Q_n` are the
    same subspace: a generic patch seen at n lies in the image of :math:`Q_{n'}` with minimal rank
    for the n' of its own group and for no others. That is the minimal-rank rule: the subspace of n
    contains v, so a competing n' must contain the whole subspace of n (almost surely), and having
    no larger rank it must equal it.

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
    patch_size: int,
    image_shape: tuple[int, int, int],
) -> list[LocationGroup]:
    """Groups the locations by the subspace on which the patches of the noise B e live.

    Args:
        noise: the structure of B, from ``operators.preinverse(...).noise``.
        patch_size: P.
        image_shape: (C, H, W).

    Returns:
        Groups that together hold every location once.

    Example:
        >>> noise = Stationary(torch.ones(6, 6, dtype=torch.float64))
        >>> [group] = location_groups(noise, 3, (1, 6, 6))
        >>> group.rank, group.shared, len(group.locations)
        (9, True, 36)
    """
    if isinstance(noise, Stationary):
        return _stationary_groups(noise, patch_size, image_shape)
    if isinstance(noise, Diagonal):
        return _diagonal_groups(noise, patch_size, image_shape)
    return _general_groups(noise, patch_size, image_shape)


def toeplitz_covariance(spectrum: Tensor, patch_size: int) -> Tensor:
    r"""Covariance between the pixels of a patch of stationary noise.

    .. math:: \Sigma_{ij} = S[(p_i - p_j) \bmod (H, W)], \qquad S = \mathrm{ifft2}(|\hat b|^2)

    Args:
        spectrum: :math:`|\hat b|^2`, (H, W) float64.
        patch_size: P.

    Returns:
        (P*P, P*P) float64.

    Example:
        >>> toeplitz_covariance(torch.ones(5, 5, dtype=torch.float64), 3).diagonal().mean().item()
        1.0
    """
    height, width = spectrum.shape
    autocovariance = torch.fft.ifft2(spectrum).real
    side = torch.arange(patch_size)
    row, column = (axis.reshape(-1) for axis in torch.meshgrid(side, side, indexing="ij"))
    return autocovariance[
        (row[:, None] - row[None, :]) % height, (column[:, None] - column[None, :]) % width
    ]


def _stationary_groups(noise, patch_size, image_shape) -> list[LocationGroup]:
    channels, height, width = image_shape
    locations = torch.arange(height * width)
    if (noise.spectrum == 1).all():
        log_pdet = torch.zeros(1, dtype=torch.float64)
        return [LocationGroup(locations, channels * patch_size**2, None, log_pdet)]
    covariance = toeplitz_covariance(noise.spectrum, patch_size)
    matrix, log_pdet, rank = whitening(covariance[None])
    matrix, log_pdet = _repeat_over_channels(matrix[:, : rank[0]], log_pdet, channels)
    return [LocationGroup(locations, matrix.shape[1], matrix, log_pdet)]


def _repeat_over_channels(matrix: Tensor, log_pdet: Tensor, channels: int):
    """The whitening of C independent, equally filtered channels: a block-diagonal matrix."""
    return torch.stack([torch.block_diag(*[m] * channels) for m in matrix]), channels * log_pdet


def _diagonal_groups(noise, patch_size, image_shape) -> list[LocationGroup]:
    gain = noise.gain.expand(image_shape)
    gains = extract(gain[None], patch_size)[0]
    patterns, label = (gains != 0).unique(dim=0, return_inverse=True)
    groups = []
    for index, pattern in enumerate(patterns):
        locations = (label == index).nonzero()[:, 0]
        visible = gains[locations][:, pattern]
        if (visible == visible[:1]).all():
            visible = visible[:1]
        matrix = torch.eye(len(pattern), dtype=torch.float64)[pattern] / visible[..., None]
        log_pdet = visible.square().log().sum(1)
        groups.append(LocationGroup(locations, int(pattern.sum()), matrix, log_pdet))
    return groups


def _general_groups(noise, patch_size, image_shape) -> list[LocationGroup]:
    channels, height, width = image_shape
    rows = 1 if noise.per_channel else channels
    plane = patch_pixels(patch_size, (height, width))
    pixels = torch.cat([plane + row * height * width for row in range(rows)], 1)
    # One row of B a pixel: the covariance of a patch is the Gram matrix of its rows.
    gram = noise.matrix @ noise.matrix.T
    covariance = gram[pixels[:, :, None], pixels[:, None, :]]
    if _all_equal(covariance):  # B is circulant, for all that it came as a matrix
        matrix, log_pdet, rank = whitening(covariance[:1])
        matrix = matrix[:, : rank[0]]
        if noise.per_channel and channels > 1:
            matrix, log_pdet = _repeat_over_channels(matrix, log_pdet, channels)
        return [LocationGroup(torch.arange(height * width), matrix.shape[1], matrix, log_pdet)]
    matrix, log_pdet, rank = whitening(covariance)
    groups = []
    for locations in _same_subspace(matrix, rank):
        size = int(rank[locations[0]])
        w, constant = matrix[locations, :size], log_pdet[locations]
        if noise.per_channel and channels > 1:
            w, constant = _repeat_over_channels(w, constant, channels)
        groups.append(LocationGroup(locations, w.shape[1], w, constant))
    return groups


def _all_equal(covariance: Tensor) -> bool:
    """Whether all covariances (L, d, d) are the same, but for the rounding of float64."""
    difference = (covariance - covariance[:1]).abs().max()
    return bool(difference <= 1e-13 * covariance.abs().max())


def whitening(covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Whitening matrices of positive semi-definite matrices, degenerate ones included.

    From the eigendecomposition :math:`\Sigma = U \Lambda U^T` with r eigenvalues above rounding:
    :math:`W = \Lambda_r^{-1/2} U_r^T`, so that :math:`W \Sigma W^T = I_r` and
    :math:`\|W v\|^2 = v^T \Sigma^+ v`.

    Args:
        covariance: (..., d, d), float64.

    Returns:
        W, (..., d, d), whose rows from r on are zero; the log pseudo-determinant (...); r (...).
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(-1), vectors.flip(-1)
    keep = values > RANK_TOLERANCE * values[..., :1].clamp_min(0)
    scale = torch.where(keep, values, 1.0)
    matrix = vectors.mT * (keep / scale.sqrt())[..., None]
    return matrix, scale.log().sum(-1), keep.sum(-1)


def _same_subspace(matrix: Tensor, rank: Tensor) -> list[Tensor]:
    """Partitions locations by the row space of their whitening matrices."""
    basis = functional.normalize(matrix, dim=-1)
    full = rank == matrix.shape[-1]
    groups = [full.nonzero()[:, 0]] if full.any() else []
    rest = (~full).nonzero()[:, 0]
    while len(rest):
        first = rest[0]
        # For orthonormal bases of r rows, ||U_1 U_2^T||_F^2 = r exactly when the spans agree.
        overlap = (basis[rest] @ basis[first].T).square().sum((1, 2))
        same = (rank[rest] == rank[first]) & ((overlap - rank[first]).abs() < 1e-6)
        groups.append(rest[same])
        rest = rest[~same]
    return groups


@dataclass(frozen=True)
class Merged:
    """Distinct vectors of a set, from `merge_equal`.

    Attributes:
        keys: (M, d).
        counts: how often each occurs, (M,).
        values: mean over the occurrences of each of the values columns, (M, c).
        spread: their variance over the occurrences, (M, c).
        first: index of the first occurrence, (M,).
    """

    keys: Tensor
    counts: Tensor
    values: Tensor
    spread: Tensor
    first: Tensor


def merge_equal(keys: Tensor, values: Tensor) -> Merged:
    """Merges identical rows of keys, averaging their values; bit for bit, nothing approximate.

    Equal rows meet by sorting a 64-bit hash of their bits; neighbours are merged only after
    comparing them, so that a collision of hashes can cost a merge but never make a false one.

    Args:
        keys: (m, d), float32 or float64.
        values: (m, c).

    Returns:
        The distinct keys, in no particular order.

    Example:
        >>> keys, values = torch.tensor([[1.0], [2], [1]]), torch.tensor([[0.0], [5], [1]])
        >>> merged = merge_equal(keys, values)
        >>> sorted(zip(merged.counts.tolist(), merged.values[:, 0].tolist(), strict=True))
        [(1, 5.0), (2, 0.5)]
    """
    hashes, order = torch.sort(_hash_rows(keys), stable=True)
    new = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
    alike = (hashes[1:] == hashes[:-1]).nonzero()[:, 0] + 1
    for part in alike.split(ROWS):
        new[part] = (keys[order[part]] != keys[order[part - 1]]).any(1)
    label = new.cumsum(0) - 1
    counts = torch.bincount(label)

    # float64 sums: thousands of copies of one flat patch must not lose digits.
    def mean(columns: Tensor) -> Tensor:
        totals = columns.new_zeros(len(counts), columns.shape[1])
        return totals.index_add_(0, label, columns) / counts[:, None]

    sorted_values = values[order].to(precise(values.device))
    means = mean(sorted_values)
    spread = mean((sorted_values - means[label]).square())
    first = order[new]
    return Merged(keys[first], counts, means.to(values.dtype), spread.to(values.dtype), first)


def _hash_rows(keys: Tensor) -> Tensor:
    """A 64-bit hash of each row: an odd random multiple of every word, summed modulo 2^64."""
    bits = torch.int32 if keys.dtype == torch.float32 else torch.int64
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (keys.shape[1],), generator=generator) * 2 + 1
    total = torch.zeros(len(keys), dtype=torch.int64, device=keys.device)
    for column, factor in zip(keys.T, factors.tolist(), strict=True):
        # Adding zero makes -0 and 0, which are equal, the same bits.
        total += (column + 0.0).view(bits).long() * factor
    return total
