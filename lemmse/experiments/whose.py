"""Whose formula? Networks trained on two disjoint sets, each against both sets' LE-MMSE.

For every task and N, one network learns from the set A and one from the set B, both of N images of
Fashion-MNIST. Each is compared with the formula of its own set and with that of the other one, on
images of its own set, of the other one, and new ones. If a network computed "the class's" local
MMSE and nothing of its training set, the two distances would be equal on new images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn

from .. import datasets
from ..metrics import psnr
from ..training import Problem, Settings, train
from ..zoo import Spec
from . import record, scale
from .comparison import estimator, rounded
from .record import Bar, run_cells, silent

NAME = "whose"
TITLE = "networks of two disjoint training sets, each against both formulas"
CHAPTERS = "16"
COST = "5 hours"
OPTIONS = ()

DATASET = "fashion-mnist"
TASKS = ("denoising", "inpainting")
COUNTS = (30, 100, 300, 1_000, 10_000)
LARGEST = max(COUNTS)
SIGMAS = (0.1, 0.2, 0.5)
IMAGES = 16
"""Images of each group, all of whose pixels are compared."""

PATCH_SIZE = 5
WIDTH, DEPTH = 128, 4
TRAINING = Settings(
    steps=4000, batch=128, crop=4, learning_rate=3e-3, precision="bfloat16", records=1
)
SETS = {"A": 0, "B": LARGEST}
"""Where each set begins; those of A are the first N images of the data set."""

QUICK = ("denoising 30",)
NEAR_FAR = ("own_formula", "other_formula")


def settings() -> dict:
    """What is computed."""
    return {
        "dataset": DATASET,
        "counts": COUNTS,
        "sigmas": SIGMAS,
        "images": IMAGES,
        "patch_size": PATCH_SIZE,
        "width": WIDTH,
        "depth": DEPTH,
        "steps": TRAINING.steps,
        "batch": TRAINING.batch,
        "learning_rate": TRAINING.learning_rate,
    }


def cells() -> list[str]:
    """Task and N of every cell, the quick ones first."""
    return [f"{task} {count}" for count in COUNTS for task in TASKS]


def results(path: Path | None = None) -> dict:
    """The published results: by the name of a cell what `compute` returns, and ``machine``."""
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
    file = record.Record(NAME, out, settings())
    return run_cells(file, QUICK if quick else cells(), compute, device, bar)


def compute(cell: str, device: torch.device | str = "cpu") -> dict:
    """The numbers of a cell.

    Returns:
        By group (``own``: images of the network's own set; ``other``; ``new``) and sigma, for the
        networks of A, then those of B, one number an image in dB: ``own_formula``, PSNR(network,
        LE-MMSE of its own set); ``other_formula``; ``truth``; and ``formulas``, how far the two
        formulas are apart.
    """
    task, number = cell.split()
    count = int(number)
    spec = Spec(DATASET, task, patch_size=PATCH_SIZE, images=count)
    every = datasets.load(DATASET, "train", 2 * LARGEST).to(device)
    sets = {name: every[start : start + count] for name, start in SETS.items()}
    problems = {name: spec.pose(images) for name, images in sets.items()}
    trained = {
        name: network(spec, problem, seed) for seed, (name, problem) in enumerate(problems.items())
    }
    formulas = {name: estimator(spec, images) for name, images in sets.items()}
    new = datasets.load(DATASET, "test", IMAGES).to(device)
    found = {group: {str(sigma): _empty() for sigma in SIGMAS} for group in ("own", "other", "new")}
    for place, images in {**sets, "new": new}.items():
        for sigma in SIGMAS:
            x = images[:IMAGES]
            seed = round(1000 * sigma) + 10 * [*sets, "new"].index(place)
            generator = torch.Generator().manual_seed(seed)
            y = problems["A"].operator.measure(x.cpu(), sigma, generator).to(device)
            estimates = {name: formula(y, sigma) for name, formula in formulas.items()}
            for name, other in (("A", "B"), ("B", "A")):
                group = "new" if place == "new" else "own" if place == name else "other"
                with torch.no_grad():
                    output = trained[name](y, sigma)
                _add(found[group][str(sigma)], output, estimates[name], estimates[other], x)
    return found


def nearer(cell: dict, sigma: float, group: str) -> tuple[float, float]:
    """By how many dB networks are nearer to the formula of their own set than to the other's.

    Args:
        cell: what `compute` returns.
        sigma: the noise level.
        group: which images, ``own``, ``other`` or ``new``.

    Returns:
        The mean over the images, and its standard error; new images count once for both networks.

    Example:
        >>> entry = {"own_formula": [31.0, 32.0] * 2, "other_formula": [30.0] * 4}
        >>> nearer({"new": {"0.5": entry}}, 0.5, "new")
        (1.5, 0.5)
    """
    differences = [near - far for near, far in _pairs(cell[group][str(sigma)], *NEAR_FAR)]
    if group == "new":
        one, two = _halves(differences)
        differences = [(a + b) / 2 for a, b in zip(one, two, strict=True)]
    return scale.level(differences)


def slope(cell: dict, sigma: float, group: str) -> tuple[float, float]:
    r"""How much of the difference of the two formulas the two networks have taken up.

    .. math:: \beta = \frac{\langle \varphi_a - \varphi_b, f_a - f_b \rangle}{\|f_a - f_b\|^2}

    from distances alone: twice the product is :math:`\|\varphi_a - f_b\|^2 - \|\varphi_a - f_a\|^2`
    and the same with a and b exchanged.

    Args:
        cell: what `compute` returns.
        sigma: the noise level.
        group: ``new``, or ``own``: images of one of the two sets.

    Returns:
        The slope over all images together, and its standard error: 1 for networks that compute
        their formulas, 0 for networks that know nothing of their images.

    Example:
        >>> near, far = [40.0, 42.0], [20.0, 21.0]
        >>> entry = {"own_formula": near * 2, "other_formula": far * 2, "formulas": far * 2}
        >>> round(slope({"new": {"0.5": entry}}, 0.5, "new")[0], 2)
        0.99
    """
    first = cell[group][str(sigma)]
    # Of an image of a set: the network of that set in one group, the other network in the other.
    second = cell["other"][str(sigma)] if group == "own" else None
    gains = [_squared(far) - _squared(near) for near, far in _pairs(first, *NEAR_FAR)]
    spans = [_squared(value) for value in first["formulas"]]
    if second is None:
        (gains, more), (spans, _) = _halves(gains), _halves(spans)
    else:
        more = [_squared(far) - _squared(near) for near, far in _pairs(second, *NEAR_FAR)]
    products = [(a + b) / 2 for a, b in zip(gains, more, strict=True)]
    value = mean(products) / mean(spans)
    rests = [product - value * span for product, span in zip(products, spans, strict=True)]
    return value, stdev(rests) / len(rests) ** 0.5 / mean(spans)


def _pairs(entry: dict, one: str, two: str) -> list[tuple[float, float]]:
    return list(zip(entry[one], entry[two], strict=True))


def _halves(values: list) -> tuple[list, list]:
    """What the networks of A and of B have on the same images."""
    return values[: len(values) // 2], values[len(values) // 2 :]


def _squared(decibels: float) -> float:
    return 10 ** (-decibels / 10)


def network(spec: Spec, problem: Problem, seed: int) -> nn.Module:
    """A network trained on a set; weights, batches and noise are those of the seed."""
    fresh = spec.seeded(problem, seed, size={"width": WIDTH, "depth": DEPTH})
    fresh = fresh.to(problem.images.device)
    train(fresh, problem, replace(TRAINING, seed=seed), progress=False)
    return fresh.eval()


def _empty() -> dict[str, list[float]]:
    return {kind: [] for kind in ("own_formula", "other_formula", "truth", "formulas")}


def _add(entry: dict, output: Tensor, own: Tensor, other: Tensor, truth: Tensor) -> None:
    """Appends one network's numbers."""
    entry["own_formula"] += rounded(psnr(output, own))
    entry["other_formula"] += rounded(psnr(output, other))
    entry["truth"] += rounded(psnr(output, truth))
    entry["formulas"] += rounded(psnr(own, other))
