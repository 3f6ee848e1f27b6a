"""When to stop the descent: rules, each a question about all runs and trials at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Rule(Protocol):
    """Says which runs and trials may stop now."""

    def __call__(self, iteration: int, loss: Tensor) -> Tensor:
        """True where to stop.

        Args:
            iteration: how many steps were made.
            loss: half the squared residual, (runs, trials).
        """


@dataclass(frozen=True)
class LossThreshold:
    """Stops where the loss 1/2 ``|A x - y|^2`` is at most a threshold.

    Attributes:
        threshold: a number, or one for each run: (runs,).

    Example:
        >>> LossThreshold(1e-6)(3, torch.tensor([[1.0, 1e-7]]))
        tensor([[False,  True]])
    """

    threshold: float | Tensor

    def __call__(self, iteration: int, loss: Tensor) -> Tensor:
        """True where to stop."""
        return loss <= _column(self.threshold)


@dataclass(frozen=True)
class Discrepancy:
    """Morozov's discrepancy principle: stops where ``|A x - y|`` <= factor ``|eps|``.

    Attributes:
        noise: the norm of the noise (sigma sqrt(m) if its level is known), or one for each run.
        factor: at least 1.

    Example:
        >>> Discrepancy(0.1)(3, torch.tensor([[0.1, 0.004]]))
        tensor([[False,  True]])
    """

    noise: float | Tensor
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor: expected at least 1, got {self.factor}")

    def __call__(self, iteration: int, loss: Tensor) -> Tensor:
        """True where to stop."""
        return loss <= (self.factor * _column(self.noise)) ** 2 / 2


@dataclass(frozen=True)
class TheoremTime:
    """Stops at the theorem's stopping time, from which on ``|A x_t - A xbar|`` <= 2 ``|eps|``.

    Attributes:
        time: steps, or one number for each run: `Constants.stopping_time`.

    Example:
        >>> TheoremTime(torch.tensor([2, 4]))(3, torch.ones(2, 1)).tolist()
        [[True], [False]]
    """

    time: float | Tensor

    def __call__(self, iteration: int, loss: Tensor) -> Tensor:
        """True where to stop."""
        reached = torch.as_tensor(iteration >= _column(self.time))
        return reached.to(loss.device).expand(loss.shape)


def _column(value: float | Tensor) -> float | Tensor:
    return value[:, None] if torch.is_tensor(value) and value.ndim == 1 else value
