"""What keeps the ResNet from LE-MMSE at large sigma: one change at a time.

Of the three architectures the ResNet of the zoo is the farthest from LE-MMSE where there is much
noise. Each of these networks differs from it in one thing that could be the reason. All are trained
and measured alike, for denoising of 1,000 images of Fashion-MNIST, P = 5, from several seeds; the
two other architectures of the zoo stand beside them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ..networks.base import Pointwise
from ..training import Problem, Settings, train
from ..zoo import Spec
from . import comparison, ladder, record
from .comparison import Place
from .record import Bar, run_cells, silent
from .scale import Sample

NAME = "deficit"
TITLE = "what keeps the ResNet from LE-MMSE at large sigma, one change at a time"
CHAPTERS = "16"
COST = "1 hour"
OPTIONS = ()

RESNET = Spec("fashion-mnist", "denoising", architecture="resnet")
TRAINING = Settings(
    steps=2000, batch=128, crop=4, learning_rate=3e-3, precision="bfloat16", records=1
)
CHANGES: dict[str, tuple[dict, dict]] = {
    "as it is": ({}, {}),
    "3 x 3 blocks that do not normalise": ({"normalised": False}, {}),
    "32-bit products": ({}, {"precision": "float32"}),
    "two more blocks": ({"depth": 4}, {}),
    "two last layers": ({}, {}),
    "four times the steps": ({}, {"steps": 4 * TRAINING.steps}),
}
"""What differs in the arguments of the network, and in how it is trained."""
OTHERS = {
    "U-Net": replace(RESNET, architecture="unet"),
    "PatchMLP": replace(RESNET, architecture="patchmlp"),
}
SEEDS = (0, 1, 2)

QUICK = ("as it is | 0",)


def settings() -> dict:
    """What is computed."""
    return {
        "model": RESNET.name,
        "changes": CHANGES,
        "sigmas": ladder.SIGMAS,
        "steps": TRAINING.steps,
        "batch": TRAINING.batch,
        "learning_rate": TRAINING.learning_rate,
    }


def cells() -> list[str]:
    """Change and seed of every cell; all changes with one seed come before the next seed."""
    return [f"{kind} | {seed}" for seed in SEEDS for kind in (*CHANGES, *OTHERS)]


def results(path: Path | None = None) -> dict:
    """The published results: by the name of a cell what `compute` returns, and ``machine``."""
    return record.read(NAME, path)


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
) -> dict:
    """Trains the networks of the cells that the file lacks, and writes it after each.

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
    samples = lru_cache(maxsize=1)(lambda: ladder.samples_of(RESNET, device))

    def cell(name: str, device: torch.device | str) -> dict:
        kind, seed = name.split(" | ")
        return compute(kind, int(seed), samples(), device)

    return run_cells(file, QUICK if quick else cells(), cell, device, bar)


def fresh(kind: str, problem: Problem, seed: int) -> nn.Module:
    """A network with random weights.

    Example:
        >>> x = torch.rand(4, 1, 8, 8)
        >>> fresh("two more blocks", RESNET.pose(x), 0).blocks[1].normalised
        True
    """
    if kind in OTHERS:
        return OTHERS[kind].seeded(problem, seed)
    network = RESNET.seeded(problem, seed, size=CHANGES[kind][0])
    if kind == "two last layers":
        width = network.last.in_channels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network.last = nn.Sequential(Pointwise(width, width), nn.SiLU(), network.last)
    return network


def compute(
    kind: str, seed: int, samples: dict[Place, Sample], device: torch.device | str = "cpu"
) -> dict:
    """Trains one network and measures it.

    Args:
        kind: one of `CHANGES` or `OTHERS`.
        seed: of weights, batches and noise.
        samples: what to measure, see `ladder.samples_of`.
        device: where to compute.

    Returns:
        ``parameters``, how many numbers are trained; ``loss``, the mean training loss; and
        ``psnr[split][sigma]``, PSNR(network, LE-MMSE), one number an image.
    """
    problem = comparison.problem(RESNET, device)
    network = fresh(kind, problem, seed).to(device)
    how = CHANGES[kind][1] if kind in CHANGES else {}
    history = train(network, problem, replace(TRAINING, seed=seed, **how), progress=False)
    network.eval()
    found: dict[str, dict[str, list[float]]] = {split: {} for split, _ in samples}
    for (split, sigma), sample in samples.items():
        found[split][str(sigma)] = sample.of_network(network)["network_formula"]
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "loss": round(history.records[-1]["loss"], 4),
        "psnr": found,
    }
