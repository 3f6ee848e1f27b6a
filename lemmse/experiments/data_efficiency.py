"""How much data a network needs: physics inside against fully learned, on fewer and fewer images.

The problem is a tomography that is small enough for a hundred trainings: the central 24 x 24 pixels
of photographs, averaged 2 by 2 to 12 x 12, seen from `ANGLES` directions with noise `SIGMA`. The
contestants:

- ``svd``: `SVDNet`, one number for each singular direction.
- ``proximal``: `UnrolledProximal`, steps on the data and small convolutional corrections.
- ``learned``: `FullyLearned`, a dense layer and one such correction, as many parameters as
  ``proximal`` (within a tenth), trained for as much processor time.
- ``svd, wrong angles`` and ``proximal, wrong angles``: they believe in a scanner that is turned by
  `MISALIGNMENT` degrees against the one that measures.

The learning rate is chosen for every contestant and number of images, one of two, with seed 0; with
wrong angles it is that with the right ones. Both the rate and the moment at which a training is
stopped are chosen on `HELD_OUT` validation photographs. All contestants of a seed see the same
images, so that their results are paired. Whether a longer training would change who wins on many
images is asked with `LONGER` times the steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import datasets
from ..metrics import psnr
from ..networks import FullyLearned, SVDNet, UnrolledProximal
from ..operators import Tomography
from ..operators.checks import as_integer
from ..training import History, Probe, Problem, Settings, train
from . import record
from .record import Bar, Cell, machine, silent

NAME = "data-efficiency"
TITLE = "learning curves of networks with the physics inside, and of fully learned ones"
CHAPTERS = "21"
COST = "30 minutes"
OPTIONS = ("seeds",)

QUICK = [(0, 100, name) for name in ("svd", "learned")]
"""What the quick version trains, as (seed, number of images, contestant)."""

COUNTS = (2, 10, 100, 1000, 4000)
"""Numbers of training images."""
ENDS = (10, 4000)
"""Those of ``proximal, wrong angles``."""
IMAGES = 4000
HELD_OUT = 200
TEST_IMAGES = 200
SEEDS = (0, 1, 2, 3, 4)
"""A seed draws the subset of the training images, the initial weights, the batches, the noise."""

SIDE = 12
ANGLES = 8
SIGMA = 0.3
MISALIGNMENT = 5.0

LAYERS, WIDTH = 3, 16
"""Of the corrections of ``proximal``; ``learned`` has one of half the width."""

STEPS, BATCH, RECORDS = 250, 16, 5
"""Of ``proximal`` and of the SVD networks; images in a batch; looks at the validation images."""
LONGER = 8
"""``proximal`` and ``learned`` are also trained for so many times their steps on `MANY` images,
with `LONG_SEEDS`."""
MANY, LONG_SEEDS = (1000, 4000), (0, 1, 2)
CLOCKED = 60
"""So many steps are timed to find how many steps of ``learned`` take the time of ``proximal``."""

RATES = {
    "svd": (0.1, 0.3),
    "proximal": (1e-2, 2e-2),
    "learned": (1e-2, 3e-2),
}
CONTESTANTS = ("svd", "proximal", "learned", "svd, wrong angles", "proximal, wrong angles")


def results(path: Path | None = None) -> dict:
    """The published results; see `run` for what they hold.

    Example:
        >>> set(results()["cells"]) == set(CONTESTANTS)
        True
    """
    return record.read(NAME, path)


@lru_cache
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


def timed(
    network: nn.Module, work: Problem, probe: Probe, rate: float, steps: int, seed: int, looks: int
) -> tuple[History, float]:
    """Trains a network with noise `SIGMA` on whole images.

    Args:
        network: is changed.
        work: what it is trained on.
        probe: what is measured on the way.
        rate: of the optimiser.
        steps: of the training.
        seed: of batches and noise.
        looks: how often the probe measures.

    Returns:
        What `train` returns, and the seconds of processor time without those of the probe.
    """
    paused = 0.0

    def measured(current: nn.Module) -> dict[str, float]:
        nonlocal paused
        start = time.process_time()
        found = probe(current)
        paused += time.process_time() - start
        return found

    settings = Settings(
        steps=steps,
        batch=BATCH,
        crop=None,
        learning_rate=rate,
        ema=0.98,
        sigma=SIGMA,
        seed=seed,
        records=looks,
    )
    start = time.process_time()
    history = train(network, work, settings, measured, progress=False)
    return history, time.process_time() - start - paused


def trained(name: str, count: int, seed: int, rate: float, steps: int) -> dict:
    """Trains one contestant on some of the images.

    Args:
        name: of `CONTESTANTS`.
        count: how many of the `IMAGES` training images; a seed draws which.
        seed: see `SEEDS`.
        rate: of the optimiser.
        steps: of the training.

    Returns:
        ``test``, the mean PSNR in dB on the test images at the moment at which that on the
        validation images, ``validation``, is best; ``last``, that at the end; ``train``, that on
        (at most 200 of) its own images at the end; ``history``, the PSNR on the test images during
        training; ``rate``, ``steps``; and ``seconds`` of processor time.
    """
    generator = torch.Generator().manual_seed(seed)
    which = torch.randperm(IMAGES, generator=generator)[:count]
    pool = photographs("train", IMAGES + HELD_OUT)
    images, shown = pool[which], {"validation": pool[IMAGES:]}
    shown["test"] = photographs("test", TEST_IMAGES)
    work = Problem.direct(images, scanner())
    y = {
        split: work.operator.measure(x, SIGMA, torch.Generator().manual_seed(10_000 + i))
        for i, (split, x) in enumerate(shown.items())
    }
    network = contestant(name, seed)
    if isinstance(network, FullyLearned):
        network.standardise(work.clean())

    def probe(current: nn.Module) -> dict[str, float]:
        return {
            split: psnr(current(y[split], SIGMA), x).mean().item() for split, x in shown.items()
        }

    history, seconds = timed(network, work, probe, rate, steps, seed, RECORDS)
    own = images[:TEST_IMAGES]
    with torch.no_grad():
        again = network(work.operator.measure(own, SIGMA, generator), SIGMA)
    best = max(history.records, key=lambda line: line["validation"])
    return {
        "test": round(best["test"], 3),
        "validation": round(best["validation"], 3),
        "last": round(history.records[-1]["test"], 3),
        "train": round(psnr(again, own).mean().item(), 3),
        "history": [round(value, 3) for value in history.column("test")],
        "rate": rate,
        "steps": steps,
        "seconds": round(seconds, 2),
    }


def settings() -> dict:
    """What the results depend on: results of another one are not mixed with these."""
    return {
        "images": IMAGES,
        "held out": HELD_OUT,
        "test images": TEST_IMAGES,
        "side": SIDE,
        "angles": ANGLES,
        "sigma": SIGMA,
        "misalignment": MISALIGNMENT,
        "steps": STEPS,
        "longer": LONGER,
        "batch": BATCH,
        "rates": RATES,
        "data": {
            "train": datasets.checksum(photographs("train", IMAGES + HELD_OUT)),
            "test": datasets.checksum(photographs("test", TEST_IMAGES)),
        },
        "parameters": {
            name: sum(p.numel() for p in contestant(name).parameters()) for name in CONTESTANTS
        },
    }


def equal_time(trained: Callable[..., dict], name: str, steps: int, clocked: int) -> int:
    """Steps of ``learned`` that take the processor time of so many steps of another network.

    Args:
        trained: as `trained` here.
        name: of the other network.
        steps: of that.
        clocked: so many steps are timed.
    """
    seconds = {}
    for one in (name, "learned"):
        trained(one, 100, 0, 1e-3, 5)  # the first steps are slow
        seconds[one] = trained(one, 100, 0, 1e-3, clocked)["seconds"]
    return round(steps * seconds[name] / seconds["learned"])


def counts(name: str) -> tuple[int, ...]:
    """The numbers of images that a contestant is trained on.

    Example:
        >>> counts("svd"), counts("proximal, wrong angles")
        ((2, 10, 100, 1000, 4000), (10, 4000))
    """
    return ENDS if name == "proximal, wrong angles" else COUNTS


def cells(seeds: tuple[int, ...] = SEEDS) -> list[tuple[int, int, str]]:
    """What is to be trained: seed, number of images, contestant."""
    return [(seed, count, name) for seed in seeds for name in CONTESTANTS for count in counts(name)]


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
    *,
    seeds: tuple[int, ...] = SEEDS,
) -> dict:
    """Trains all contestants on all numbers of images, and writes the results after every one.

    What the file already holds is kept.

    Args:
        out: the file, read first if it exists; None: the published results.
        quick: train only `QUICK`.
        device: "cpu"; processor time is part of what is compared.
        bar: see `record.Bar`.
        seeds: which.

    Returns:
        ``machine``; ``equal time``, a number of steps; ``tried[contestant][count][rate]``, the PSNR
        on the validation images; ``cells[contestant][count][seed]``, each what `trained` returns;
        and ``longer``, the same for `LONGER` times the steps.

    Raises:
        ValueError: a file of other settings, or seeds out of their range.
    """
    seeds = tuple(as_integer(seed, "seed", 0, 2**63 - 1) for seed in seeds)
    file = record.Record(NAME, out, settings())
    if quick:
        return file.work([_cell(file, *which) for which in QUICK], bar)
    work = [_cell(file, *which) for which in cells(seeds)]
    pairs = [(count, name) for count in MANY for name in ("proximal", "learned")]
    long = [seed for seed in seeds if seed in LONG_SEEDS]
    work += [_longer(file, seed, *pair) for seed in long for pair in pairs]
    return file.work(work, bar)


def _cell(file: record.Record, seed: int, count: int, name: str) -> Cell:
    def compute(results: dict) -> dict:
        if name == "learned":  # the number of steps comes from a measured time
            results = file.work([CLOCK])
        steps = results["equal time"] if name == "learned" else STEPS
        base = name.partition(",")[0]  # whose learning rate is taken
        if base == name and seed == 0:
            tries = [trained(name, count, seed, rate, steps) for rate in RATES[name]]
            found = max(tries, key=lambda one: one["validation"])
            tried = {f"{one['rate']:g}": one["validation"] for one in tries}
            part = {"tried": {name: {str(count): tried}}}
        else:
            results = file.work([_cell(file, 0, count, base)])
            rate = results["cells"][base][str(count)]["0"]["rate"]
            found, part = trained(name, count, seed, rate, steps), {}
        cell = {name: {str(count): {str(seed): found}}}
        return part | {"machine": machine("cpu"), "cells": cell}

    def done(results: dict) -> bool:
        return str(seed) in results.get("cells", {}).get(name, {}).get(str(count), {})

    return Cell(f"{name}, {count} images, seed {seed}", done, compute)


def _longer(file: record.Record, seed: int, count: int, name: str) -> Cell:
    def compute(results: dict) -> dict:
        short = file.work([_cell(file, seed, count, name)])["cells"][name][str(count)][str(seed)]
        found = trained(name, count, seed, short["rate"], LONGER * short["steps"])
        return {"longer": {name: {str(count): {str(seed): found}}}}

    def done(results: dict) -> bool:
        return str(seed) in results.get("longer", {}).get(name, {}).get(str(count), {})

    return Cell(f"{name}, {count} images, seed {seed}, {LONGER} times the steps", done, compute)


# Measured once, so that all trainings are given the same time. (No docstring: Sphinx would take
# an instance for a member of the module of its class.)
CLOCK = Cell(
    "equal time",
    lambda results: "equal time" in results,
    lambda results: {"equal time": equal_time(trained, "proximal", STEPS, CLOCKED)},
)
