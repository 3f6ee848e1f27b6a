"""How much data a network needs: physics inside against fully learned, on fewer and fewer images.

The problem is a tomography that is small enough for a hundred trainings: the central 24 x 24 pixels
of photographs, averaged 2 by 2 to 12 x 12, seen from `ANGLES` directions with noise `SIGMA`. The
contestants:

- ``svd``: `SVDNet`, one number for each singular direction.
- ``proximal``: `UnrolledProximal`, steps on the data and small convolutional corrections.
- ``learned``: `FullyLearned`, a dense layer and one such correction, as many parameters as
  ``proximal`` (within a tenth) and as many steps.
- ``learned, equal time``: the same network, trained for as much processor time as ``proximal``.
- ``learned, longer``: the same with ten times the steps of ``learned``, and ``proximal, longer``:
  for as much processor time as that; both on the smallest and the largest share only.
- ``svd, wrong angles`` and ``proximal, wrong angles``: they believe in a scanner that is turned by
  `MISALIGNMENT` degrees against the one that measures.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import datasets
from ..metrics import psnr
from ..networks import FullyLearned, SVDNet, UnrolledProximal
from ..operators import Tomography
from ..operators.checks import as_integer
from ..training import Problem, Settings, train
from . import record
from .record import Bar, Cell, machine, silent

NAME = "data-efficiency"
TITLE = "learning curves of networks with the physics inside, and of fully learned ones"
CHAPTERS = "21"
COST = "30 minutes"
OPTIONS = ("seeds",)

QUICK = [(0, 100, name) for name in ("svd", "proximal", "learned")]
"""What the quick version trains, as (seed, number of images, contestant)."""

SHARES = (0.1, 0.25, 0.5, 1.0)
IMAGES = 1000
TEST_IMAGES = 200
SEEDS = (0, 1, 2)
"""A seed draws the subset of the training images, the initial weights, the batches, the noise."""

SIDE = 12
ANGLES = 8
SIGMA = 0.3
MISALIGNMENT = 5.0

LAYERS, WIDTH = 3, 16
"""Of the corrections of ``proximal``; ``learned`` has one of half the width."""

CONTESTANTS = (
    "svd",
    "proximal",
    "proximal, longer",
    "learned",
    "learned, equal time",
    "learned, longer",
    "svd, wrong angles",
    "proximal, wrong angles",
)
STEPS = 400
LONGER = 10
CLOCKED_CONTESTANTS = ("learned, equal time", "proximal, longer")
CLOCKED = 200
"""So many steps are timed to find how many steps of ``learned`` take the time of ``proximal``."""


def results(path: Path | None = None) -> dict:
    """The published results; see `run` for what they hold.

    Example:
        >>> set(results()["cells"]) == set(CONTESTANTS)
        True
    """
    return record.read(NAME, path)


def photographs(split: str, count: int) -> Tensor:
    """The first images of a split, (count, 1, 12, 12): the centre, averaged 2 by 2.

    Example:
        >>> photographs("test", 2).shape
        torch.Size([2, 1, 12, 12])
    """
    images = datasets.load("photos-grey", split, count)
    margin = (images.shape[-1] - 2 * SIDE) // 2
    return functional.avg_pool2d(images[..., margin:-margin, margin:-margin], 2)


def scanner(misalignment: float = 0.0) -> Tomography:
    """The operator, turned by so many degrees.

    Example:
        >>> scanner().example_measurement((1, SIDE, SIDE)).shape
        torch.Size([1, 1, 17, 8])
    """
    return Tomography([180 / ANGLES * i + misalignment for i in range(ANGLES)], (SIDE, SIDE))


def contestant(name: str, seed: int = 0) -> nn.Module:
    """A network of `CONTESTANTS` with its initial weights.

    Raises:
        ValueError: there is no such contestant.

    Example:
        >>> pair = contestant("proximal"), contestant("learned")
        >>> counts = [sum(p.numel() for p in network.parameters()) for network in pair]
        >>> abs(counts[0] / counts[1] - 1) < 0.1
        True
    """
    if name not in CONTESTANTS:
        raise ValueError(f"contestant: expected one of {', '.join(CONTESTANTS)}, got {name!r}")
    shape = (1, SIDE, SIDE)
    believed = scanner(MISALIGNMENT if name.endswith("wrong angles") else 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith("svd"):
            return SVDNet(believed, shape)
        if name.startswith("proximal"):
            return UnrolledProximal(believed, shape, LAYERS, WIDTH)
        measured = believed.example_measurement(shape).shape[1:]
        return FullyLearned(measured, shape, layers=1, width=WIDTH // 2)


def training(name: str, steps: int, seed: int) -> Settings:
    """How a contestant is trained: a few numbers want larger steps than many weights."""
    rate = 0.1 if name.startswith("svd") else 5e-3
    return Settings(
        steps=steps,
        batch=32,
        crop=None,
        learning_rate=rate,
        ema=0.98,
        sigma=SIGMA,
        seed=seed,
        records=6,
    )


def trained(name: str, count: int, seed: int, steps: int = STEPS) -> dict:
    """Trains one contestant on some of the images.

    Args:
        name: of `CONTESTANTS`.
        count: how many of the `IMAGES` training images; a seed draws which.
        seed: see `SEEDS`.
        steps: of the training.

    Returns:
        Mean PSNR in dB at the end: ``test``, and ``train`` on (at most 200 of) its own images;
        ``history``, that on the test images during training, the last one being ``test``; and
        ``seconds`` of processor time.
    """
    generator = torch.Generator().manual_seed(seed)
    which = torch.randperm(IMAGES, generator=generator)[:count]
    images, truth = photographs("train", IMAGES)[which], photographs("test", TEST_IMAGES)
    problem = Problem.direct(images, scanner())
    y = problem.operator.measure(truth, SIGMA, torch.Generator().manual_seed(10_000))
    network = contestant(name, seed)
    if isinstance(network, FullyLearned):
        network.standardise(problem.clean())

    def probe(current: nn.Module) -> dict[str, float]:
        return {"test": psnr(current(y, SIGMA), truth).mean().item()}

    start = time.process_time()
    history = train(network, problem, training(name, steps, seed), probe, progress=False)
    seconds = time.process_time() - start
    own = images[:TEST_IMAGES]
    with torch.no_grad():
        again = network(problem.operator.measure(own, SIGMA, generator), SIGMA)
    return {
        "test": round(history.records[-1]["test"], 3),
        "train": round(psnr(again, own).mean().item(), 3),
        "history": [round(value, 3) for value in history.column("test")],
        "steps": steps,
        "seconds": round(seconds, 2),
    }


def settings() -> dict:
    """What the results depend on: results of another one are not mixed with these."""
    return {
        "shares": list(SHARES),
        "images": IMAGES,
        "test images": TEST_IMAGES,
        "side": SIDE,
        "angles": ANGLES,
        "sigma": SIGMA,
        "misalignment": MISALIGNMENT,
        "steps": STEPS,
        "data": {
            "train": datasets.checksum(photographs("train", IMAGES)),
            "test": datasets.checksum(photographs("test", TEST_IMAGES)),
        },
        "parameters": {
            name: sum(p.numel() for p in contestant(name).parameters()) for name in CONTESTANTS
        },
        "settings": {name: asdict(training(name, STEPS, 0)) for name in CONTESTANTS},
    }


def equal_time() -> int:
    """Steps of ``learned`` that take the processor time of `STEPS` steps of ``proximal``."""
    seconds = {}
    for name in ("proximal", "learned"):
        trained(name, IMAGES, 0, 5)  # the first steps are slow
        seconds[name] = trained(name, IMAGES, 0, CLOCKED)["seconds"]
    return round(STEPS * seconds["proximal"] / seconds["learned"])


def cells(seeds: tuple[int, ...]) -> list[tuple[int, int, str]]:
    """What is to be trained: seed, number of images, contestant."""
    return [
        (seed, count, name)
        for seed in seeds
        for count in counts()
        for name in CONTESTANTS
        if count in counts(name)
    ]


def counts(name: str = "") -> list[int]:
    """The numbers of images, those that a contestant is trained on.

    Example:
        >>> counts(), counts("learned, longer")
        ([100, 250, 500, 1000], [100, 1000])
    """
    shares = (min(SHARES), max(SHARES)) if name.endswith("longer") else SHARES
    return [round(share * IMAGES) for share in shares]


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
    *,
    seeds: tuple[int, ...] = SEEDS,
) -> dict:
    """Trains all contestants on all shares of the data, and writes the results after every one.

    What the file already holds is kept.

    Args:
        out: the file, read first if it exists; None: the published results.
        quick: train only `QUICK`.
        device: "cpu"; processor time is part of what is compared.
        bar: see `record.Bar`.
        seeds: which.

    Returns:
        ``machine``; ``equal time``, a number of steps; and ``cells[contestant][count][seed]``, each
        what `trained` returns.

    Raises:
        ValueError: a file of other settings, or seeds out of their range.
    """
    seeds = tuple(as_integer(seed, "seed", 0, 2**63 - 1) for seed in seeds)
    file = record.Record(NAME, out, settings())
    return file.work([_cell(file, *which) for which in (QUICK if quick else cells(seeds))], bar)


def _cell(file: record.Record, seed: int, count: int, name: str) -> Cell:
    def done(results: dict) -> bool:
        return str(seed) in results.get("cells", {}).get(name, {}).get(str(count), {})

    def compute(results: dict) -> dict:
        if name in CLOCKED_CONTESTANTS:
            results = file.work([CLOCK])
        steps = steps_of(name, results.get("equal time"))
        found = {str(count): {str(seed): trained(name, count, seed, steps)}}
        return {"machine": machine("cpu"), "cells": {name: found}}

    return Cell(f"{name}, {count} images, seed {seed}", done, compute)


# Measured once, so that all contestants are given the same time. (No docstring: Sphinx would take
# an instance for a member of the module of its class.)
CLOCK = Cell(
    "equal time",
    lambda results: "equal time" in results,
    lambda results: {"equal time": equal_time()},
)


def steps_of(name: str, equal: int | None) -> int:
    """How long a contestant is trained, given the result of `equal_time`.

    Example:
        >>> steps_of("learned, longer", None), steps_of("proximal, longer", 800)
        (4000, 2000)
    """
    if name == "learned, equal time":
        return equal
    if name == "proximal, longer":
        return round(LONGER * STEPS * STEPS / equal)
    return LONGER * STEPS if name == "learned, longer" else STEPS
