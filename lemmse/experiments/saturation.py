"""A detector that saturates, inside a network and outside: learning curves.

The problem is the small tomography of `data_efficiency`, with its noise and its photographs; but
the detector answers (1 - exp(-beta a)) / beta to a line sum a, so that the forward operator F is
not linear. Three networks of the same size have steps on the data inside, and small convolutional
corrections:

- ``unrolled``: the steps go through the detector, down the squared misfit of y and F(x).
- ``undone``: the response is inverted first, and the steps are those of a linear detector.
- ``linear``: they believe in a linear detector. All three are trained on what the real one gives.

``learned`` is `FullyLearned`: it has no operator, as many parameters as they have (within a tenth),
and is trained for as much processor time. The closed forms `CLOSED` take from the training images
nothing but second moments:

- ``gauss-newton``: F is linearised at the last estimate, and the linear problem solved for a
  Gaussian prior that has the images' power along each singular vector of the line sums.
- ``undone, closed``: the same prior, on inverted responses, as if those were a linear detector's.
- ``affine``: the best affine function of y.

The learning rate of every network, one of two, is chosen with seed 0 on `CHOSEN` images; the noise
level that a closed form assumes, one of four, every time. Both, and the moment at which a
training is stopped, are chosen on `HELD_OUT` validation photographs. All contestants of a seed see
the same images, and all the same scans of the test photographs, so that results are paired.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import datasets
from ..metrics import mse
from ..networks import FullyLearned, UnrolledProximal
from ..training import Problem
from . import record
from .data_efficiency import ANGLES, BATCH, HELD_OUT, SIDE, SIGMA, equal_time, photographs, timed
from .record import Bar, Cell, machine, rounded, silent
from .tomography import Scanner, psnr_of, saturated, slope

NAME = "saturation"
TITLE = "networks with a saturating detector inside, with a linear one, and with none"
CHAPTERS = "23"
COST = "20 minutes"
OPTIONS = ()

QUICK = [("unrolled", 100, 0), ("gauss-newton", 100, 0)]
"""What the quick version computes, as (contestant, number of images, seed)."""

BETA = 0.15
"""Of the detector, whose slope is a tenth at the largest line sums of the photographs."""

COUNTS = (10, 100, 1000)
"""Numbers of training images."""
CHOSEN = 100
"""The learning rates are chosen on so many."""
IMAGES = 1000
TEST_IMAGES = 100
SEEDS = (0, 1, 2)
"""A seed draws the subset of the training images, the initial weights, the batches, the noise."""

LAYERS, WIDTH = 6, 11
"""Of the networks with an operator inside; ``learned`` has one correction of half the width."""
STEPS, RECORDS = 200, 10
"""Of the networks with an operator inside; looks at the validation images."""
CLOCKED = 60
"""So many steps are timed to find how many steps of ``learned`` take the time of ``unrolled``."""
LONGER = 4
"""All networks are trained on all images with so many times the steps, too."""

RATES = {
    "unrolled": (5e-3, 1e-2),
    "undone": (5e-3, 1e-2),
    "linear": (5e-3, 1e-2),
    "learned": (1e-2, 3e-2),
}
"""Learning rates of the networks."""

CLOSED = ("gauss-newton", "undone, closed", "affine")
LEVELS = (1, 2, 4, 8)
"""Noise levels that a closed form may assume, in units of the real one."""
NEWTON = 6
"""So many times ``gauss-newton`` linearises; a seventh time changes nothing."""

LEAST = 0.01
"""A response so near to the largest possible one, 1 / beta, is inverted as if it were no nearer."""


def results(path: Path | None = None) -> dict:
    """The published results; see `run` for what they hold.

    Example:
        >>> set(results()["cells"]) == {*RATES, *CLOSED}
        True
    """
    return record.read(NAME, path)


@lru_cache
def scanner(beta: float = BETA) -> Scanner:
    """The operator F; the line sums for beta = 0.

    Example:
        >>> scanner().A(torch.ones(1, 1, 12, 12)).max() < 1 / BETA
        tensor(True)
    """
    angles = [180 / ANGLES * i for i in range(ANGLES)]
    return Scanner(angles, saturation=beta, size=(SIDE, SIDE))


def undone(y: Tensor, beta: float = BETA) -> Tensor:
    """The line sums that give a detector's response y, -log(1 - beta y) / beta; see `LEAST`.

    Example:
        >>> undone(saturated(torch.tensor([0.0, 2.0]), 0.5), 0.5)
        tensor([-0., 2.])
    """
    return -(1 - beta * y).clamp_min(LEAST).log() / beta


class _Undoing(nn.Module):
    """A network that is given ``undone(y)``.

    Args:
        network: made for a linear detector.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Images (B, 1, H, W) from responses y."""
        return self.network(undone(y), sigma)


def contestant(name: str, seed: int = 0) -> nn.Module:
    """A network of `RATES` with its initial weights.

    Raises:
        ValueError: there is no such network.

    Example:
        >>> pair = contestant("unrolled"), contestant("learned")
        >>> counts = [sum(p.numel() for p in network.parameters()) for network in pair]
        >>> abs(counts[0] / counts[1] - 1) < 0.1
        True
    """
    if name not in RATES:
        raise ValueError(f"contestant: expected one of {', '.join(RATES)}, got {name!r}")
    shape = (1, SIDE, SIDE)
    believed = scanner(BETA if name == "unrolled" else 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "learned":
            measured = believed.example_measurement(shape).shape[1:]
            return FullyLearned(measured, shape, layers=1, width=WIDTH // 2)
        network = UnrolledProximal(believed, shape, LAYERS, WIDTH)
        return _Undoing(network) if name == "undone" else network


def drawn(count: int, seed: int) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """The training images of a seed; and of both other splits the images and their scans.

    Example:
        >>> images, shown = drawn(10, seed=0)
        >>> images.shape, shown["test"][1].shape
        (torch.Size([10, 1, 12, 12]), torch.Size([100, 1, 17, 8]))
    """
    pool = photographs("train", IMAGES + HELD_OUT)
    which = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(seed))[:count]
    splits = {"validation": pool[IMAGES:], "test": photographs("test", TEST_IMAGES)}
    shown = {
        split: (x, scanner().measure(x, SIGMA, torch.Generator().manual_seed(10_000 + i)))
        for i, (split, x) in enumerate(splits.items())
    }
    return pool[which], shown


def decibels(estimate: Tensor, x: Tensor) -> float:
    """PSNR in dB of the mean squared error over all images."""
    return psnr_of(mse(estimate, x).tolist())


def trained(name: str, count: int, seed: int, rate: float, steps: int) -> dict:
    """Trains one network on some of the images.

    Args:
        name: of `RATES`.
        count: how many of the `IMAGES` training images; a seed draws which.
        seed: see `SEEDS`.
        rate: of the optimiser.
        steps: of the training.

    Returns:
        ``errors``, the mean squared error on every test photograph at the moment at which the PSNR
        on the validation photographs, ``validation``, is best; ``moment``, that step; ``history``,
        the PSNR on the test photographs during training, in dB; ``train``, that on (at most 200 of)
        its own images at the end; ``rate``, ``steps``; and ``seconds`` of processor time.
    """
    images, shown = drawn(count, seed)
    work = Problem.direct(images, scanner())
    network = contestant(name, seed)
    if isinstance(network, FullyLearned):
        network.standardise(work.clean())
    errors: list[Tensor] = []

    def probe(current: nn.Module) -> dict[str, float]:
        estimates = {split: current(y, SIGMA) for split, (_, y) in shown.items()}
        errors.append(mse(estimates["test"], shown["test"][0]))
        return {split: decibels(estimate, shown[split][0]) for split, estimate in estimates.items()}

    history, seconds = timed(network, work, probe, rate, steps, seed, RECORDS)
    validation = history.column("validation")
    best = max(range(len(validation)), key=lambda i: validation[i])
    own = images[:200]
    with torch.no_grad():
        generator = torch.Generator().manual_seed(20_000 + seed)
        again = network(scanner().measure(own, SIGMA, generator), SIGMA)
    return {
        "errors": rounded(errors[best], 4),
        "validation": round(validation[best], 3),
        "moment": history.column("step")[best],
        "history": [round(value, 3) for value in history.column("test")],
        "train": round(decibels(again, own), 3),
        "rate": rate,
        "steps": steps,
        "seconds": round(seconds, 2),
    }


def power_prior(images: Tensor) -> Tensor:
    """The prior covariance V diag(S) V^T, for the images' power S along the singular vectors v.

    Example:
        >>> power_prior(photographs("test", 3)).shape
        torch.Size([144, 144])
    """
    _, _, vh = scanner().svd
    power = (images.flatten(1).double() @ vh.value.T).square().mean(0)
    return vh.value.T * power @ vh.value


def gauss_newton(
    y: Tensor,
    A: Tensor,
    C: Tensor,
    grey: float,
    sigma: float,
    beta: float,
    steps: int = NEWTON,
) -> Tensor:
    r"""The estimate of a Gaussian prior N(0, C), linearised again and again.

    .. math:: x_{k+1} = C J_k^T (J_k C J_k^T + \sigma^2 I)^{-1} (y - F(x_k) + J_k x_k)

    Args:
        y: scans, (B, m), float64.
        A: of the line sums, (m, n).
        C: (n, n).
        grey: the value of all pixels of x_0.
        sigma: of the noise.
        beta: of the detector.
        steps: how many.

    Returns:
        Pixels, (B, n).

    Example:
        >>> A, x = scanner().matrix.value, photographs("test", 3).double()
        >>> y = scanner().A(x).flatten(1)
        >>> gauss_newton(y, A, power_prior(x), 0.4, SIGMA, BETA).shape
        torch.Size([3, 144])
    """
    CA, noise = C @ A.T, sigma**2 * torch.eye(len(A)).to(A)
    x = torch.full((len(y), len(C)), grey).to(A)
    for _ in range(steps):
        a = x @ A.T
        t = slope(a, beta)  # J = diag(t) A
        data = y - saturated(a, beta) + t * a
        K = t[:, :, None] * (A @ CA) * t[:, None, :] + noise
        x = (t * torch.linalg.solve(K, data)) @ CA.T
    return x


def relinearised(
    y: Tensor,
    modes: tuple[Tensor, Tensor, Tensor],
    power: Tensor,
    grey: float,
    sigma: float,
    beta: float,
    steps: int = NEWTON,
    inner: int = 10,
) -> list[Tensor]:
    """The estimates of `gauss_newton` after each step, for many large scans at once.

    In the modes of the line sums the system of a step is nearly diagonal. Conjugate gradients with
    its diagonal as preconditioner solve it for all scans together, nearly.

    Args:
        y: scans, (B, m), float64.
        modes: U (m, r), s (r,) and V (n, r) with A = U diag(s) V^T.
        power: mean square of images along the columns of V, (r,): the prior is
            N(0, V diag(power) V^T).
        grey: the value of all pixels of the image at which the first step linearises.
        sigma: of the noise.
        beta: of the detector.
        steps: how many.
        inner: iterations of conjugate gradients in each.

    Returns:
        Pixels after each step, each (B, n).

    Example:
        >>> A, x = scanner().matrix.value, photographs("test", 3).double().flatten(1)
        >>> U, s, vh = torch.linalg.svd(A, full_matrices=False)
        >>> power = (x @ vh.T).square().mean(0)
        >>> y = saturated(x @ A.T, BETA)
        >>> found = relinearised(y, (U, s, vh.T), power, 0.4, SIGMA, BETA, 2)
        >>> len(found), found[1].shape
        (2, torch.Size([3, 144]))
    """
    U, s, V = modes
    deviation = power.sqrt()
    W = U * (s * deviation) / sigma
    # The unknowns d are coefficients of the modes over their deviation, with the prior N(0, I).
    d = (torch.full((len(V),), grey).to(V) @ V / deviation).expand(len(y), -1)
    estimates = []
    for _ in range(steps):
        a = sigma * d @ W.T
        t = slope(a, beta)
        data = (y - saturated(a, beta)) / sigma + t * (d @ W.T)
        diagonal = 1 + t.square().mean(1, keepdim=True) * W.square().sum(0)
        r = (t * data) @ W - d - (t.square() * (d @ W.T)) @ W
        q = z = r / diagonal
        for _ in range(inner):
            image = q + (t.square() * (q @ W.T)) @ W
            rz = (r * z).sum(1, keepdim=True)
            length = rz / (q * image).sum(1, keepdim=True)
            d, r = d + length * q, r - length * image
            z = r / diagonal
            q = z + (r * z).sum(1, keepdim=True) / rz * q
        estimates.append(d * deviation @ V.T)
    return estimates


def affine(y: Tensor, images: Tensor, sigma: float) -> Tensor:
    """The affine estimate of least mean squared error on these images and noise, (B, n) in float64.

    Args:
        y: scans, (B, m), float64.
        images: (N, 1, H, W).
        sigma: of the noise.
    """
    x, z = (t.double().flatten(1) for t in (images, scanner().A(images)))
    dx, dz = x - x.mean(0), z - z.mean(0)
    K = dz.T @ dz / len(x) + sigma**2 * torch.eye(z.shape[1]).to(z)
    return x.mean(0) + (y - z.mean(0)) @ torch.linalg.solve(K, dz.T @ dx / len(x))


def in_closed_form(name: str, y: Tensor, images: Tensor, sigma: float) -> Tensor:
    """The estimates of one of `CLOSED`.

    Args:
        name: which.
        y: scans, (B, 1, D, angles).
        images: those that it knows, (N, 1, H, W).
        sigma: the noise level that it assumes.

    Returns:
        (B, 1, H, W).

    Raises:
        ValueError: there is none of this name.

    Example:
        >>> images, shown = drawn(100, seed=0)
        >>> x, y = shown["test"]
        >>> decibels(in_closed_form("gauss-newton", y, images, SIGMA), x) > 22
        True
    """
    if name not in CLOSED:
        raise ValueError(f"name: expected one of {', '.join(CLOSED)}, got {name!r}")
    rows = y.double().flatten(1)
    if name == "affine":
        found = affine(rows, images, sigma)
    else:
        undo = name == "undone, closed"
        prior, grey, A = power_prior(images), images.mean().item(), scanner().matrix.value
        rows, beta, steps = (undone(rows), 0.0, 1) if undo else (rows, BETA, NEWTON)
        found = gauss_newton(rows, A, prior, grey, sigma, beta, steps)
    return found.to(y.dtype).view(-1, 1, SIDE, SIDE)


def evaluated(name: str, count: int, seed: int) -> dict:
    """One of `CLOSED` that knows some of the images.

    Returns:
        ``errors`` and ``validation``, see `trained`; and ``level``, of `LEVELS`.
    """
    images, shown = drawn(count, seed)
    x, y = shown["validation"]
    tries = {k: decibels(in_closed_form(name, y, images, k * SIGMA), x) for k in LEVELS}
    level = max(tries, key=lambda k: tries[k])
    x, y = shown["test"]
    return {
        "errors": rounded(mse(in_closed_form(name, y, images, level * SIGMA), x), 4),
        "validation": round(tries[level], 3),
        "level": level,
    }


def settings() -> dict:
    """What the results depend on: results of another one are not mixed with these."""
    return {
        "images": IMAGES,
        "held out": HELD_OUT,
        "test images": TEST_IMAGES,
        "side": SIDE,
        "angles": ANGLES,
        "beta": BETA,
        "sigma": SIGMA,
        "steps": STEPS,
        "longer": LONGER,
        "chosen": CHOSEN,
        "batch": BATCH,
        "rates": RATES,
        "levels": LEVELS,
        "data": {
            "train": datasets.checksum(photographs("train", IMAGES + HELD_OUT)),
            "test": datasets.checksum(photographs("test", TEST_IMAGES)),
        },
        "parameters": {
            name: sum(p.numel() for p in contestant(name).parameters()) for name in RATES
        },
    }


def cells() -> list[tuple[str, int, int]]:
    """What is to be computed: contestant, number of images, seed."""
    names = (*CLOSED, *RATES)
    return [(name, count, seed) for seed in SEEDS for count in COUNTS for name in names]


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
) -> dict:
    """Computes what the file does not hold yet, and writes it after every contestant.

    Args:
        out: the file, read first if it exists; None: the published results.
        quick: compute only `QUICK`.
        device: "cpu"; processor time is part of what is compared.
        bar: see `record.Bar`.

    Returns:
        ``machine``; ``equal time``, a number of steps; ``tried[network][rate]``, the PSNR on the
        validation photographs; ``cells[contestant][count][seed]``, each what `trained` or
        `evaluated` returns; and ``longer[network][seed]``, what `trained` returns on all images
        with `LONGER` times the steps.

    Raises:
        ValueError: a file of other settings.
    """
    file = record.Record(NAME, out, settings())
    work = [_cell(file, *which) for which in (QUICK if quick else cells())]
    if not quick:
        work += [_longer(file, name, seed) for seed in SEEDS for name in RATES]
    return file.work(work, bar)


def _steps(file: record.Record, name: str) -> int:
    # Measured once, so that all trainings are given the same time.
    return file.work([CLOCK])["equal time"] if name == "learned" else STEPS


def _rate(file: record.Record, name: str) -> float:
    results = file.work([_cell(file, name, CHOSEN, 0)])
    return results["cells"][name][str(CHOSEN)]["0"]["rate"]


def _cell(file: record.Record, name: str, count: int, seed: int) -> Cell:
    def compute(results: dict) -> dict:
        part: dict = {"machine": machine("cpu")}
        if name in CLOSED:
            found = evaluated(name, count, seed)
        elif (count, seed) == (CHOSEN, 0):
            steps = _steps(file, name)
            tries = [trained(name, count, seed, rate, steps) for rate in RATES[name]]
            found = max(tries, key=lambda one: one["validation"])
            part["tried"] = {name: {f"{one['rate']:g}": one["validation"] for one in tries}}
        else:
            found = trained(name, count, seed, _rate(file, name), _steps(file, name))
        return part | {"cells": {name: {str(count): {str(seed): found}}}}

    def done(results: dict) -> bool:
        return str(seed) in results.get("cells", {}).get(name, {}).get(str(count), {})

    return Cell(f"{name}, {count} images, seed {seed}", done, compute)


def _longer(file: record.Record, name: str, seed: int) -> Cell:
    def compute(results: dict) -> dict:
        rate, steps = _rate(file, name), LONGER * _steps(file, name)
        return {"longer": {name: {str(seed): trained(name, IMAGES, seed, rate, steps)}}}

    def done(results: dict) -> bool:
        return str(seed) in results.get("longer", {}).get(name, {})

    return Cell(f"{name}, {LONGER} times the steps, seed {seed}", done, compute)


# (No docstring: Sphinx would take an instance for a member of the module of its class.)
CLOCK = Cell(
    "equal time",
    lambda results: "equal time" in results,
    lambda results: {"equal time": equal_time(trained, "unrolled", STEPS, CLOCKED)},
)
