"""The door of the engine: one function, with gradients and across processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, distributed

from .dense import Keys, attend, tiles
from .state import State, combine

# Largest rounding error of a logit that float32 is trusted with. An error e of one of two logits
# that tie moves their mean by e/4 of the difference of the values, so this keeps results to 1e-4.
LOGIT_ERROR = 2e-3


class Source(Protocol):
    """Where keys come from: an `Index`, or a `Stream`."""

    radius: float
    dtype: torch.dtype

    def attend(self, queries: Tensor, precision: Tensor, details: bool) -> State: ...

    def chunks(self) -> Iterator[Keys]: ...


@dataclass(frozen=True)
class Stream:
    """Keys that are made chunk by chunk and forgotten: memory does not grow with their number.

    Attributes:
        make: returns an iterator over the chunks; called once for each reduction.
    """

    make: Callable[[], Iterable[Keys]]

    def chunks(self) -> Iterator[Keys]:
        """The chunks, from the start."""
        return iter(self.make())

    @cached_property
    def _first(self) -> tuple[float, torch.dtype]:
        keys = next(self.chunks()).keys
        return keys.norm(dim=-1).max().item(), keys.dtype

    @property
    def radius(self) -> float:
        """The largest norm among the keys of the first chunk, which tells the scale of all."""
        return self._first[0]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the keys."""
        return self._first[1]

    def attend(self, queries: Tensor, precision: Tensor, details: bool) -> State:
        """Reduces over the keys; see `dense.attend`."""
        return attend(queries, precision, self.chunks(), details)


def reduce(queries: Tensor, precision: Tensor, source: Source, details: bool = False) -> State:
    r"""Softmax-weighted averages over all keys of a source, on all processes together.

    .. math:: \ell_{ij} = -\frac{\|q_i - k_j\|^2}{2 \sigma_i^2}, \qquad
        \mathrm{mean}_i = \frac{\sum_j e^{\ell_{ij}} v_j}{\sum_j e^{\ell_{ij}}}

    The work is done in float32, and in float64 where sigma is so small beside the keys that
    rounding in float32 would be felt, or where the keys are float64. Under ``torch.distributed``
    each process holds its own part of the keys and all get the same, complete answer.

    Args:
        queries: (..., n, d), float64 for full accuracy; gradients flow into them.
        precision: :math:`1 / \sigma^2`, (..., n) or broadcastable to it.
        source: the keys.
        details: whether to fill ``State.details``; those have no gradients.

    Returns:
        The state, in the dtype of the queries.
    """
    precision = precision.to(queries).expand(queries.shape[:-1])
    outputs = _Reduce.apply(queries, precision, source, details)
    return State.of(outputs)


def working_dtype(queries: Tensor, precision: Tensor, source: Source) -> torch.dtype:
    """The keys' dtype where its rounding of the logits is harmless, else the queries'."""
    size = source.radius * (queries.norm(dim=-1).max().item() + source.radius / 2)
    error = torch.finfo(source.dtype).eps / 2 * size * precision.max().item()
    return source.dtype if error <= LOGIT_ERROR else queries.dtype


class _Reduce(torch.autograd.Function):
    """The forward pass streams over the keys; the backward pass streams over them again."""

    @staticmethod
    def forward(ctx, queries, precision, source, details):
        dtype = working_dtype(queries, precision, source)
        state = source.attend(queries.to(dtype), precision.to(dtype), details)
        # The queries' own part of the exponent, in their own precision.
        offset = -queries.square().sum(-1) * precision / 2
        state = combine([state], lambda field: _convert(field[0], queries.dtype)).shift(offset)
        state = _merge_processes(state)
        ctx.save_for_backward(queries, precision, state.log_sum)
        ctx.source = source
        outputs = state.tensors()
        ctx.mark_non_differentiable(*outputs[2:])
        return tuple(outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_log_sum, grad_mean, *_):
        r"""With the weights normalised, :math:`d\,\mathrm{mean}/dq = \sum_j w_j (v_j -
        \mathrm{mean}) (k_j - q)^T / \sigma^2` and :math:`d \log\Sigma/dq = \sum_j w_j (k_j - q)
        / \sigma^2`. The log-sum of the forward pass may carry the rounding of float32, so the sum
        of the weights is taken anew."""
        queries, precision, log_sum = ctx.saved_tensors
        columns = queries.shape[-1] + 1
        # Sums over j of w_j (k_j - q, 1), and of the same times v_j . grad_mean.
        plain = queries.new_zeros(*queries.shape[:-1], columns)
        along = torch.zeros_like(plain)
        for tile in tiles(ctx.source.chunks(), queries):
            keys, values = tile.keys.to(queries.dtype), tile.values.to(queries.dtype)
            logits = torch.cdist(keys, queries).square() * (precision[..., None, :] / -2)
            weights = (logits - log_sum[..., None, :]).exp_()
            if tile.counts is not None:
                weights *= tile.counts.to(weights)[..., None]
            keys = torch.cat([keys, keys.new_ones(*keys.shape[:-1], 1)], -1)
            plain += weights.mT @ keys
            along += (weights * (values @ grad_mean.mT)).mT @ keys
        for sums in (plain, along):
            sums[..., :-1] -= sums[..., -1:] * queries
        if processes() > 1:
            distributed.all_reduce(plain)
            distributed.all_reduce(along)
        total = plain[..., -1:]
        plain, along = plain / total, along / total
        # The last column of ``along`` is now mean . grad_mean.
        slope = grad_log_sum[..., None] - along[..., -1:]
        gradient = along[..., :-1] + slope * plain[..., :-1]
        return gradient * precision[..., None], None, None, None


def _convert(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def processes() -> int:
    """How many processes share the keys: 1 unless ``torch.distributed`` is initialised."""
    ready = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if ready else 1


def _merge_processes(state: State) -> State:
    """Merges the states of all processes, in the same order everywhere."""
    if processes() == 1:
        return state

    def gather(field: list[Tensor]) -> Tensor:
        parts = [torch.empty_like(field[0]) for _ in range(processes())]
        distributed.all_gather(parts, field[0].contiguous())
        return torch.stack(parts)

    return combine([state], gather).collapse(0)
