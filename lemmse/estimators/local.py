"""The estimator with one function for all patches: LE-MMSE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from ..devices import plain_mode
from ..fields import LocationGroup, as_field, extract
from ..operators.checks import as_integer, check_number
from ..reduction import Index, State, Top, combine, reduce, strongest
from ..symmetry import partners, transformations
from .base import NoiseLevel, Posterior, answer_dtype
from .grid import Grid, grid_of
from .module import prepared
from .patchwise import CHUNK_BYTES, Patchwise, in_order, one_set, whitened_alike
from .voters import Voters, pixel_indices

LEAST_INDEXED = 1 << 14  # fewer keys than this are faster streamed than indexed
QUERIES = 1 << 15  # patches of a measurement handled at once: large images in bounded memory


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
        dtype: precision of the keys; the work is done in it wherever that is exact to 1e-4. Keys
            that B A makes, or float64 images, are rounded to it once, without their mean: in
            float32 that moves log-densities by 0.01 where sigma is 1e-5 of the range of the images,
            and by less where it is larger.
        tolerance: fraction of the total weight that may be skipped, with a certificate.
        exact: skip nothing, the same as ``tolerance=0``.
        memory: bytes that prepared keys may take; a larger set is streamed at every call.
        symmetry: None, or "d4" for flips and quarter turns, of a field that these leave as it is.

    Raises:
        ValueError: as for `LocalMMSE`, or if the tolerance is not in [0, 1), memory negative or
            the symmetry unknown.

    Source: [LE], the LE-MMSE theorem; the symmetry is ours, chapter 29.

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
        self._kind, self._regularisation = preinverse, regularisation
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

    def _centred(self, groups: list[LocationGroup]) -> list[LocationGroup]:
        """Leaves a group as it is where its index then holds its keys without rounding."""
        exact = self._seen.dtype == self.dtype
        rows = zip(groups, super()._centred(groups), self._kept(groups), strict=True)
        return [
            g if exact and kept and self._is_large(g) and g.matrix is None else centred
            for g, centred, kept in rows
        ]

    def _is_large(self, group: LocationGroup) -> bool:
        return len(group.locations) * len(self.images) >= LEAST_INDEXED

    def _kept(self, groups: list[LocationGroup]) -> list[bool]:
        """Of which groups the keys are kept, as far as the memory goes."""
        free, marks = self.memory, []
        for group in groups:
            m = len(group.locations) * len(self.images)
            size = m * group.rank * torch.finfo(self.dtype).bits // 8
            marks.append(group.shared and size <= free)
            free -= size if marks[-1] else 0
        return marks

    @prepared
    def _sources(self) -> list:
        """For each group one source of keys; for locations whitened each its own way, a list."""
        return [
            [(slice(None), self._index(group) if self._is_large(group) else self._held(group))]
            if kept
            else [(which, self._stream(group, which, one_set)) for which in whitened_alike(group)]
            for group, kept in zip(self.groups, self._kept(self.groups), strict=True)
        ]

    def _index(self, group: LocationGroup) -> Index:
        return Index(self._merged(group), self.tolerance)

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

    @plain_mode()
    def forward(
        self, y: Tensor, sigma: NoiseLevel, operator: object = None, progress: bool = False
    ) -> Tensor:
        """Estimates the images behind some measurements; gradients flow into y and sigma.

        The function of patches is learned from the training images; the measurement may be of
        another size. Where the pre-inverse is the identity, y is then an image of any size;
        elsewhere the operator of that size has to be given.

        Args:
            y: measurements, as ``operator.measure`` makes them, on the device of the estimator.
            sigma: standard deviation of the noise, > 0: a number or one for each image, as a
                tensor, an array or a list of shape (), (1,), (B,) or (B, 1, 1, 1).
            operator: the forward operator of y, if it is not that of the training images. Its
                pre-inverse (of the same name) must be circulant or a mask like theirs, and leave
                the same noise in a patch: for a circulant one variances may differ by 1 %, for a
                mask every pattern must occur in the training images.
            progress: whether to show a progress bar.

        Returns:
            (B, C, H, W), in the precision of y, or in float32 if that is lower.

        Raises:
            ValueError: if y does not fit the operator, sigma is not positive, or one of them is
                more than 1e12 times as large or (sigma) as small as the measured training images;
                or if the noise in a patch of y is not that in the training images.

        Example:
            >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
            >>> LEMMSE(x, patch_size=3)(torch.rand(1, 1, 20, 30), 0.1).shape
            torch.Size([1, 1, 20, 30])
        """
        grid, measured, sigma = self._located(y, sigma, operator)
        state = self._evaluate(grid, measured, sigma, False, progress)
        return self._images_of(state, grid.image_size).to(answer_dtype(y))

    @plain_mode()
    def posterior(
        self, y: Tensor, sigma: NoiseLevel, operator: object = None, progress: bool = False
    ) -> Posterior:
        """Everything the estimator knows: see `Posterior`. Arguments and errors as for a call."""
        grid, measured, sigma = self._located(y, sigma, operator)
        state = self._evaluate(grid, measured, sigma, True, progress)
        return self._posterior_of(state, grid.image_size, answer_dtype(y))

    def _located(
        self, y: Tensor, sigma: NoiseLevel, operator: object
    ) -> tuple[Grid, Tensor, Tensor]:
        """Where y has its patches, and the checked arguments."""
        fits = isinstance(y, Tensor) and y.ndim == 4 and y.shape[1] == self.image_shape[0]
        plain = not fits or y.shape[1:] == self.preinverse.measurement_shape
        if operator is None and (plain or self.preinverse.name != "identity"):
            checked = self._checked(y, sigma)  # first: it refuses what makes no sense at all
            places = [(index, group.locations) for index, group in enumerate(self.groups)]
            return Grid(self.preinverse, places, self._blank), *checked
        grid = grid_of(
            y, operator, self.preinverse, self._kind, self._regularisation, self.field, self.groups
        )
        return grid, *self._checked(y, sigma, grid.blank)

    def _evaluate(
        self, grid: Grid, y: Tensor, sigma: Tensor, details: bool, progress: bool
    ) -> State:
        z = grid.preinverse.apply(y)
        step = max(1, QUERIES // (len(z) * len(self._copies)))
        parts = [(i, part) for i, locations in grid.places for part in locations.split(step)]
        pixels = grid.image_size[0] * grid.image_size[1]
        few = z.numel() * self.patch_size**2 * z.itemsize <= CHUNK_BYTES
        every = extract(z, self.field) if few else None  # all at once is faster
        states = []
        with tqdm(total=pixels, desc="LE-MMSE", unit="pixel", disable=not progress) as bar:
            for index, locations in parts:
                patches = every[:, locations] if few else extract(z, self.field, locations)
                voters = self._partners[index]
                states.append(self._evaluate_patches(voters, patches, sigma, details))
                bar.update(len(locations))
        return in_order(states, [locations for _, locations in parts])

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
            state = state.shift(self._log_normaliser(group.rank, log_pdet, level, samples))
            merged = state if merged is None else merged.merge(state)
        return combine([merged], lambda field: field[0].unflatten(0, (batch, count)))

    @plain_mode()
    def at(
        self,
        y: Tensor,
        sigma: NoiseLevel,
        pixels: Tensor | Sequence[tuple[int, int]],
        operator: object = None,
    ) -> Tensor:
        """The estimate at some pixels only, in so much less time.

        Worth it where each training location has a whitening of its own, as in tomography.

        Args:
            y: measurements, as for a call.
            sigma: standard deviation of the noise, as for a call.
            pixels: (row, column) pairs, a list of them or an integer tensor (n, 2).
            operator: as for a call.

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
        grid, measured, sigma = self._located(y, sigma, operator)
        wanted = pixel_indices(pixels, grid.image_size).to(y.device)
        z = grid.preinverse.apply(measured)
        values = z.new_empty(len(z), len(wanted), self.image_shape[0])
        for index, locations in grid.places:
            mine = torch.isin(wanted, locations)
            if mine.any():
                patches = extract(z, self.field, wanted[mine])
                voters = self._partners[index]
                state = self._evaluate_patches(voters, patches, sigma, details=False)
                values[:, mine] = self._pixel_units.back(state.mean).to(values)
        return values.to(answer_dtype(y))

    @plain_mode()
    def voters(
        self,
        y: Tensor,
        sigma: NoiseLevel,
        pixels: Tensor | Sequence[tuple[int, int]] | None = None,
        k: int = 10,
        operator: object = None,
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
            operator: as for a call.

        Raises:
            ValueError: as for a call, or if a pixel is outside the image, or k does not fit.

        Example:
            >>> x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
            >>> found = LEMMSE(x, patch_size=3).voters(x[3:4], 0.01, pixels=[(2, 6)], k=2)
            >>> found.source[0, 0, 0].tolist(), found.weight.shape
            ([3, 2, 6], torch.Size([1, 1, 2]))
        """
        grid, measured, sigma = self._located(y, sigma, operator)
        k = as_integer(k, "k", 1, self.total_images, "the number of training images")
        height, width = self.image_shape[1:]
        wanted = pixel_indices(pixels, grid.image_size).to(y.device)
        z = grid.preinverse.apply(measured)
        weight = z.new_empty(len(z), len(wanted), k)
        source = wanted.new_empty(len(z), len(wanted), k)
        for index, locations in grid.places:
            mine = torch.isin(wanted, locations)
            if not mine.any():
                continue
            patches = extract(z, self.field, wanted[mine])
            tops = [
                self._strongest(self.groups[other], patches[..., copy.to(y.device)], sigma, k)
                for other, which in self._partners[index].items()
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
