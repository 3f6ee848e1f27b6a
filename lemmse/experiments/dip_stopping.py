"""The error along the descent when there is noise, and where the rules stop it.

As many measurements as unknowns, ``|A|`` = 1, and the noise has exactly the norm that is told to
the rules. Every network is trained with all noise levels at once.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from ..dip.descent import Descent, descend
from ..dip.problems import random_problem
from ..dip.theory import Constants, constants
from ..dip.two_layer import TwoLayer
from . import record
from .record import Bar, rounded, run_cells, silent

NAME = "dip-stopping"
TITLE = "the error along the iterations under noise, and where rules stop them"
CHAPTERS = "28"
COST = "2 minutes"
OPTIONS = ()
QUICK = ("1",)
"""The cells of the quick version."""

RUNS = 20
SIZE = 10
WIDTHS = {1.0: 40_000, 2.0: 40_000, 5.0: 40_000, 10.0: 4_000}
"""k for every condition number; for the largest one no affordable width meets the hypotheses."""
NOISES = (0.1, 0.3, 1.0)
"""``|eps|`` as a share of ``|A xbar|``."""
STEPS = {1.0: 0.1, 2.0: 0.3, 5.0: 0.7, 10.0: 0.7}
"""The gamma of every condition number, small where the curve is short and below 1/L everywhere."""
ITERATIONS = {1.0: 400, 2.0: 600, 5.0: 1200, 10.0: 3000}
THRESHOLD = 1e-3
"""The rule that knows nothing of the noise stops where ``|A x - y|`` is at most this share of
``|y|``."""
POINTS = 80


def settings() -> dict:
    """What was computed."""
    return {
        "runs": RUNS,
        "size": SIZE,
        "widths": list(WIDTHS.values()),
        "noises": NOISES,
        "conditions": list(STEPS),
        "steps": list(STEPS.values()),
        "iterations": list(ITERATIONS.values()),
        "threshold": THRESHOLD,
        "activation": "tanh",
    }


def cells() -> list[str]:
    """The condition number of every cell."""
    return [f"{condition:g}" for condition in STEPS]


def results(path: Path | None = None) -> dict:
    """The published results: by the name of a cell what `compute` returns, and ``machine``.

    Example:
        >>> list(results()) == cells()
        True
    """
    return record.read(NAME, path)


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
) -> dict:
    """Computes the cells that the file lacks, and writes it after each.

    Every cell has its own seed, so that the numbers do not depend on interruptions.

    Args:
        out: the file, read first if it exists; None: the published results.
        quick: compute only `QUICK`.
        device: where to compute.
        bar: see `record.Bar`.

    Returns:
        What `results` returns.

    Raises:
        ValueError: a file of other settings.
    """
    return run_cells(
        record.Record(NAME, out, settings()), QUICK if quick else cells(), compute, device, bar
    )


def compute(cell: str, device: torch.device | str = "cpu") -> dict:
    """The numbers of a cell: see `stopping`."""
    condition = float(cell)
    generator = torch.Generator().manual_seed(int(condition))
    problem = noisy_problem(SIZE, condition, NOISES, generator, RUNS)
    network = TwoLayer.draw(SIZE, 1, WIDTHS[condition], generator, RUNS, "tanh")
    return stopping(network, problem, STEPS[condition], ITERATIONS[condition], device)


def noisy_problem(
    n: int,
    condition: float,
    noises: tuple[float, ...],
    generator: torch.Generator,
    runs: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random problems with Gaussian noise, scaled to a norm.

    Args:
        n: size of the image and of the measurement.
        condition: of A.
        noises: ``|eps|`` / ``|A xbar|``, one for each trial.
        generator: on the CPU.
        runs: how many problems.

    Returns:
        A, (runs, n, n); the images, (runs, n); the measurements, (runs, trials, n), with the same
        direction of the noise in all trials; and ``|eps|``, (runs, trials).

    Example:
        >>> A, truth, y, norms = noisy_problem(5, 2.0, (0.1, 1.0), torch.Generator(), runs=3)
        >>> noise = y[:, 1] - (A @ truth[..., None])[..., 0]
        >>> y.shape, torch.allclose(noise.norm(dim=1), norms[:, 1])
        (torch.Size([3, 2, 5]), True)
    """
    A, truth = random_problem(n, n, condition, generator, runs)
    clean = (A @ truth[..., None])[..., 0]
    direction = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    direction = direction / direction.norm(dim=1, keepdim=True)
    norms = clean.norm(dim=1, keepdim=True) * torch.tensor(noises, dtype=clean.dtype)
    return A, truth, clean[:, None] + norms[..., None] * direction[:, None], norms


