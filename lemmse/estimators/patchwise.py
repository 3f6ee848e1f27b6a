"""What estimators that see only patches share: patches of z = B y, whitened group by group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..devices import precise
from ..fields import Field, LocationGroup, extract, location_groups, merge_equal
from ..operators import Identity
from ..reduction import Keys, State, Stream, combine
from .base import IMAGES_AT_ONCE, WeightedAverage
from .module import prepared

CHUNK_BYTES = 1 << 25  # of one chunk of streamed keys, in float64


class Patchwise(WeightedAverage):
    """Base of `LocalMMSE` and `LEMMSE`: which keys the locations of an image give."""

    def __init__(self, images, operator, preinverse, field: Field, regularisation, dtype):
        super().__init__(images, operator, dtype)
        field.check_fits(self.image_shape[1:])
        self.field = field
        self.patch_size = field.patch_size
        self.preinverse = self.operator.preinverse(preinverse, self.image_shape, regularisation)

    @prepared
    def groups(self) -> list[LocationGroup]:
        """The locations, grouped by the subspace of their noise."""
        groups = location_groups(self.preinverse.noise, self.field, self.image_shape)
        return self._centred([group.to(self.images.device) for group in groups])

    def _centred(self, groups: list[LocationGroup]) -> list[LocationGroup]:
        """Centres groups at the mean of their patches: those of the mean image.

        Keys are rounded only then: those of images far from zero have no digits to lose.
        """
        mean = self._seen.mean(0, keepdim=True, dtype=precise(self.images.device))
        patches = (extract(mean, self.field, group.locations) for group in groups)
        return [replace(g, centre=p.mean((0, 1))) for g, p in zip(groups, patches, strict=True)]

    @prepared
    def _seen(self) -> Tensor:
        """B A x of all training images, (n, C, H, W), in units of ``_unit``: what is cut."""
        high = precise(self.images.device)

        def through(x: Tensor) -> Tensor:
            return self.preinverse.apply(self.operator.A(x.to(high)))

        parts = self.images.split(IMAGES_AT_ONCE)
        if isinstance(self.operator, Identity) and all(
            torch.equal(through(x), x.to(high)) for x in parts
        ):
            whole = self._unit == 1
            return self.images if whole else (self.images.to(high) / self._unit).to(self.images)
        return torch.cat([through(x) / self._unit for x in parts])

    def _chunks(self, group: LocationGroup, which: slice, dtype: torch.dtype) -> Iterator[Keys]:
        """The keys of some locations of a group, in this precision, chunk by chunk of images.

        Yields keys (n, l, r), values (n, l, C) and sources (n, l).
        """
        locations = group.locations[which]
        pixels = self.image_shape[1] * self.image_shape[2]
        whole = len(locations) == pixels
        bytes_an_image = 8 * len(locations) * self.image_shape[0] * self.patch_size**2
        step = max(1, CHUNK_BYTES // bytes_an_image)
        for start in range(0, len(self.images), step):
            part = slice(start, start + step)
            patches = extract(self._seen[part], self.field, None if whole else locations)
            if group.centre is not None:  # it has digits that float32 would round off
                patches = patches.to(precise(patches.device))
            values = self.images[part].flatten(2).mT
            sources = self.image_ids[part, None] * pixels + locations
            yield Keys(
                group.whiten(patches, which).to(dtype),
                self._pixel_units.of(values if whole else values[:, locations], self.dtype),
                sources,
            )

    def _stream(
        self, group: LocationGroup, which: slice, arrange: Callable[[Keys], Keys]
    ) -> Stream:
        """A source of the keys of some locations of a group, made anew for every reduction."""
        return Stream(lambda dtype: map(arrange, self._chunks(group, which, dtype)), self.dtype)

    def _held(self, group: LocationGroup) -> Stream:
        """The keys of a small group, made anew only in a better precision."""
        every = slice(None)
        kept = list(map(one_set, self._chunks(group, every, self.dtype)))

        def make(dtype: torch.dtype) -> Iterable[Keys]:
            return kept if dtype == self.dtype else map(one_set, self._chunks(group, every, dtype))

        return Stream(make, self.dtype)

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


def in_order(states: list[State], locations: list[Tensor]) -> State:
    """States of parts of the pixels, (B, L) each, as one state of all pixels, (B, H*W)."""
    order = torch.argsort(torch.cat(locations))
    return combine(states, lambda field: torch.cat(field, 1)[:, order])


def whitened_alike(group: LocationGroup) -> list[slice]:
    """Parts of a group that share a whitening: all of it, or its locations one by one."""
    if group.shared:
        return [slice(None)]
    return [slice(i, i + 1) for i in range(len(group.locations))]


def one_set(chunk: Keys) -> Keys:
    """Keys (n, l, r) of several locations as one set, (n*l, r)."""
    return Keys(chunk.keys.flatten(0, 1), chunk.values.flatten(0, 1), chunk.sources.flatten())


def one_set_each(chunk: Keys) -> Keys:
    """Keys (n, l, r) as one set for each location, (l, n, r)."""
    return Keys(
        chunk.keys.transpose(0, 1), chunk.values.transpose(0, 1), chunk.sources.transpose(0, 1)
    )
