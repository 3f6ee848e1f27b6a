r"""LISTA and ISTA, trained until they stop improving, from several starts.

Quarters of photographs, 16 x 16, seen by a tomograph; :math:`c` their Haar coefficients,
:math:`y = B c + \sigma e` with the operator in that basis, scaled to norm 1. The network is LISTA,

.. math:: c_1 = \mathrm{soft}_\theta(W y), \qquad c_{k+1} = \mathrm{soft}_\theta(W y + S c_k)

with all of W, S and the thresholds trained. What differs is where the training begins:

- ``physics``: :math:`W = B^T, S = I - B^T B`, where LISTA is ISTA;
- ``weak``: :math:`W = B^T, S = 0`, the adjoint alone;
- ``wrong``: as ``physics``, for a scanner that is turned by `MISALIGNMENT` degrees;
- ``none``: random W and S, a network that has to find everything in the data.

``ista`` is the network with :math:`B` fixed and 2 K numbers trained, steps and thresholds.

Every contestant is trained for several budgets of steps, each training with a schedule of its own
that ends there. The learning rate is chosen with the first seed, for every contestant and budget
among equally many, on photographs held out of the training set; the two longest budgets take the
rate of the one before them.

Source of LISTA: Gregor, LeCun, Learning fast approximations of sparse coding, ICML 2010.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log10, sqrt
from pathlib import Path

import torch
from torch import Tensor

from .. import datasets
from ..networks import haar
from ..networks.unrolled import soft
from ..operators import Tomography, materialise
from . import record
from .record import Bar, rounded, run_cells, silent

NAME = "lista"
TITLE = "LISTA and ISTA trained to the plateau, with right, weak, wrong and no physics"
CHAPTERS = "20"
COST = "30 minutes"
OPTIONS = ()
QUICK = ("physics 1",)
"""The cells of the quick version."""

SIDE = 16
PHOTOS = 1000
HELD_OUT = 100
"""So many of the training photographs only choose the learning rate."""
TEST_PHOTOS = 200
SEEDS = 3
"""A seed draws batches and noise, and the random start."""
HELD_SEED, TEST_SEED = 10_000, 10_001
"""Of the noise of what is measured on the photographs held out, and on the test photographs."""
BATCH = 32
BUDGETS = (125, 500, 2000, 8000, 32000)
"""Steps of training; the two longest take the learning rate that was best for the one before."""
LONG = ("physics 5", "none 5", "physics 1")
"""The cells that are trained for the two longest budgets, too."""
RATES = {"ista": (0.02, 0.05, 0.15), "lista": (3e-4, 1e-3, 3e-3)}
SIGMA = 0.3
MISALIGNMENT = 5.0
"""Of the scanner that a network with wrong physics believes in, in degrees."""
STARTS = ("physics", "none", "wrong", "weak")
LOG_THRESHOLD = -2.0
"""Of the thresholds before training, in units of sigma."""


def settings() -> dict:
    """What was computed."""
    return {
        "photos": PHOTOS,
        "held out": HELD_OUT,
        "test photos": TEST_PHOTOS,
        "seeds": SEEDS,
        "batch": BATCH,
        "budgets": BUDGETS,
        "rates": RATES,
        "sigma": SIGMA,
        "data": {
            split: datasets.checksum(datasets.load("photos-grey", split, count))
            for split, count in (("train", PHOTOS), ("test", TEST_PHOTOS))
        },
    }


def cells() -> list[str]:
    """Contestant and number of layers of every cell."""
    return ["physics 5", "none 5", "ista 5", "physics 1", "wrong 5", "weak 5"]


def results(path: Path | None = None) -> dict:
    """The published results: by the name of a cell what `compute` returns, and ``machine``.

    Example:
        >>> set(results()) == set(cells())
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


def scanner(misalignment: float = 0.0) -> Tomography:
    """The operator: twelve projections, turned by so many degrees."""
    return Tomography([15.0 * i + misalignment for i in range(12)], (SIDE, SIDE))


