"""Networks without a training set: a fixed input, many independent initial weights at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class Network(ABC):
    """g(u, theta) with a fixed input u, for several runs at once.

    A *run* is a network with its own random input and weights. A run can be trained several times
    from the same start, for instance with several steps: these are its *trials*. So parameters have
    the shape (runs, trials, ...), and outputs ``(runs, trials, *image)``.

    Attributes:
        start: theta_0, (runs, ...).
    """

    start: Tensor

    @abstractmethod
    def output(self, theta: Tensor | None = None) -> Tensor:
        """The images x = g(u, theta).

        Args:
            theta: (runs, trials, ...); None: theta_0.

        Returns:
            ``(runs, trials, *image)``; at theta_0: ``(runs, *image)``.
        """

    @abstractmethod
    def select(self, runs: Tensor) -> Network:
        """The network with some of the runs only.

        Args:
            runs: their indices, or a mask.
        """

    @abstractmethod
    def single(self, run: int, theta: Tensor) -> Tensor:
        """The image of one run as a vector (n,), a function that `torch.func` can differentiate.

        Args:
            run: which one.
            theta: its parameters, shaped as ``start[run]``.
        """

    @abstractmethod
    def to(self, *args, **kwargs) -> Network:
        """The network on another device or in another precision, as `torch.Tensor.to`."""

    @property
    def runs(self) -> int:
        """How many runs."""
        return len(self.start)

    @property
    def parameters(self) -> int:
        """How many parameters a run has."""
        return self.start[0].numel()

    def pullback(self, theta: Tensor, v: Tensor) -> Tensor:
        """J(theta)^T v, where J is the Jacobian of the output with respect to the parameters.

        Args:
            theta: (runs, trials, ...).
            v: shaped as the output.

        Returns:
            shaped as theta.
        """
        _, transposed = torch.func.vjp(self.output, theta)
        return transposed(v)[0]

    def linearised(self, theta: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The output at theta, and the map v -> J(theta)^T v, which need not compute it again.

        Args:
            theta: (runs, trials, ...).

        Returns:
            what `output` and `pullback` return.
        """
        return self.output(theta), lambda v: self.pullback(theta, v)

    def jacobian(self, theta: Tensor | None = None) -> Tensor:
        """The Jacobian of every run, by `torch.func`.

        Args:
            theta: (runs, ...), one point a run; None: theta_0.

        Returns:
            (runs, n, p), with images and parameters as vectors.

        Example:
            >>> from lemmse.dip import TwoLayer
            >>> network = TwoLayer.draw(n=3, d=2, k=5, generator=torch.Generator())
            >>> network.jacobian().shape
            torch.Size([1, 3, 10])
        """
        theta = self.start if theta is None else theta
        rows = [
            torch.func.jacrev(lambda point, run=run: self.single(run, point))(theta[run])
            for run in range(self.runs)
        ]
        return torch.stack([row.flatten(1) for row in rows])

    def gram(self, theta: Tensor | None = None) -> Tensor:
        """J J^T of every run, (runs, n, n)."""
        jacobian = self.jacobian(theta)
        return jacobian @ jacobian.mT

    def change(self, theta: Tensor) -> Tensor:
        """The operator norm ``|J(theta) - J(theta_0)|`` of every run, (runs,).

        Args:
            theta: (runs, ...), one point a run.
        """
        return torch.linalg.matrix_norm(self.jacobian(theta) - self.jacobian(), 2)

    def lipschitz(self) -> Tensor:
        """A global Lipschitz constant of J, (runs,); NaN if no formula is known."""
        return torch.full((self.runs,), torch.nan, dtype=torch.float64, device=self.start.device)

    def bound(self) -> Tensor:
        """A global bound of the operator norm of J, (runs,); infinite if none is known."""
        return torch.full((self.runs,), torch.inf, dtype=torch.float64, device=self.start.device)


def seeds(generator: torch.Generator, runs: int) -> list[torch.Generator]:
    """A generator for every run: a run drawn alone is the same as in a batch.

    Args:
        generator: draws one seed a run.
        runs: how many.
    """
    drawn = torch.randint(2**62, (runs,), generator=generator).tolist()
    return [torch.Generator().manual_seed(seed) for seed in drawn]
