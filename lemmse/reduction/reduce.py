"""The door of the engine: one function, with gradients and across processes."""

from __future__ import annotations

from typing import NoReturn, Protocol

import torch
from torch import Tensor, distributed

from ..devices import plain_mode
from .dense import Slope
from .state import State, combine


class Source(Protocol):
    """Where keys come from: an `Index`, a `Stream`."""

    def attend(self, queries: Tensor, precision: Tensor, details: bool) -> State:
        """The state over the keys, in the dtype of the queries."""

    def pull(self, queries: Tensor, precision: Tensor, slope: Slope) -> Tensor:
        """The sums behind its gradient; see `dense.pull`."""


def reduce(queries: Tensor, precision: Tensor, source: Source, details: bool = False) -> State:
    r"""Softmax-weighted averages over all keys of a source, on all processes together.

    .. math:: \ell_{ij} = -\frac{\|q_i - k_j\|^2}{2 \sigma_i^2}, \qquad
        \mathrm{mean}_i = \frac{\sum_j e^{\ell_{ij}} v_j}{\sum_j e^{\ell_{ij}}}

    The work is done in float32, and in float64 where sigma is so small beside the keys that
    rounding in float32 would be felt, or where the keys are float64. It does not depend on the
    mode torch is in. Under ``torch.distributed`` each process holds its own part of the keys and
    all get the same, complete answer.

    Args:
        queries: (..., n, d), float64 for full accuracy; gradients flow into them.
        precision: :math:`1 / \sigma^2`, (..., n) or broadcastable to it; gradients flow into it.
        source: the keys.
        details: whether to fill ``State.details``; those have no gradients.

    Returns:
        The state, in the dtype of the queries. Gradients are those of first order: a second
        derivative is refused with a NotImplementedError.
    """
    with plain_mode():
        precision = precision.to(queries).expand(queries.shape[:-1])
        return State.of(_Reduce.apply(queries, precision, source, details))


class _Reduce(torch.autograd.Function):
    """The forward pass streams over the keys; the backward pass streams over them again."""

    @staticmethod
    def forward(
        queries: Tensor, precision: Tensor, source: Source, details: bool
    ) -> tuple[Tensor, ...]:
        return tuple(_merge_processes(source.attend(queries, precision, details)).tensors())

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        queries, precision, ctx.source, _ = inputs
        ctx.save_for_backward(queries, precision, *output[:2])
        ctx.mark_non_differentiable(*output[2:])

    @staticmethod
    def backward(ctx, grad_log_sum: Tensor, grad_mean: Tensor, *_: None) -> tuple:
        with plain_mode():
            saved = ctx.saved_tensors
            grad_queries, grad_precision = _Pull.apply(*saved, grad_log_sum, grad_mean, ctx.source)
            return grad_queries, grad_precision, None, None

    @staticmethod
    def vmap(*_: object) -> NoReturn:
        raise NotImplementedError(
            "torch.func.vmap over an estimator is not implemented: it takes batches as they are"
        )

    @staticmethod
    def jvp(*_: object) -> NoReturn:
        raise NotImplementedError(
            "forward-mode derivatives of an estimator are not implemented: use reverse mode "
            "(backward, torch.func.vjp)"
        )


class _Pull(torch.autograd.Function):
    r"""The gradient of `_Reduce`, a function by itself so that its own derivative can be refused.

    With a the derivative of the loss in the logits (see `Slope`), it is :math:`\sum_j a_{ij}
    (k_j - q_i) / \sigma_i^2` in the query and :math:`-\sum_j a_{ij} \|k_j - q_i\|^2 / 2` in the
    precision.
    """

    @staticmethod
    def forward(
        queries: Tensor,
        precision: Tensor,
        log_sum: Tensor,
        mean: Tensor,
        grad_log_sum: Tensor,
        grad_mean: Tensor,
        source: Source,
    ) -> tuple[Tensor, Tensor]:
        sums = source.pull(queries, precision, Slope(log_sum, mean, grad_log_sum, grad_mean))
        if processes() > 1:
            distributed.all_reduce(sums)
        sums = sums[..., :-1] / sums[..., -1:]
        return sums[..., :-1] * precision[..., None], -sums[..., -1] / 2

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        pass

    @staticmethod
    def backward(ctx, *_: Tensor) -> NoReturn:
        raise NotImplementedError(
            "second derivatives of an estimator are not implemented: its gradient is computed "
            "without a graph, so it cannot be differentiated again"
        )

    @staticmethod
    def vmap(*_: object) -> NoReturn:
        raise NotImplementedError(
            "a whole Jacobian at once (torch.func.jacrev, vmap) of an estimator is not "
            "implemented: take one vector-Jacobian product at a time"
        )


def processes() -> int:
    """How many processes share the keys: 1 unless ``torch.distributed`` is initialised."""
    ready = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if ready else 1


def largest_of_all(values: Tensor) -> Tensor:
    """The largest of the numbers that the processes have, entry by entry."""
    if processes() > 1:
        values = values.clone()
        distributed.all_reduce(values, distributed.ReduceOp.MAX)
    return values


def _merge_processes(state: State) -> State:
    """Merges the states of all processes, in the same order everywhere."""
    if processes() == 1:
        return state

    def gather(field: list[Tensor]) -> Tensor:
        parts = [torch.empty_like(field[0]) for _ in range(processes())]
        distributed.all_gather(parts, field[0].contiguous())
        return torch.stack(parts)

    return combine([state], gather).collapse(0)