def matrix(a: Tomography) -> tuple[Tensor, float]:
    """B, from Haar coefficients to measurements, scaled to norm 1; and the norm it had.

    Example:
        >>> B, norm = matrix(scanner())
        >>> B.shape, round(torch.linalg.matrix_norm(B, 2).item(), 4)
        (torch.Size([276, 256]), 1.0)
    """
    basis = haar(torch.eye(SIDE**2).reshape(-1, 1, SIDE, SIDE)).flatten(1).T
    B = materialise(a.A, (1, SIDE, SIDE)).float() @ basis.T
    norm = torch.linalg.matrix_norm(B, 2).item()
    return B / norm, norm


def coefficients(split: str, count: int) -> Tensor:
    """Haar coefficients of the quarters of photographs, (4 count, 256); four of one in a row.

    Example:
        >>> coefficients("test", 2).shape
        torch.Size([8, 256])
    """
    images = datasets.load("photos-grey", split, count)
    squares = images.unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE)
    return haar(squares.reshape(-1, 1, SIDE, SIDE).float()).flatten(1)


def linear_mmse(B: Tensor, noise: float, c: Tensor) -> Tensor:
    """The matrix W of the best linear estimate W y of coefficients with the second moments of c."""
    B, second = B.double(), (c.T @ c / len(c)).double()
    covariance = B @ second @ B.T + noise**2 * torch.eye(len(B), dtype=torch.float64)
    return torch.linalg.solve(covariance, B @ second).T.float()


def lista(parameters: list[Tensor], y: Tensor, noise: float, layers: int) -> Tensor:
    """LISTA of several seeds at once.

    Args:
        parameters: W (R, 256, m), S (R, 256, 256), and the logarithms of the thresholds in units of
            the noise, (R, 1, 256).
        y: (R, B, m).
        noise: its standard deviation.
        layers: K.

    Returns:
        (R, B, 256).
    """
    W, S, log_threshold = parameters
    start, threshold = y @ W.mT, noise * log_threshold.exp()
    c = soft(start, threshold)
    for _ in range(layers - 1):
        c = soft(start + c @ S.mT, threshold)
    return c


def ista(parameters: list[Tensor], y: Tensor, noise: float, B: Tensor) -> Tensor:
    """ISTA with free numbers: logarithms of the steps and of the thresholds, each (R, K, 1, 1)."""
    c = y.new_zeros(*y.shape[:2], B.shape[1])
    for step, threshold in zip(*[p.exp().unbind(1) for p in parameters], strict=True):
        c = soft(c + step * ((y - c @ B.T) @ B), noise * threshold)
    return c


def start(name: str, layers: int) -> list[Tensor]:
    """The parameters before training, of all seeds.

    Args:
        name: ``ista`` or one of `STARTS`.
        layers: K.
    """
    if name == "ista":
        steps = torch.linspace(0, 1 if layers > 1 else 0, layers).expand(SEEDS, -1)
        shape = (SEEDS, layers, 1, 1)
        return [steps.reshape(shape).clone(), torch.full(shape, LOG_THRESHOLD)]
    B, _ = matrix(scanner(MISALIGNMENT if name == "wrong" else 0.0))
    m, n = B.shape
    S = torch.zeros(n, n)
    if name == "none":
        generator = torch.Generator().manual_seed(0)
        W = torch.randn(SEEDS, n, m, generator=generator) / sqrt(m)
        S = torch.randn(SEEDS, n, n, generator=generator) / sqrt(4 * n)
    else:
        W = B.T
        S = torch.eye(n) - B.T @ B if name in ("physics", "wrong") else S
    thresholds = torch.full((SEEDS, 1, n), LOG_THRESHOLD)
    return [W.expand(SEEDS, -1, -1).clone(), S.expand(SEEDS, -1, -1).clone(), thresholds]


