"""The constants of the recovery theorem, computed for given networks and a given measurement.

With r_0 = A x_0 - y and y in the range of A (see `Constants.y`), the theorem says: if
sigma_min(J_0) > 0, the step is at most 1/L and R' < R, the iterates stay in the ball of radius R'
around theta_0, the loss falls by the factor q a step, and the error is bounded. Chapter 26 of the
book proves it. What is *exact* here is computed in float64 from formulas that hold; what is
*sampled* is only an estimate from finitely many points and proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from ..operators.checks import as_numbers, check_finite, describe
from .network import Network

RANK_TOLERANCE = 1e-10
"""Singular values at most this share of the largest count as zero."""

ROUNDING = 1e-12
"""Relative errors of float64 that are forgiven."""

SAMPLES = 32
"""Points drawn for the sampled constants."""


@dataclass(frozen=True)
class Constants:
    """The constants of the theorem, a number for each run: tensors (runs,) in float64.

    Attributes:
        y: the measurement projected on the range of A, (runs, m): what the theorem speaks of.
        norm_A: the largest singular value of A.
        sigma_A: its smallest nonzero singular value.
        injective: whether A has no kernel.
        sigma_0: sigma_min(J_0), the n-th singular value of the Jacobian at theta_0.
        norm_J0: its largest singular value.
        lipschitz: Lambda, a Lipschitz constant of J. Exact for two layers; NaN if there is no
            formula.
        lipschitz_sampled: the largest abs(J - J') / abs(theta - theta') seen: a lower estimate.
        residual: ``|r_0|``.
        bound_J: B_J, a bound of ``|J|`` on the ball of radius R.
        L: a Lipschitz constant of the gradient of the loss on that ball.
        smoothness_sampled: the largest curvature of the loss at theta_0, by power iteration: a
            lower estimate of L.
        step: gamma.
        nu: 1 / (1 - gamma L / 2).
        R: sigma_0 / (2 Lambda).
        R_prime: 2 nu ``|r_0|`` / (sigma_A sigma_0).
        radius_sharp: rho*, the radius without the factor 1/2 given away; infinite if the sharper
            condition 2 nu Lambda ``|r_0|`` < sigma_A sigma_0^2 fails. Where ``holds``, no path is
            longer.
        mu: (sigma_A sigma_0 / 2)^2, the constant of Polyak and Lojasiewicz.
        rate: q, the factor by which the loss falls a step at least; of the flow: exp(-2 mu), in a
            unit of time.
        injectivity: lambda for which ``|A z|`` >= lambda ``|z|`` holds: sigma_A if A is injective,
            else 0.
        injectivity_sampled: the least ``|A z|`` / ``|z|`` over differences z of sampled images and
            the truth: an upper estimate of the restricted injectivity. NaN without truth.
        covered_radius: where all hypotheses hold, every image this near to x_0 is reached in the
            ball of radius R'.
        holds: where all hypotheses hold.
    """

    y: Tensor
    norm_A: Tensor
    sigma_A: Tensor
    injective: Tensor
    sigma_0: Tensor
    norm_J0: Tensor
    lipschitz: Tensor
    lipschitz_sampled: Tensor
    residual: Tensor
    bound_J: Tensor
    L: Tensor
    smoothness_sampled: Tensor
    step: Tensor
    nu: Tensor
    R: Tensor
    R_prime: Tensor
    radius_sharp: Tensor
    mu: Tensor
    rate: Tensor
    injectivity: Tensor
    injectivity_sampled: Tensor
    covered_radius: Tensor
    holds: Tensor

    @property
    def largest_step(self) -> Tensor:
        """1 / L, (runs,)."""
        return 1 / self.L

    def residual_bound(self, iterations: Tensor) -> Tensor:
        """The theorem's bound of ``|A x_t - y|``: ``|r_0|`` q^(t/2).

        Args:
            iterations: t, (T,). With step 0, the gradient flow, these are times.

        Returns:
            (T, runs).
        """
        half = torch.as_tensor(iterations, dtype=torch.float64)[:, None] / 2
        return self.residual * self.rate**half

    def loss_bound(self, iterations: Tensor) -> Tensor:
        """The theorem's bound of the loss: q^t ``|r_0|^2`` / 2, (T, runs)."""
        return self.residual_bound(iterations).square() / 2

    def stopping_time(self, noise: float | Tensor) -> Tensor:
        """The first t from which on the theorem says that ``|A x_t - A xbar|`` <= 2 ``|eps|``.

        .. math:: T = \\lceil 2 \\log(|r_0| / |\\varepsilon|) / \\log(1 / q) \\rceil

        Args:
            noise: ``|eps|``, or one for each run.

        Returns:
            Steps, (runs,): 0 if ``|r_0|`` <= ``|eps|``, infinite if there is no noise or
            the theorem promises no decrease (q >= 1).
        """
        noise = torch.as_tensor(noise, dtype=torch.float64)
        steps = (-2 * (self.residual / noise).log() / self.rate.log()).ceil()
        steps = torch.where(self.rate >= 1, torch.inf, steps)
        return torch.where(self.residual <= noise, 0.0, steps)

    def error_bound(self, iterations: Tensor, noise: float | Tensor) -> Tensor:
        """The theorem's bound of ``|x_t - xbar|``: (``|r_0|`` q^(t/2) + ``|eps|``) / sigma_A.

        It is infinite where A is not injective: there the theorem bounds nothing.

        Args:
            iterations: t, (T,).
            noise: ``|eps|``, or one for each run.

        Returns:
            (T, runs).
        """
        noise = torch.as_tensor(noise, dtype=torch.float64)
        return (self.residual_bound(iterations) + noise) / self.injectivity


