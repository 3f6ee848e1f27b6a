"""The estimator with a function of its own at every pixel: local MMSE."""

from __future__ import annotations

import torch
from torch import Tensor

from ..devices import plain_mode
from ..fields import as_field, extract
from ..reduction import State, combine, reduce
from .patchwise import Patchwise, in_order, one_set_each


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

    def _evaluate(self, y: Tensor, sigma: Tensor, details: bool) -> State:
        z = self.preinverse.apply(y)
        states = [self._evaluate_group(group, z, sigma, details) for group in self.groups]
        return in_order(states, [group.locations for group in self.groups])

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
            constant = self._log_normaliser(
                group.rank, log_pdet.to(sigma)[:, None], sigma[None, :], self.total_images
            )
            states.append(combine([state.shift(constant)], lambda field: field[0].transpose(0, 1)))
        return combine(states, lambda field: torch.cat(field, 1))
