"""The probability of success against the number n of unknowns and the step gamma.

As many measurements as unknowns, ``|A|`` = 1. Every network is trained with all steps at once.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ..dip.descent import descend
from ..dip.problems import random_problem
from ..dip.stopping import LossThreshold
from ..dip.theory import constants
from ..dip.two_layer import TwoLayer
from . import record
from .record import Bar, rounded, run_cells, silent

NAME = "dip-step"
TITLE = "the probability of success against the number of unknowns and the step"
CHAPTERS = "27"
COST = "10 minutes"
OPTIONS = ()
QUICK = ("10 200", "20 200")
"""The cells of the quick version."""

RUNS = 50
SIZES = (10, 20, 30, 40, 60, 80, 100, 120)
WIDTHS = (50, 100, 200, 400)
STEPS = (0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0)
CONDITION = 2.0
ACTIVATION = "tanh"
ITERATIONS = 3_000
ACCURACY = 1e-3
"""A run succeeds when ``|A x - y|`` is at most this share of ``|y|``."""


def settings() -> dict:
    """What was computed."""
    return {
        "runs": RUNS,
        "sizes": SIZES,
        "widths": WIDTHS,
        "steps": STEPS,
        "condition": CONDITION,
        "activation": ACTIVATION,
        "iterations": ITERATIONS,
        "accuracy": ACCURACY,
    }


def cells() -> list[str]:
    """n and k of every cell, the most telling width first."""
    return [f"{n} {k}" for k in (200, *(k for k in WIDTHS if k != 200)) for n in SIZES]


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
    """The numbers of a cell: see `success`."""
    n, k = map(int, cell.split())
    generator = torch.Generator().manual_seed(1000 * k + n)
    return success(n, k, STEPS, generator, RUNS, device)


def success(
    n: int,
    k: int,
    steps: tuple[float, ...],
    generator: torch.Generator,
    runs: int,
    device: torch.device | str = "cpu",
) -> dict:
    """Trains networks of one width with several steps.

    Returns:
        ``successes``: for every step, in increasing order, the iterations after which runs had
        succeeded; ``largest_step``: 1/L of the theorem, and ``curvature``: ``|A J_0|^2``, one a
        run.
    """
    A, truth = random_problem(n, n, CONDITION, generator, runs)
    network = TwoLayer.draw(n, 1, k, generator, runs, ACTIVATION)
    y = (A @ truth[..., None])[..., 0]
    found = constants(A, network, y, samples=0)
    curvature = torch.linalg.matrix_norm(A @ network.gram() @ A.mT, 2)
    stop = LossThreshold((ACCURACY * y.norm(dim=1)).square().float().to(device) / 2)
    run = descend(
        network.to(device, torch.float32),
        A.float().to(device),
        y.float().to(device),
        torch.tensor([steps]),
        ITERATIONS,
        stop,
        record=2,
    )
    return {
        "successes": [
            sorted(stopped[satisfied].tolist())
            for stopped, satisfied in zip(run.stopped.T, run.satisfied.T, strict=True)
        ],
        "largest_step": rounded(found.largest_step),
        "curvature": rounded(curvature),
    }
