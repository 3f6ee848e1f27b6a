"""Trained long enough? Networks of two widths, trained for ever longer, against LE-MMSE.

For each of six problems a PatchMLP of the width that the zoo uses for small training sets is
trained for 2,000 steps, 4 times and 16 times as many, and a wide one for 2,000 and 8,000. Every
rung is a training of its own, so that its learning rate falls to zero, and is measured as in the
experiment ``scale``. Where the curves still rise, the verdict has to wait.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import torch

from ..training import Settings, train
from ..zoo import SIZES, WIDE, Spec
from . import comparison, record, scale
from .comparison import SPLITS, Place
from .record import Bar, run_cells, silent

NAME = "ladder"
TITLE = "agreement with LE-MMSE against the length of the training, at two widths"
CHAPTERS = "13"
COST = "5 hours"
OPTIONS = ()

PROBLEMS = {
    # Two that fail at N = 1,000 after the zoo's training, two that pass, two with larger patches.
    "inpainting": Spec("fashion-mnist", "inpainting"),
    "denoising P = 7": Spec("fashion-mnist", "denoising", patch_size=7),
    "denoising": Spec("fashion-mnist", "denoising"),
    "blur aware": Spec("fashion-mnist", "blur", "aware"),
    "denoising P = 7, N = 10,000": Spec("fashion-mnist", "denoising", patch_size=7, images=10_000),
    "denoising P = 11, N = 10,000": Spec(
        "fashion-mnist", "denoising", patch_size=11, images=10_000
    ),
}
WIDTHS = {"narrow": (SIZES, (2_000, 8_000, 32_000)), "wide": (WIDE, (2_000, 8_000))}
"""Sizes of the networks, and for how many steps those are trained."""

SIGMAS = (0.1, 0.2, 0.5, 1.0)
TRAINING = Settings(batch=128, crop=4, learning_rate=2e-3, precision="bfloat16", records=20)

QUICK = ("denoising | narrow | 2000",)


def cells() -> list[str]:
    """Problem, width and steps of every cell: problem by problem, the longest trainings last."""
    rungs = [
        (name, width, steps)
        for name in PROBLEMS
        for width, (_, lengths) in WIDTHS.items()
        for steps in lengths
    ]
    longest = max(steps for _, _, steps in rungs)
    in_order = sorted(rungs, key=lambda rung: rung[2] == longest)
    return [f"{name} | {width} | {steps}" for name, width, steps in in_order]


def settings() -> dict:
    """What is computed."""
    return {
        "problems": {name: spec.name for name, spec in PROBLEMS.items()},
        "widths": {name: sizes["patchmlp"] for name, (sizes, _) in WIDTHS.items()},
        "sigmas": SIGMAS,
        "batch": TRAINING.batch,
        "crop": TRAINING.crop,
        "learning_rate": TRAINING.learning_rate,
        "images": scale.IMAGES,
        "pixels": scale.PIXELS,
    }


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

    An interrupted training goes on from its checkpoint, beside the file.

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
    # Measured once for all networks of a problem: LE-MMSE takes longer than a short training.
    samples = lru_cache(maxsize=1)(lambda name: samples_of(PROBLEMS[name], device))

    def rung(cell: str, device: torch.device | str) -> dict:
        name, width, steps = cell.split(" | ")
        checkpoint = file.path.with_name(f"{NAME}-{width}-{steps}-{list(PROBLEMS).index(name)}.pt")
        found = compute(name, width, int(steps), samples(name), checkpoint, device)
        checkpoint.unlink()
        return found

    return run_cells(file, QUICK if quick else cells(), rung, device, bar)


def samples_of(spec: Spec, device: torch.device | str = "cpu") -> dict[Place, scale.Sample]:
    """The images, pixels and estimates at which the networks of a problem are measured."""
    formula = comparison.formula(spec, device)
    return {
        (split, sigma): scale.Sample(spec, formula, split, sigma, device)
        for split, sigma in product(SPLITS, SIGMAS)
    }


def compute(
    name: str,
    width: str,
    steps: int,
    samples: dict[Place, scale.Sample],
    checkpoint: Path,
    device: torch.device | str = "cpu",
) -> dict:
    """Trains one network and measures it.

    Args:
        name, width: keys of `PROBLEMS` and `WIDTHS`.
        steps: how long to train.
        samples: what to measure, see `samples_of`.
        checkpoint: the file from which the training goes on if it exists.
        device: where to compute.

    Returns:
        ``loss``, the training loss at each record; and ``psnr[split][sigma]``, one number an
        image, for ``network_formula``, ``network_truth`` and ``formula_truth``.
    """
    spec = PROBLEMS[name]
    problem = comparison.problem(spec, device)
    # The same random weights for every length.
    size = WIDTHS[width][0]["patchmlp"]
    network = spec.seeded(problem, TRAINING.seed, size=size).to(device)
    length = replace(TRAINING, steps=steps)
    history = train(network, problem, length, None, checkpoint, resume=True, progress=False)
    network.eval()
    found = {split: {} for split in SPLITS}
    for (split, sigma), sample in samples.items():
        found[split][str(sigma)] = sample.of_network(network) | sample.of_formula()
    return {"loss": [round(value, 4) for value in history.column("loss")], "psnr": found}