def compute(
    cell: str, device: torch.device | str = "cpu", budgets: tuple[int, ...] | None = None
) -> dict:
    """The numbers of a cell.

    Args:
        cell: one of `cells`.
        device: where to compute.
        budgets: the first ones of `BUDGETS`; by default all that the cell has.

    Returns:
        ``parameters``, of one network; ``start``, the PSNR in dB on the test photographs before
        training, one number a seed; for every budget of ``budgets`` the chosen ``rate``,
        ``validation``, the PSNR on the photographs held out with each of the rates tried, and
        ``test``, that on the test photographs; and ``photos``: the mean squared error on every test
        photograph after the longest budget, mean over seeds.
    """
    name, layers = cell.split()
    B, norm = matrix(scanner())
    B, noise = B.to(device), SIGMA / norm
    c = coefficients("train", PHOTOS)
    c, held = c[: -4 * HELD_OUT].to(device), c[-4 * HELD_OUT :].to(device)
    truth = coefficients("test", TEST_PHOTOS).to(device)
    y_held, y_test = (
        measured(some, B, noise, [seed])[0]
        for seed, some in ((HELD_SEED, held), (TEST_SEED, truth))
    )

    def network(parameters: list[Tensor], y: Tensor) -> Tensor:
        if name == "ista":
            return ista(parameters, y, noise, B)
        return lista(parameters, y, noise, int(layers))

    first = [p.to(device) for p in start(name, int(layers))]
    before = errors(network(first, y_test.expand(SEEDS, -1, -1)), truth)
    found: dict = {
        "parameters": sum(p[0].numel() for p in first),
        "start": rounded(decibels(before.mean(1))),
        "budgets": {},
    }
    rates = RATES["ista" if name == "ista" else "lista"]
    for budget in budgets or (BUDGETS if cell in LONG else BUDGETS[:-2]):
        tried = {}
        if budget in BUDGETS[:-2]:  # longer ones take over its rate
            for rate in rates:
                alone = trained([p[:1] for p in first], network, c, B, noise, rate, budget)
                with torch.no_grad():
                    tried[rate] = errors(network(alone, y_held[None]), held).mean().item()
            best = min(tried, key=lambda rate: tried[rate])
        parameters = trained(first, network, c, B, noise, best, budget)
        with torch.no_grad():
            test = errors(network(parameters, y_test.expand(SEEDS, -1, -1)), truth)
        found["budgets"][str(budget)] = {
            "rate": best,
            "validation": {f"{rate:g}": round(-10 * log10(mse), 3) for rate, mse in tried.items()},
            "test": rounded(decibels(test.mean(1))),
        }
    photos = test.mean(0).reshape(-1, 4).mean(1)
    return found | {"photos": rounded(photos, 4)}


def measured(c: Tensor, B: Tensor, noise: float, seeds: list[int]) -> Tensor:
    """Measurements of the same coefficients with the noise of every seed, (R, N, m)."""
    draws = [
        torch.randn(len(c), len(B), generator=torch.Generator().manual_seed(seed)) for seed in seeds
    ]
    return c @ B.T + noise * torch.stack(draws).to(c.device)


def errors(estimate: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of every quarter, (..., N); the basis is orthonormal."""
    return (estimate - truth).square().mean(-1)


def decibels(mse: Tensor) -> Tensor:
    """The PSNR of images whose mean squared error this is."""
    return -10 * torch.log10(mse)


def trained(
    first: list[Tensor],
    network: Callable[[list[Tensor], Tensor], Tensor],
    c: Tensor,
    B: Tensor,
    noise: float,
    rate: float,
    steps: int,
) -> list[Tensor]:
    """Adam on the logarithm of the mean squared error, its rate falling like a cosine to zero.

    Args:
        first: the parameters before, of all seeds; they are not changed.
        network: from parameters and measurements to coefficients.
        c: the training coefficients.
        B: the operator.
        noise: standard deviation.
        rate: of Adam in the first step.
        steps: how many.
    """
    parameters = [p.clone().requires_grad_() for p in first]
    adam = torch.optim.Adam(parameters, lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(first[0]))]
    for _ in range(steps):
        which = [torch.randint(len(c), (BATCH,), generator=g) for g in generators]
        draws = [torch.randn(BATCH, len(B), generator=g) for g in generators]
        batch = c[torch.stack(which).to(c.device)]
        y = batch @ B.T + noise * torch.stack(draws).to(c.device)
        # The seeds share nothing, so that the sum of their losses trains each alone.
        loss = (network(parameters, y) - batch).square().mean((1, 2)).log().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return [p.detach() for p in parameters]
