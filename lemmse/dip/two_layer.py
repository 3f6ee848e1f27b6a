"""The two-layer network of Corollary 3.2 of arXiv 2403.05395."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .activations import Activation, activation
from .network import Network, seeds

OUTER = ("signs", "uniform")
"""Distributions of the entries of V: bounded, of mean 0 and variance 1."""


@dataclass
class TwoLayer(Network):
    """g(u, W) = V phi(W u) / sqrt(k), where W is trained and u and V are fixed.

    .. math:: J(W) J(W)^\\top = \\tfrac{1}{k}\\, V \\operatorname{diag}(\\varphi'(W u))^2 V^\\top

    if u has length 1.

    Attributes:
        start: W_0, (runs, k, d).
        u: (runs, d).
        V: (runs, n, k).
        phi: the activation.

    Source:
        arXiv 2403.05395, Corollary 3.2.

    Example:
        >>> network = TwoLayer.draw(n=20, d=5, k=200, generator=torch.Generator(), runs=50)
        >>> network.output().shape
        torch.Size([50, 20])
    """

    start: Tensor
    u: Tensor
    V: Tensor
    phi: Activation

    def __post_init__(self) -> None:
        self.phi = activation(self.phi)
        runs, k, d = self.start.shape
        if self.u.shape != (runs, d) or self.V.ndim != 3 or self.V.shape[::2] != (runs, k):
            raise ValueError(
                "expected W (runs, k, d), u (runs, d) and V (runs, n, k), got "
                f"{tuple(self.start.shape)}, {tuple(self.u.shape)} and {tuple(self.V.shape)}"
            )

    @classmethod
    def draw(
        cls,
        n: int,
        d: int,
        k: int,
        generator: torch.Generator,
        runs: int = 1,
        activation: str | Activation = "tanh",
        outer: str = "signs",
        dtype: torch.dtype = torch.float64,
    ) -> TwoLayer:
        """Random networks: W of iid N(0, 1), u uniform on the unit sphere, V bounded iid.

        Args:
            n: numbers in an image.
            d: dimension of the input.
            k: neurons.
            generator: on the CPU; the first runs of a batch do not depend on how many follow.
            runs: how many networks.
            activation: "tanh", "softplus", "sigmoid" or "sine".
            outer: entries of V: "signs", +1 or -1, or "uniform" on [-sqrt(3), sqrt(3)].
            dtype: of all.

        Raises:
            ValueError: a size below 1, or an unknown name.
        """
        if min(n, d, k, runs) < 1:
            raise ValueError(f"expected n, d, k, runs of at least 1, got {n}, {d}, {k}, {runs}")
        if outer not in OUTER:
            raise ValueError(f"outer: expected one of {', '.join(OUTER)}, got {outer!r}")
        drawn = [_draw(n, d, k, g, outer) for g in seeds(generator, runs)]
        W, u, V = (torch.stack(parts).to(dtype) for parts in zip(*drawn, strict=True))
        return cls(W, u, V, activation)

    @property
    def n(self) -> int:
        """Numbers in an image."""
        return self.V.shape[1]

    @property
    def k(self) -> int:
        """Neurons."""
        return self.V.shape[2]

    def to(self, *args, **kwargs) -> TwoLayer:
        """The network on another device or in another precision, as `torch.Tensor.to`."""
        moved = [t.to(*args, **kwargs) for t in (self.start, self.u, self.V)]
        return TwoLayer(*moved, self.phi)

    def select(self, runs: Tensor) -> TwoLayer:
        """The network with some of the runs only."""
        return TwoLayer(self.start[runs], self.u[runs], self.V[runs], self.phi)

    def reduced(self) -> TwoLayer:
        """The same network with inputs of dimension 1: u = 1 and W the column W u.

        The gradient with respect to W has rank one, along u, so that W_t - W_0 = a_t u^T. If u has
        length 1, gradient descent on the column gives the same outputs, losses and distances from
        the start, with d times fewer numbers.
        """
        return replace(self, start=self.preactivation(), u=torch.ones_like(self.u[:, :1]))

    def preactivation(self, theta: Tensor | None = None) -> Tensor:
        """W u as a column: (runs, trials, k, 1) at W (runs, trials, k, d), else (runs, k, 1)."""
        if theta is None:
            return self.start @ self.u[:, :, None]
        return theta @ self.u[:, None, :, None]

    def output(self, theta: Tensor | None = None) -> Tensor:
        """The images, (runs, trials, n); at theta_0 (runs, n)."""
        if theta is None:
            return self.output(self.start[:, None])[:, 0]
        hidden = self.phi.value(self.preactivation(theta)[..., 0])
        return (self.V @ hidden.mT).mT / self.k**0.5

    def single(self, run: int, theta: Tensor) -> Tensor:
        """The image of one run, (n,), at W (k, d)."""
        return self.V[run] @ self.phi.value(theta @ self.u[run]) / self.k**0.5

    def pullback(self, theta: Tensor, v: Tensor) -> Tensor:
        """J(theta)^T v in closed form: phi'(W u) * (V^T v) u^T / sqrt(k)."""
        weights = (self.V.mT @ v.mT).mT / self.k**0.5
        column = self.phi.slope(self.preactivation(theta)) * weights[..., None]
        return column * self.u[:, None, None]

    def gram(self, theta: Tensor | None = None) -> Tensor:
        """J J^T = ``|u|^2`` V diag(phi'(W u))^2 V^T / k in closed form, (runs, n, n).

        Args:
            theta: (runs, k, d), one point a run; None: theta_0.
        """
        theta = self.start if theta is None else theta
        slopes = self.phi.slope(theta @ self.u[:, :, None]).mT
        weighted = self.V * slopes
        return weighted @ weighted.mT * self.u.square().sum(1)[:, None, None] / self.k

    def change(self, theta: Tensor) -> Tensor:
        """``|J(theta) - J(theta_0)|`` of every run, (runs,).

        It is ``|u| |V diag(phi'(W u) - phi'(W_0 u))| / sqrt(k)``.
        """
        slopes = [self.phi.slope(W @ self.u[:, :, None]).mT for W in (theta, self.start)]
        return _norm(self.V * (slopes[0] - slopes[1])) * self.u.norm(dim=1) / self.k**0.5

    def lipschitz(self) -> Tensor:
        """The global Lipschitz constant of J, (runs,).

        It is ``max |phi''| max_i |V_i| |u|^2 / sqrt(k)`` with the columns V_i of V, and exact:
        moving one neuron across the maximum of ``|phi''|`` attains it in the limit.
        """
        columns = self.V.norm(dim=1).amax(1)
        return self.phi.max_curvature * columns * self.u.square().sum(1) / self.k**0.5

    def bound(self) -> Tensor:
        """A global bound of ``|J|``, (runs,): ``max |phi'| |V| |u| / sqrt(k)``."""
        return self.phi.max_slope * _norm(self.V) * self.u.norm(dim=1) / self.k**0.5


def _norm(matrices: Tensor) -> Tensor:
    """The largest singular values, from the smaller of the two Gram matrices."""
    wide = matrices.shape[1] <= matrices.shape[2]
    gram = matrices @ matrices.mT if wide else matrices.mT @ matrices
    return torch.linalg.eigvalsh(gram)[:, -1].clamp_min(0).sqrt()


def _draw(n: int, d: int, k: int, generator: torch.Generator, outer: str) -> tuple[Tensor, ...]:
    W = torch.randn(k, d, generator=generator, dtype=torch.float64)
    u = torch.randn(d, generator=generator, dtype=torch.float64)
    if outer == "signs":
        V = 2.0 * torch.randint(2, (n, k), generator=generator, dtype=torch.int8) - 1
    else:
        V = 3**0.5 * (2 * torch.rand(n, k, generator=generator, dtype=torch.float64) - 1)
    return W, u / u.norm(), V