def constants(
    A: Tensor,
    network: Network,
    y: Tensor,
    step: float | Tensor | None = None,
    truth: Tensor | None = None,
    generator: torch.Generator | None = None,
    samples: int = SAMPLES,
) -> Constants:
    """The constants of the recovery theorem at the start of every run.

    Args:
        A: a matrix (m, n), or one for each run.
        network: its theta_0 is the point of departure. An exact Lipschitz constant exists for
            `TwoLayer`; for other networks ``lipschitz`` and what depends on it is NaN, and
            ``holds`` is False.
        y: the measurement, (m,) or (runs, m).
        step: gamma, or one for each run; None: the largest step 1/L; 0: the gradient flow.
        truth: xbar, (n,) or (runs, n), to sample the cone around it.
        generator: for the sampled constants.
        samples: points for each of them; 0: none, they are NaN.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity in A, y, truth or step, A = 0, or
            samples that are no integer of at least 0.

    Example:
        >>> from lemmse.dip import TwoLayer
        >>> g = torch.Generator().manual_seed(0)
        >>> network = TwoLayer.draw(n=5, d=1, k=20000, generator=g)
        >>> found = constants(torch.eye(5).double(), network, torch.zeros(5).double())
        >>> bool(found.holds), bool(found.R_prime < found.R)
        (True, True)
    """
    network = network.to(torch.float64)
    start = network.output().flatten(1)
    runs = len(start)
    A, y = _checked(A, y, start)
    truth = None if truth is None else _checked_vectors("truth", truth, start)
    if isinstance(samples, bool) or not isinstance(samples, Integral) or samples < 0:
        raise ValueError(f"samples: expected an integer of at least 0, got {samples!r}")
    left, values, _ = torch.linalg.svd(A, full_matrices=False)
    norm_A = values[:, 0]
    if not bool((norm_A > 0).all()):
        raise ValueError("A: expected a matrix that is not zero")
    positive = values > RANK_TOLERANCE * norm_A[:, None]
    sigma_A = values.masked_fill(~positive, torch.inf).amin(1)
    injective = positive.sum(1) == A.shape[2]
    left = left * positive[:, None]
    y = (left @ (left.mT @ y[..., None]))[..., 0]
    residual = ((A @ start[..., None])[..., 0] - y).norm(dim=1)

    sigma_0, norm_J0 = _extremes(network.gram())
    lipschitz = network.lipschitz()
    R = sigma_0 / (2 * lipschitz)
    bound_J = torch.minimum(norm_J0 + sigma_0 / 2, network.bound())
    L = norm_A**2 * bound_J**2 + norm_A * lipschitz * residual
    steps = 1 / L if step is None else _checked_steps(step, runs)
    nu = torch.where(steps * L >= 2, torch.inf, 1 / (1 - steps * L / 2))
    mu = (sigma_A * sigma_0 / 2).square()
    flow = steps == 0
    R_prime = 2 * nu * residual / (sigma_A * sigma_0)
    inner = sigma_0.square() - 2 * nu * lipschitz * residual / sigma_A
    sharp = torch.where(inner <= 0, torch.inf, (sigma_0 - inner.clamp_min(0).sqrt()) / lipschitz)
    sampled = _sampled(network, A, y, start, truth, residual, sigma_A, sigma_0, generator, samples)
    return Constants(
        y=y,
        norm_A=norm_A,
        sigma_A=sigma_A,
        injective=injective,
        sigma_0=sigma_0,
        norm_J0=norm_J0,
        lipschitz=lipschitz,
        residual=residual,
        bound_J=bound_J,
        L=L,
        step=steps,
        nu=nu,
        R=R,
        R_prime=R_prime,
        radius_sharp=sharp,
        mu=mu,
        rate=torch.where(flow, (-2 * mu).exp(), 1 - steps * mu * (2 - steps * L)),
        injectivity=torch.where(injective, sigma_A, 0.0),
        covered_radius=nu * residual / sigma_A,
        holds=(sigma_0 > 0) & (R_prime < R) & (steps * L <= 1 + ROUNDING),
        **sampled,
    )


