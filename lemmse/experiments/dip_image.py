"""Photographs by the deep image prior, and by estimators that know other photographs.

The noise is strong, and its level is known to all. The network has seen only the measurement.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..datasets import load
from ..dip.convolutional import ConvolutionalPrior
from ..dip.descent import descend
from ..estimators import LEMMSE, LinearMMSE
from ..metrics import psnr
from ..operators import Blur, Identity, Mask, Operator
from . import record
from .dip_stopping import first
from .record import Bar, rounded, run_cells, silent

NAME = "dip-image"
TITLE = "photographs by the deep image prior, and by estimators that know others"
CHAPTERS = "27"
COST = "3 minutes"
OPTIONS = ()
QUICK = ("noise",)
"""The cells of the quick version."""

SIZE = (32, 32)
SIGMA = 0.1
PHOTOS = (3, 7, 12, 23, 31, 44)
"""Test images; of the first `SHOWN` the reconstructions are kept."""
SHOWN = 1
TRAINING = 1000
PATCH = 5
STEP = 5e-4
ITERATIONS = 1600
RECORD = 10
TASKS = ("noise", "blur", "half the pixels")


def settings() -> dict:
    """What was computed."""
    return {
        "photos": PHOTOS,
        "shown": SHOWN,
        "sigma": SIGMA,
        "training": TRAINING,
        "patch": PATCH,
        "step": STEP,
        "iterations": ITERATIONS,
        "record": RECORD,
    }


def cells() -> list[str]:
    """The task of every cell."""
    return list(TASKS)


def task_operator(task: str) -> Operator:
    """A: nothing, a Gaussian blur of standard deviation 1, or a mask that hides half the pixels."""
    return {
        "noise": Identity(),
        "blur": Blur.gaussian(1.0, SIZE),
        "half the pixels": Mask.random(0.5, SIZE),
    }[task]


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
    """The numbers of a task.

    Returns:
        ``at``: the iterations of the curves; ``psnr``, (photos, at), and ``residual``, (photos,
        at): ``|A x_t - y|`` / ``|eps|`` of the deep image prior; ``wiener`` and ``le_mmse``, aware
        of A: their PSNR, (photos); for every rule, ``discrepancy``, ``oracle`` and ``end``, the
        iteration, (photos); and ``images``: of the first photos, the truth, the measurement and all
        estimates.
    """
    photos = load("photos-grey", split="test", n=max(PHOTOS) + 1)[list(PHOTOS)]
    operator = task_operator(cell)
    y = operator.measure(photos, SIGMA, torch.Generator().manual_seed(TASKS.index(cell)))
    seen = operator.mask.value if isinstance(operator, Mask) else torch.ones(SIZE)
    y = y * seen.float()  # there is noise at hidden pixels, too, which nobody is to fit
    others = load("photos-grey", n=TRAINING)
    images = {
        "truth": photos,
        "measurement": y,
        "wiener": LinearMMSE(others, operator, stationary=True)(y, SIGMA),
        "le_mmse": LEMMSE(others, operator, patch_size=PATCH)(y, SIGMA),
    }
    prior = ConvolutionalPrior.draw((1, *SIZE), torch.Generator().manual_seed(0), runs=len(PHOTOS))
    run = descend(
        prior.to(device),
        operator,
        y.to(device),
        STEP,
        ITERATIONS,
        truth=photos.to(device),
        record=range(0, ITERATIONS + 1, RECORD),
        keep_outputs=True,
    )
    quality = decibels(run.error.cpu() / photos[0].numel() ** 0.5)
    residual = run.residual.cpu() / (SIGMA * seen.sum().sqrt().item())
    rules = {
        "discrepancy": first(residual <= 1).clamp_max(len(residual) - 1).long(),
        "oracle": quality.argmax(0),
        "end": torch.full((len(PHOTOS),), len(residual) - 1),
    }
    outputs = run.outputs.cpu()
    for name, row in rules.items():
        images[name] = outputs[row, torch.arange(len(PHOTOS))]
    return {
        "at": run.iterations.tolist(),
        "psnr": rounded(quality.T, 4),
        "residual": rounded(residual.T, 4),
        "wiener": rounded(psnr(images["wiener"], photos), 4),
        "le_mmse": rounded(psnr(images["le_mmse"], photos), 4),
        "rules": {name: run.iterations[row].tolist() for name, row in rules.items()},
        "images": {name: rounded(image[:SHOWN], 3) for name, image in images.items()},
    }


def decibels(rms: Tensor) -> Tensor:
    """The PSNR of an image whose error has this root mean square."""
    return -20 * torch.log10(rms)
