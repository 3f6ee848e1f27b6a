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

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import datasets
from ..files import write_json
from ..metrics import psnr
from ..networks import FullyLearned, SVDNet, UnrolledProximal
from ..operators import Tomography
from ..training import Problem, Settings, train
from .comparison import machine

RESULTS = Path(__file__).parent.parent / "results" / "learning_curves.json"

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
CLOCKED = 200
"""So many steps are timed to find how many steps of ``learned`` take the time of ``proximal``."""


def results(path: Path = RESULTS) -> dict:
    """The published results; see `measure` for what they hold.

    Raises:
        FileNotFoundError: there is no such file.

    Example:
        >>> set(results()["cells"]) == set(CONTESTANTS)
        True
    """
    return json.loads(path.read_text())


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


def settings(name: str, steps: int, seed: int) -> Settings:
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
    history = train(network, problem, settings(name, steps, seed), probe, progress=False)
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


def setup() -> dict:
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
        "settings": {name: asdict(settings(name, STEPS, 0)) for name in CONTESTANTS},
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


def measure(
    out: Path = RESULTS,
    seeds: tuple[int, ...] = SEEDS,
    bar: Callable[[str], None] = lambda text: None,
) -> dict:
    """Trains all contestants on all shares of the data, and writes the results after every one.

    What the file already holds is kept.

    Args:
        out: the JSON file, read first if it exists.
        seeds: which.
        bar: called with the name of every cell once it is there.

    Returns:
        ``setup``; ``machine``; ``equal time``, a number of steps; and
        ``cells[contestant][count][seed]``, each what `trained` returns.

    Raises:
        ValueError: the file is about another setup.
    """
    here = setup()
    if out.is_file():
        done = results(out)
        if done["setup"] != here:
            raise ValueError(f"{out}: it is about another setup; remove it, or choose another file")
    else:
        done = {"setup": here, "machine": machine("cpu"), "equal time": equal_time(), "cells": {}}
    steps = {
        "learned, equal time": done["equal time"],
        "learned, longer": LONGER * STEPS,
        "proximal, longer": round(LONGER * STEPS * STEPS / done["equal time"]),
    }
    for seed, count, name in cells(seeds):
        found = done["cells"].setdefault(name, {}).setdefault(str(count), {})
        if str(seed) not in found:
            found[str(seed)] = trained(name, count, seed, steps.get(name, STEPS))
            write_json(out, done)
        bar(f"{name}, {count} images, seed {seed}")
    return done


def table(found: dict) -> str:
    """Mean PSNR in dB over the seeds, and the standard deviation, a row a contestant."""
    width = max(map(len, CONTESTANTS))
    lines = [f"{'images':<{width}}" + "".join(f"{count:>15}" for count in counts())]
    for name, by_count in found["cells"].items():
        row = ""
        for count in counts():
            values = [cell["test"] for cell in by_count.get(str(count), {}).values()]
            spread = torch.tensor(values).std().item() if len(values) > 1 else 0.0
            row += f"{fmean(values):9.2f} ±{spread:4.2f}" if values else f"{'-':>15}"
        lines.append(f"{name:<{width}}{row}")
    return "\n".join(lines)