def stopping(
    network: TwoLayer,
    problem: tuple[Tensor, Tensor, Tensor, Tensor],
    step: float,
    iterations: int,
    device: torch.device | str = "cpu",
) -> dict:
    """Trains networks to the end, and looks where each rule would have stopped.

    Args:
        network: one for each run.
        problem: see `noisy_problem`.
        step: gamma.
        iterations: how many steps.
        device: where to compute.

    Returns:
        ``holds``: whether the theorem's hypotheses hold, and ``rate``: its q, (trials, runs);
        ``at``: the iterations of the curves; ``error``: ``|x_t - xbar|`` / ``|xbar|``, its
        quartiles, (trials, 3, at), and ``rms``, its root mean square, (trials, at); ``limit``: the
        error of A^-1 y, (trials, runs); and for every rule ``time`` and ``reached``, the error
        there, (trials, runs). A rule that never stops has no time, one that stops later than the
        last iteration has its time, and both the error of the last iteration.
    """
    A, truth, y, norms = problem
    found = [constants(A, network, y[:, i], step=step, samples=0) for i in range(y.shape[1])]
    run = descend(
        network.to(device, torch.float32),
        A.float().to(device),
        y.float().to(device),
        torch.full((1, y.shape[1]), step),
        iterations,
        truth=truth.float().to(device),
        record=range(iterations + 1),
    )
    error = run.error.double().cpu() / truth.norm(dim=1)[:, None]
    curve = torch.linspace(0, math.log(iterations), POINTS).exp().round().long()
    curve = torch.cat([torch.tensor([0]), curve.unique()])
    quartiles = error[curve].quantile(torch.tensor([0.25, 0.5, 0.75]).double(), dim=1)
    limit = torch.linalg.solve(A, y.mT).mT - truth[:, None]
    rules = {
        name: {"time": rounded(time.T), "reached": rounded(reached(error, time).T)}
        for name, time in stopping_times(run, found, norms, error).items()
    }
    return {
        "holds": [c.holds.tolist() for c in found],
        "rate": rounded(torch.stack([c.rate for c in found])),
        "at": curve.tolist(),
        "error": rounded(quartiles.permute(2, 0, 1)),
        "rms": rounded(error[curve].square().mean(1).sqrt().T),
        "limit": rounded((limit.norm(dim=2) / truth.norm(dim=1)[:, None]).T),
        "rules": rules,
    }


def stopping_times(
    run: Descent, found: list[Constants], norms: Tensor, error: Tensor
) -> dict[str, Tensor]:
    """When each rule stops, (runs, trials), infinite if never.

    Args:
        run: with every iteration recorded.
        found: the constants for each trial.
        norms: ``|eps|``, (runs, trials).
        error: (T, runs, trials).
    """
    residual = run.residual.double().cpu()
    theorem = [c.stopping_time(norms[:, i]) for i, c in enumerate(found)]
    measured = torch.stack([c.y.norm(dim=1) for c in found], 1)
    return {
        "oracle": error.argmin(0).double(),
        "discrepancy": first(residual <= norms),
        "theorem": torch.stack(theorem, 1).double(),
        "threshold": first(residual <= THRESHOLD * measured),
    }


def first(holds: Tensor) -> Tensor:
    """The first row that is true, (T, ...) to (...); infinite if there is none.

    Example:
        >>> first(torch.tensor([[False, False], [True, False]]))
        tensor([1., inf], dtype=torch.float64)
    """
    time = holds.to(torch.uint8).argmax(0).double()
    return time.masked_fill(~holds.any(0), torch.inf)


def reached(error: Tensor, time: Tensor) -> Tensor:
    """The error at these times, or at the last iteration if they are later."""
    return error.gather(0, time.clamp_max(len(error) - 1).long()[None])[0]