def _checked(A: Tensor, y: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """A as (runs, m, n) and y as (runs, m), in float64."""
    runs, n = start.shape
    if not torch.is_tensor(A) or A.ndim not in (2, 3) or A.shape[-1] != n:
        what = tuple(A.shape) if torch.is_tensor(A) else type(A).__name__
        raise ValueError(f"A: expected a matrix (m, {n}) or ({runs}, m, {n}), got {what}")
    m = A.shape[-2]
    check_finite(A, "A")
    if not torch.is_tensor(y):
        raise ValueError(f"y: expected a tensor, got {describe(y)}")
    check_finite(y, "y")
    if y.shape not in ((m,), (runs, m)) or (A.ndim == 3 and len(A) != runs):
        raise ValueError(
            f"expected y ({m},) or ({runs}, {m}) and as many matrices as runs, "
            f"got y {tuple(y.shape)} and A {tuple(A.shape)}"
        )
    A, y = A.to(start), y.to(start)
    return A.expand(runs, m, n), y.expand(runs, m)


def _checked_vectors(name: str, value: Tensor, start: Tensor) -> Tensor:
    """One vector for all runs, or one for each, like the images at the start, (runs, n)."""
    runs, n = start.shape
    if not torch.is_tensor(value) or value.shape not in ((n,), (runs, n)):
        raise ValueError(f"{name}: expected ({n},) or ({runs}, {n}), got {describe(value)}")
    check_finite(value, name)
    return value.to(start).expand_as(start)


def _checked_steps(step: float | Tensor, runs: int) -> Tensor:
    """The steps as (runs,), in float64."""
    steps = as_numbers(step)
    if steps is None or steps.is_complex() or steps.shape not in ((), (1,), (runs,)):
        raise ValueError(f"step: expected a number or ({runs},), got {describe(step)}")
    if not bool(((steps >= 0) & steps.isfinite()).all()):
        raise ValueError(f"step: expected positive numbers, or 0 for the flow, got {step}")
    return steps.to(torch.float64).expand(runs)


def _extremes(gram: Tensor) -> tuple[Tensor, Tensor]:
    """The n-th and the largest singular value of J from J J^T; 0 up to rounding is 0."""
    values = torch.linalg.eigvalsh(gram)
    least, largest = values[:, 0], values[:, -1]
    least = torch.where(least > ROUNDING * largest, least, 0.0)
    return least.sqrt(), largest.sqrt()


def _sampled(
    network, A, y, start, truth, residual, sigma_A, sigma_0, generator, samples
) -> dict[str, Tensor]:
    """The three sampled constants.

    The points lie in the directions J_0^T w, w random, in which images move most, at distances up
    to 2 ``|r_0|`` / (sigma_A sigma_0), the radius R' of the flow.
    """
    nothing = torch.full_like(residual, torch.nan)
    lipschitz, injectivity, smoothness = nothing, nothing, nothing
    theta_0 = network.start[:, None]
    one = (-1,) + (1,) * (theta_0.ndim - 1)
    radius = 2 * residual / (sigma_A * sigma_0)
    radius = torch.where(radius.isfinite(), radius, 1.0)
    for _ in range(samples):
        w = torch.randn(start.shape, generator=generator, dtype=start.dtype).to(start.device)
        shares = torch.rand(len(start), generator=generator, dtype=start.dtype).to(start.device)
        direction = network.pullback(theta_0, w.reshape(network.output()[:, None].shape))
        direction = direction / direction.flatten(1).norm(dim=1).reshape(one)
        distance = radius * shares
        theta = theta_0 + distance.reshape(one) * direction
        lipschitz = torch.fmax(lipschitz, network.change(theta[:, 0]) / distance)
        if truth is not None:
            z = network.output(theta).flatten(1) - truth
            gain = (A @ z[..., None]).norm(dim=(1, 2)) / z.norm(dim=1)
            injectivity = torch.fmin(injectivity, gain)
    if samples:
        smoothness = _curvature(network, A, y, generator, samples)
    return {
        "lipschitz_sampled": lipschitz,
        "injectivity_sampled": injectivity,
        "smoothness_sampled": smoothness,
    }


def _curvature(network: Network, A: Tensor, y: Tensor, generator, steps: int) -> Tensor:
    """``|H v|`` for the Hessian H of the loss at theta_0, after steps of the power iteration."""
    theta_0 = network.start[:, None]

    def gradient(theta: Tensor) -> Tensor:
        x = network.output(theta)
        residual = (x.flatten(2) @ A.mT) - y[:, None]
        return network.pullback(theta, (residual @ A).reshape(x.shape))

    v = torch.randn(theta_0.shape, generator=generator, dtype=theta_0.dtype).to(theta_0.device)
    one = (-1,) + (1,) * (v.ndim - 1)
    for _ in range(steps):
        v = v / v.flatten(1).norm(dim=1).reshape(one)
        _, v = torch.func.jvp(gradient, (theta_0,), (v,))
    return v.flatten(1).norm(dim=1)
