"""The width that R' < R needs, against the width that is needed in practice, over n.

Two families: as many measurements as unknowns (``square``), and ten measurements (``ten``).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..dip.activations import ACTIVATIONS
from ..dip.descent import descend
from ..dip.network import seeds
from ..dip.problems import random_problem
from ..dip.stopping import LossThreshold
from ..dip.two_layer import TwoLayer
from . import record
from .record import Bar, rounded, run_cells, silent

NAME = "dip-width"
TITLE = "the width that the theorem needs, and the width needed in practice"
CHAPTERS = "27"
COST = "10 minutes"
OPTIONS = ()
QUICK = ("practice square 10", "practice ten 10", "bound square 10")
"""The cells of the quick version."""

RUNS = 50
SIZES = (10, 20, 30, 50, 70, 100)
FEW = 10
CONDITION = 2.0
ACTIVATION = "tanh"
SHARES = (0.7, 1.0, 1.25, 1.6, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
"""Widths tried in practice, as multiples of the number of measurements m."""

ITERATIONS = 10_000
ACCURACY = 1e-3
"""A run succeeds when ``|A x - y|`` is at most this share of ``|y|``."""

THRESHOLDS = {"theorem": 1 / 8, "flow": 1 / 4, "sharp": 1 / 4, "sharp flow": 1 / 2}
"""What Lambda ``|r_0|`` / (sigma_A sigma_0^2) must be below: R' < R for gamma = 1/L (nu = 2) and
for the flow (nu = 1), and the same without the factor 1/2 given away (`Constants.radius_sharp`)."""

GROWTH = 1.1
"""Widths at which the conditions are looked at grow by this factor."""

CHUNK = 50_000
"""Neurons drawn at once."""


def settings() -> dict:
    """What was computed."""
    return {
        "runs": RUNS,
        "sizes": SIZES,
        "few": FEW,
        "condition": CONDITION,
        "activation": ACTIVATION,
        "shares": SHARES,
        "iterations": ITERATIONS,
        "accuracy": ACCURACY,
        "thresholds": THRESHOLDS,
    }


def cells() -> list[str]:
    """``practice`` and ``bound`` for both families and every n, quick ones first."""
    return [
        f"{what} {family} {n}"
        for n in SIZES
        for what in ("practice", "bound")
        for family in ("square", "ten")
    ]


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
    """The numbers of a cell.

    Returns:
        For ``bound`` see `conditions`, for ``practice`` see `practice`.
    """
    what, family, size = cell.split()
    n = int(size)
    m = n if family == "square" else FEW
    generator = torch.Generator().manual_seed(1000 * n + m)
    if what == "bound":
        return conditions(n, m, generator, RUNS, device)
    return practice(n, m, generator, RUNS, device)


def conditions(
    n: int, m: int, generator: torch.Generator, runs: int, device: torch.device | str = "cpu"
) -> dict:
    """In how many runs the conditions hold, as neurons are added to every network.

    Stops at the first width at which that of the theorem holds in all runs.

    Returns:
        ``widths``, and ``holds``: for every name of `THRESHOLDS` a count for each width; ``median``
        over the runs of Lambda ``|r_0|`` / (sigma_A sigma_0^2).
    """
    A, truth = random_problem(m, n, CONDITION, generator, runs)
    growing = [
        Growing(A[run].to(device), truth[run].to(device), seed)
        for run, seed in enumerate(seeds(generator, runs))
    ]
    widths, values = [2 * n], []
    while True:
        for network in growing:
            network.grow(widths[-1])
        values.append([network.value() for network in growing])
        if max(values[-1]) < THRESHOLDS["theorem"]:
            break
        widths.append(max(widths[-1] + 1, round(GROWTH * widths[-1])))
    found = torch.tensor(values, dtype=torch.float64)
    return {
        "widths": widths,
        "holds": {name: (found < value).sum(1).tolist() for name, value in THRESHOLDS.items()},
        "median": rounded(found.median(1).values),
    }


class Growing:
    """One network of growing width: J J^T and x_0 sqrt(k) are sums over its neurons.

    Args:
        A: (m, n), of rank min(m, n).
        truth: (n,); y = A truth.
        generator: of the neurons, on the CPU.
    """

    def __init__(self, A: Tensor, truth: Tensor, generator: torch.Generator):
        self.A, self.truth, self.generator = A, truth, generator
        self.phi = ACTIVATIONS[ACTIVATION]
        self.sigma_A = torch.linalg.svdvals(A)[-1]
        self.k, n = 0, A.shape[1]
        self.gram, self.total = A.new_zeros(n, n), A.new_zeros(n)

    def grow(self, k: int) -> None:
        """Draws neurons until there are k."""
        n, device = self.A.shape[1], self.A.device
        while self.k < k:
            size = min(CHUNK, k - self.k)
            signs = torch.randint(2, (n, size), generator=self.generator, dtype=torch.int8)
            V = 2 * signs.to(device, torch.float32) - 1
            a = torch.randn(size, generator=self.generator).to(device)
            self.total += (V @ self.phi.value(a)).double()
            V *= self.phi.slope(a)
            self.gram += (V @ V.T).double()
            self.k += size

    def value(self) -> float:
        """Lambda ``|r_0|`` / (sigma_A sigma_0^2)."""
        square = torch.linalg.eigvalsh(self.gram)[0] / self.k
        residual = (self.A @ (self.total / self.k**0.5 - self.truth)).norm()
        lipschitz = self.phi.max_curvature * (len(self.gram) / self.k) ** 0.5
        return (lipschitz * residual / (self.sigma_A * square)).item()


def practice(
    n: int,
    m: int,
    generator: torch.Generator,
    runs: int,
    device: torch.device | str = "cpu",
    shares: tuple[float, ...] | None = None,
) -> dict:
    """Trains networks of several widths; the step is 1 / ``|A J_0|^2``.

    Args:
        n, m: unknowns and measurements.
        generator: of problems and networks.
        runs: how many of each.
        device: where to compute.
        shares: the widths, as multiples of m; None: `SHARES`.

    Returns:
        ``widths``; ``successes``: for each width, in increasing order, the iterations after which
        runs had succeeded.
    """
    widths = sorted({max(1, round(share * m)) for share in shares or SHARES})
    A, truth = (t.float().to(device) for t in random_problem(m, n, CONDITION, generator, runs))
    y = (A @ truth[..., None])[..., 0]
    stop = LossThreshold((ACCURACY * y.norm(dim=1)).square() / 2)
    successes = []
    for k in widths:
        network = TwoLayer.draw(n, 1, k, generator, runs, ACTIVATION, dtype=torch.float32)
        network = network.to(device)
        step = 1 / torch.linalg.matrix_norm(A @ network.gram() @ A.mT, 2)
        run = descend(network, A, y, step, ITERATIONS, stop, record=2)
        successes.append(sorted(run.stopped[run.satisfied].tolist()))
    return {"widths": widths, "successes": successes}
