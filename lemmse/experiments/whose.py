"""Whose formula? Networks trained on two disjoint sets, each against both sets' LE-MMSE.

For every task and N, one network learns from the set A and one from the set B, both of N images of
Fashion-MNIST. Each is compared with the formula of its own set and with that of the other one, on
images of its own set, of the other one, and new ones. If a network computed "the class's" local
MMSE and nothing of its training set, the two distances would be equal on new images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import datasets
from ..metrics import psnr
from ..training import Problem, Settings, train
from ..zoo import Spec
from . import record
from .comparison import estimator, rounded
from .record import Bar, run_cells, silent

NAME = "whose"
TITLE = "networks of two disjoint training sets, each against both formulas"
CHAPTERS = "13"
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
