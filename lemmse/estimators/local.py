"""Estimators that see, at each pixel, only a patch: local MMSE and LE-MMSE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..devices import plain_mode
from ..fields import LocationGroup, as_field, extract, merge_equal
from ..operators.checks import as_integer, check_number
from ..reduction import Index, Keys, State, Top, combine, reduce, strongest
from ..symmetry import partners, transformations
from .base import NoiseLevel, answer_dtype, log_normaliser
from .module import prepared
from .patchwise import Patchwise, one_set, one_set_each, whitened_alike
from .voters import Voters, pixel_indices

LEAST_INDEXED = 1 << 14  # fewer keys than this are faster streamed than indexed


class LocalMMSE(Patchwise):
    r"""The best estimator that computes each pixel from its own patch of z = B y.

    .. math:: \hat x[n] = \sum_k w_{k} x_k[n], \qquad
        w_{k} \propto \mathcal N(\Pi_n z;\; Q_n A x_k,\, \sigma^2 Q_n Q_n^T), \qquad Q_n = \Pi_n B

    Each pixel has a function of its own: only the patches at the same place of the training images
    count.

    Args:
        images: training images, (N, C, H, W).
        operator: the forward operator A; None is denoising.
        preinverse: B, as in `operators.preinverse`.
        patch_size: P, odd; None is 5, or that of the field.
        padding: what is seen beyond the border of z: "circular", "zeros", "reflect" or "replicate".
        field: what is seen of a patch, see `LEMMSE`; phases may differ in what they see, and their
            pixels have functions of their own in any case.
        regularisation: lambda of the Tikhonov inverse.
        dtype: as for `MMSE`.

    Raises:
        ValueError: if the images are not a non-empty, finite batch, do not fit the operator, the
            field does not fit the image, or B does not suit the operator.

    Source: [LE], local MMSE.

    Example:
        >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> LocalMMSE(x, patch_size=3)(x[:2], 0.1).shape
        torch.Size([2, 1, 8, 8])
    """

    @plain_mode()
    def __init__(
        self,
        images: Tensor,
        operator: object = None,
        preinverse: object = None,
        patch_size: int | None = None,
        *,
        padding: str = "circular",
        field: object = None,
        regularisation: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ):
        seen = as_field(patch_size, padding, 1, field)
        super().__init__(images, operator, preinverse, seen, regularisation, dtype)

    def _centred(self, group: LocationGroup) -> LocationGroup:
        """Centres every group: there is no index here, and images far from zero lose digits."""
        return self._at_mean(group)

    def _evaluate(self, y: Tensor, sigma: Tensor, details: bool) -> State:
        z = self.preinverse.apply(y)
        states = [self._evaluate_group(group, z, sigma, details) for group in self.groups]
        return self._in_order(states)

    def _evaluate_group(self, group, z, sigma, details) -> State:
        patches = extract(z, self.field, group.locations)
        # Few enough locations at once that a chunk of their keys is small.
        step = max(1, (1 << 22) // (len(self.images) * max(1, group.rank)))
        states = []
        for start in range(0, len(group.locations), step):
            which = slice(start, start + step)
            queries = group.whiten(patches[:, which], which).transpose(0, 1)
            source = self._stream(group, which, one_set_each)
            state = reduce(queries, sigma.square().reciprocal(), source, details)
            log_pdet = group.log_pdet if group.shared else group.log_pdet[which]
            constant = log_normaliser(
                group.rank, log_pdet.to(sigma)[:, None], sigma[None, :], self.total_images
            )
            states.append(combine([state.shift(constant)], lambda field: field[0].transpose(0, 1)))
        return combine(states, lambda field: torch.cat(field, 1))


class LEMMSE(Patchwise):
    r"""The best estimator that applies one and the same function to every patch of z = B y.

    .. math:: \hat x[n] = f(\Pi_n z), \qquad
        f(v) = \sum_{k, n'} w_{k, n'}(v)\, x_k[n'], \qquad
        w_{k, n'}(v) \propto \mathcal N(v;\; Q_{n'} A x_k,\, \sigma^2 Q_{n'} Q_{n'}^T)

    with :math:`Q_{n'} = \Pi_{n'} B`: an average over all pixels of all training images. Where
    :math:`Q_{n'}` is not onto, only the n' of the same subspace as n count (the minimal-rank rule,
    see `fields.LocationGroup`).

    What a network sees at n may be less regular than a P x P patch with circular boundaries: it
    pads with something else, its layers leave holes, and with strides or pooling by s it has a
    function of its own for each of the s^2 *phases* (row mod s, column mod s) of a pixel. Such a
    network is described by ``padding``, ``period`` and ``field``, and the best such function is

    .. math:: f_{n \bmod s}(v) = E\big[x[n'] \,\big|\, \Pi_{n'} E B y = v\big], \qquad
        n' \text{ uniform on the pixels with } n' \equiv n \pmod s,

    where E continues z beyond its border and :math:`\Pi_{n'}` cuts what the field sees. It is the
    formula above with :math:`Q_{n'} = \Pi_{n'} E B`, one f for each phase. The minimal-rank rule
    finds the border: locations with the same pattern of padded zeros, or of copied pixels, vote for
    each other, and a copied pixel counts once.

    With ``symmetry="d4"`` the function is also the same for the eight flipped and turned copies of
    a patch, :math:`f(r v) = f(v)`, and the best of these: on square images the estimator commutes
    with flips and quarter turns of z, as it does with shifts. Every training patch votes for all
    its copies,

    .. math:: f(v) = \sum_{k, n', r} w_{k, n', r}(v)\, x_k[n'], \qquad
        w_{k, n', r}(v) \propto \mathcal N(r v;\; Q_{n'} A x_k,\, \sigma^2 Q_{n'} Q_{n'}^T),

    and the minimal-rank rule compares the subspace of n' with the transformed one of n. An
    evaluation takes eight times as long, and the keys no more memory. In a `Posterior`,
    ``log_density`` is that of the mixture over all copies, copies count separately in
    ``effective_samples`` and ``weight``, and ``source`` is the training pixel whose patch has the
    largest weight in any of its copies.

    Args:
        images: training images, (N, C, H, W).
        operator: the forward operator A; None is denoising.
        preinverse: B, as in `operators.preinverse`: None for the physics-agnostic estimator.
        patch_size: P, odd; None is 5, or that of the field.
        padding: what is seen beyond the border of z: "circular", "zeros", "reflect" (the border
            pixel stands once) or "replicate".
        period: s; the function depends on row mod s and column mod s.
        field: what is seen of a patch: a boolean mask (P, P), or one for each phase, (s, s, P, P);
            or a `fields.Field`, which says everything. None: all of it.
        regularisation: lambda of the Tikhonov inverse.
        dtype: precision of the keys; the work is done in it wherever that is exact to 1e-4.
        tolerance: fraction of the total weight that may be skipped, with a certificate.
        exact: skip nothing, the same as ``tolerance=0``.
        memory: bytes that prepared keys may take; a larger set is streamed at every call.
        symmetry: None, or "d4" for flips and quarter turns, of a field that these leave as it is.

    Raises:
        ValueError: as for `LocalMMSE`, or if the tolerance is not in [0, 1), memory negative or
            the symmetry unknown.

    Source: [LE], the LE-MMSE theorem; the symmetry is ours, chapter 28.

    Example:
        >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> estimate = LEMMSE(x, patch_size=3)
        >>> y = x[:2] + 0.1 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        >>> torch.allclose(estimate(y.roll(2, -1), 0.1), estimate(y, 0.1).roll(2, -1), atol=1e-5)
        True
    """

    @plain_mode()
    def __init__(
        self,
        images: Tensor,
        operator: object = None,
        preinverse: object = None,
        patch_size: int | None = None,
        *,
        padding: str = "circular",
        period: int = 1,
        field: object = None,
        regularisation: float = 0.01,
        dtype: torch.dtype = torch.float32,
        tolerance: float = 1e-6,
        exact: bool = False,
        memory: int = 1 << 30,
        symmetry: str | None = None,
    ):
        seen = as_field(patch_size, padding, period, field)
        super().__init__(images, operator, preinverse, seen, regularisation, dtype)
        self._copies = transformations(symmetry, seen.patch_size, self.image_shape[0])
        if symmetry is not None and not seen.is_symmetric:
            raise ValueError(
                "expected symmetry=None for a field with a period or a mask that flips and turns "
                f"change, got {symmetry!r}"
            )
        self.symmetry = symmetry
        tolerance = check_number(tolerance, "tolerance", 0, 1)
        self.tolerance = 0.0 if exact else tolerance
        self.memory = check_number(memory, "memory in bytes", 0)

    @prepared
    def _sources(self) -> list:
        """For each group one source of keys; for locations whitened each its own way, a list."""
        itemsize = torch.finfo(self.dtype).bits // 8
        free = self.memory
        sources = []
        for group in self.groups:
            m = len(group.locations) * len(self.images)
            size = m * group.rank * itemsize
            if group.shared and m >= LEAST_INDEXED and size <= free:
                free -= size
                sources.append([(slice(None), self._index(group))])
            else:
                sources.append(
                    [
                        (which, self._stream(group, which, one_set))
                        for which in whitened_alike(group)
                    ]
                )
        return sources

    def _index(self, group: LocationGroup) -> Index:
        return Index(self._merged(group), self.tolerance)

    def _merged(self, group: LocationGroup) -> Keys:
        """All keys of a group, equal ones merged."""
        m, c = len(group.locations) * len(self.images), self.image_shape[0]
        keys = self.images.new_empty(m, group.rank, dtype=self.dtype)
        values = self.images.new_empty(m, c, dtype=self.dtype)
        sources = self.image_ids.new_empty(m)
        start = 0
        for chunk in map(one_set, self._chunks(group, slice(None), self.dtype)):
            part = slice(start, start + len(chunk.keys))
            keys[part], values[part], sources[part] = chunk.keys, chunk.values, chunk.sources
            start = part.stop
        merged = merge_equal(keys, values)
        return Keys(merged.keys, merged.values, sources[merged.first], merged.counts, merged.spread)

    @prepared
    def _partners(self) -> list[dict[int, Tensor]]:
        """For each group, which groups vote on which copies of its patches."""
        return partners(self.groups, self._copies)

    @prepared
    def _peers(self) -> list[int]:
        """For each group, how many locations have its phase."""
        phases = [self.field.phase(g.locations, self.image_shape[2]) for g in self.groups]
        count = torch.cat(phases).bincount()
        return [int(count[phase[0]]) for phase in phases]

    def _evaluate(self, y: Tensor, sigma: Tensor, details: bool) -> State:
        z = self.preinverse.apply(y)
        states = []
        for group, voters in zip(self.groups, self._partners, strict=True):
            patches = extract(z, self.field, group.locations)
            states.append(self._evaluate_patches(voters, patches, sigma, details))
        return self._in_order(states)

    def _evaluate_patches(self, voters, patches, sigma, details) -> State:
        """The state of patches, (B, L, d), over the groups that vote on them."""
        copies = [
            self._evaluate_copies(other, patches, self._copies[which], sigma, details)
            for other, which in voters.items()
        ]
        return combine(copies, torch.cat).collapse(0)

    def _evaluate_copies(self, index, patches, copies, sigma, details) -> State:
        """The states of some copies of patches (B, L, d), (t, B, L), over the keys of a group."""
        views = patches[..., copies.to(patches.device)].movedim(2, 0)
        levels = sigma.repeat(len(copies))
        state = self._evaluate_group(index, views.flatten(0, 1), levels, details)
        return combine([state], lambda field: field[0].unflatten(0, (len(copies), -1)))

    def _evaluate_group(self, index, patches, sigma, details) -> State:
        """The state of patches, (B, L, d), over the sources of a group."""
        group, sources = self.groups[index], self._sources[index]
        batch, count, _ = patches.shape
        level = sigma[:, None].expand(batch, count).reshape(-1)
        samples = self.total_images * self._peers[index] * len(self._copies)
        merged = None
        for which, source in sources:
            queries = group.whiten_as(patches.flatten(0, 1), which)
            state = reduce(queries, level.square().reciprocal(), source, details)
            log_pdet = group.log_pdet[which].to(level)
            state = state.shift(log_normaliser(group.rank, log_pdet, level, samples))
            merged = state if merged is None else merged.merge(state)
        return combine([merged], lambda field: field[0].unflatten(0, (batch, count)))

    @plain_mode()
    def at(
        self,
        y: Tensor,
        sigma: NoiseLevel,
        pixels: Tensor | Sequence[tuple[int, int]],
    ) -> Tensor:
        """The estimate at some pixels only, in so much less time.

        Worth it where each training location has a whitening of its own, as in tomography.

        Args:
            y: measurements, as for a call.
            sigma: standard deviation of the noise, as for a call.
            pixels: (row, column) pairs, a list of them or an integer tensor (n, 2).

        Returns:
            (B, n, C), in the precision of y.

        Raises:
            ValueError: as for a call, or if a pixel is outside the image.

        Example:
            >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
            >>> estimate = LEMMSE(x, patch_size=3)
            >>> some = estimate.at(x[:2], 0.1, [(0, 0), (4, 7)])
            >>> torch.allclose(some[:, 1, 0], estimate(x[:2], 0.1)[:, 0, 4, 7], atol=1e-5)
            True
        """
        measured, sigma = self._checked(y, sigma)
        wanted = pixel_indices(pixels, self.image_shape[1:]).to(y.device)
        z = self.preinverse.apply(measured)
        values = z.new_empty(len(z), len(wanted), self.image_shape[0])
        for group, voters in zip(self.groups, self._partners, strict=True):
            mine = torch.isin(wanted, group.locations)
            if mine.any():
                patches = extract(z, self.field, wanted[mine])
                state = self._evaluate_patches(voters, patches, sigma, details=False)
                values[:, mine] = state.mean.to(values)
        return values.to(answer_dtype(y))

    @plain_mode()
    def voters(
        self,
        y: Tensor,
        sigma: NoiseLevel,
        pixels: Tensor | Sequence[tuple[int, int]] | None = None,
        k: int = 10,
    ) -> Voters:
        """The training pixels with the largest weights, for some pixels of the estimate.

        Every training pixel stands for itself here, also where several have the same patch; with a
        symmetry each of its copies does.

        Args:
            y: measurements, as for a call.
            sigma: standard deviation of the noise, as for a call.
            pixels: (row, column) pairs, a list of them or an integer tensor (n, 2); None means all
                H*W pixels, in order.
            k: how many, at most the number of training images.

        Raises:
            ValueError: as for a call, or if a pixel is outside the image, or k does not fit.

        Example:
            >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
            >>> found = LEMMSE(x, patch_size=3).voters(x[3:4], 0.01, pixels=[(2, 6)], k=2)
            >>> found.source[0, 0, 0].tolist(), found.weight.shape
            ([3, 2, 6], torch.Size([1, 1, 2]))
        """
        measured, sigma = self._checked(y, sigma)
        k = as_integer(k, "k", 1, self.total_images, "the number of training images")
        height, width = self.image_shape[1:]
        wanted = pixel_indices(pixels, (height, width)).to(y.device)
        z = self.preinverse.apply(measured)
        weight = z.new_empty(len(z), len(wanted), k)
        source = wanted.new_empty(len(z), len(wanted), k)
        for group, voting in zip(self.groups, self._partners, strict=True):
            mine = torch.isin(wanted, group.locations)
            if not mine.any():
                continue
            patches = extract(z, self.field, wanted[mine])
            tops = [
                self._strongest(self.groups[other], patches[..., copy.to(y.device)], sigma, k)
                for other, which in voting.items()
                for copy in self._copies[which]
            ]
            top = Top.over(tops)
            weight[:, mine] = top.weights.view(len(z), -1, k)
            source[:, mine] = top.sources.view(len(z), -1, k)
        pixel = source % (height * width)
        place = (source // (height * width), pixel // width, pixel % width)
        return Voters(weight.to(answer_dtype(y)), torch.stack(place, -1))

    def _strongest(self, group: LocationGroup, patches: Tensor, sigma: Tensor, k: int) -> Top:
        """The strongest keys of a group for patches (B, n, d), taken as B*n queries."""
        level = sigma[:, None].expand(patches.shape[:2]).reshape(-1)
        tops = []
        for which in whitened_alike(group):
            queries = group.whiten_as(patches.flatten(0, 1), which)
            keys = self._stream(group, which, one_set)
            top = strongest(queries, level.square().reciprocal(), keys, k)
            tops.append(top.shift(-group.log_pdet[which].to(level) / 2))
        return Top.over(tops)
