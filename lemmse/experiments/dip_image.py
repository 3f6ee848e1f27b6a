"""Photographs by the deep image prior, and by estimators that know other photographs.

The noise is strong, and its level is known to all. The network has seen only the measurement.
Every photograph of every task has `DRAWS` networks, each with weights and an input of its own. The
cells are batches of photographs, and `gathered` puts them together again.
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
CHAPTERS = "28"
COST = "35 minutes"
OPTIONS = ()
QUICK = ("noise | draw 0 | 0",)
"""The cells of the quick version."""

SIZE = (32, 32)
SIGMA = 0.1
PHOTOS, BATCH = 64, 16
"""The first test images, and how many of them a cell has."""
SHOWN = 4
"""Of so many photographs of a batch the curves of the first draw are kept."""
DRAWS = 3
TRAINING = 1000
PATCH = 5
STEP = 5e-4
ITERATIONS = 1600
RECORD = 10
TASKS = ("noise", "blur", "half the pixels")
OTHERS = ("wiener", "le_mmse")
"""Estimators that know other photographs."""
LAST = 10
"""Where descent ended is the median of so many looks, for the last step may overshoot."""


def settings() -> dict:
    """What was computed."""
    return {
        "photos": PHOTOS,
        "batch": BATCH,
        "shown": SHOWN,
        "draws": DRAWS,
        "sigma": SIGMA,
        "training": TRAINING,
        "patch": PATCH,
        "step": STEP,
        "iterations": ITERATIONS,
        "record": RECORD,
    }


def cells() -> list[str]:
    """Task, draw of the networks (or "others", which need none), and first photograph."""
    kinds = [f"draw {draw}" for draw in range(DRAWS)] + ["others"]
    starts = range(0, PHOTOS, BATCH)
    return [f"{task} | {kind} | {i}" for kind in kinds for task in TASKS for i in starts]


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


def gathered(task: str, path: Path | None = None) -> dict[str, Tensor]:
    """All photographs of a task.

    Returns:
        PSNR: ``discrepancy``, ``oracle`` and ``end`` of the network, (draws, photos); ``wiener``
        and ``le_mmse``, (photos). ``time discrepancy`` and ``time oracle``: the iteration, (draws,
        photos). ``at``: the iterations of ``mean``, the mean over photographs, (draws, at), and of
        ``curves``, those of some photographs, (some, at).

    Example:
        >>> gathered("blur")["discrepancy"].shape == (DRAWS, PHOTOS)
        True
    """
    found = results(path)
    starts = range(0, PHOTOS, BATCH)
    drawn = [[found[f"{task} | draw {d} | {i}"] for i in starts] for d in range(DRAWS)]
    others = [found[f"{task} | others | {i}"] for i in starts]

    def joined(part: str, name: str) -> Tensor:
        return torch.stack([torch.cat([torch.tensor(b[part][name]) for b in row]) for row in drawn])

    means = [torch.tensor([batch["mean"] for batch in row]).mean(0) for row in drawn]
    return {
        **{name: joined("psnr", name) for name in ("discrepancy", "oracle", "end")},
        **{f"time {name}": joined("times", name) for name in ("discrepancy", "oracle")},
        **{name: torch.cat([torch.tensor(b[name]) for b in others]) for name in OTHERS},
        "at": torch.tensor(drawn[0][0]["at"]),
        "mean": torch.stack(means),
        "curves": torch.cat([torch.tensor(batch["curves"]) for batch in drawn[0]]),
    }


def problem(task: str, first_photo: int) -> tuple[Operator, Tensor, Tensor, float]:
    """A batch: A, the photographs, their measurements, and the expected norm of the noise."""
    photos = load("photos-grey", split="test", n=PHOTOS)
    operator = task_operator(task)
    y = operator.measure(photos, SIGMA, torch.Generator().manual_seed(TASKS.index(task)))
    seen = operator.mask.value if isinstance(operator, Mask) else torch.ones(SIZE)
    y = y * seen.float()  # there is noise at hidden pixels, too, which nobody is to fit
    batch = slice(first_photo, first_photo + BATCH)
    return operator, photos[batch], y[batch], SIGMA * seen.sum().sqrt().item()


def compute(cell: str, device: torch.device | str = "cpu") -> dict:
    """The numbers of a batch.

    Returns:
        Of a draw: ``at``, the iterations of the curves; ``mean``, the mean PSNR over the
        photographs of the batch, (at); ``psnr`` and ``residual``, ``|A x_t - y|`` / ``|eps|``, of
        every rule, ``discrepancy``, ``oracle`` and ``end``, (photos); and ``times``, the
        iteration. Of draw 0 also ``curves``, the PSNR of the first photographs, (shown, at). Of the
        others, aware of A: ``wiener`` and ``le_mmse``, their PSNR, (photos). Where the first
        photograph is, draw 0 and the others have ``images``, what became of it.
    """
    task, kind, start = cell.split(" | ")
    known = problem(task, int(start))
    if kind == "others":
        found = _others(*known[:3])
    else:
        found = _network(*known, int(kind.removeprefix("draw ")), int(start), device)
    later = kind not in ("draw 0", "others")
    if later:
        del found["curves"]
    if later or int(start) > 0:
        del found["images"]
    return found


def _others(operator: Operator, photos: Tensor, y: Tensor) -> dict:
    training = load("photos-grey", n=TRAINING)
    estimates = {
        "wiener": LinearMMSE(training, operator, stationary=True)(y, SIGMA),
        "le_mmse": LEMMSE(training, operator, patch_size=PATCH)(y, SIGMA),
    }
    images = {"truth": photos, "measurement": y} | estimates
    return {
        **{name: rounded(psnr(estimates[name], photos), 4) for name in OTHERS},
        "images": {name: rounded(image[0], 3) for name, image in images.items()},
    }


def _network(
    operator: Operator,
    photos: Tensor,
    y: Tensor,
    noise: float,
    draw: int,
    start: int,
    device: torch.device | str,
) -> dict:
    generator = torch.Generator().manual_seed(draw)
    prior = ConvolutionalPrior.draw((1, *SIZE), generator, runs=PHOTOS)
    runs = torch.arange(start, start + len(photos))
    run = descend(
        prior.select(runs).to(device),
        operator,
        y.to(device),
        STEP,
        ITERATIONS,
        truth=photos.to(device),
        record=range(0, ITERATIONS + 1, RECORD),
        keep_outputs=True,
    )
    quality = decibels(run.error.cpu() / photos[0].numel() ** 0.5)
    residual = run.residual.cpu() / noise
    last = len(residual) - 1
    rows = {
        "discrepancy": first(residual <= 1).clamp_max(last).long(),
        "oracle": quality.argmax(0),
        "end": torch.full((len(photos),), last),
    }
    reached = {name: quality.gather(0, row[None])[0] for name, row in rows.items()}
    reached["end"] = quality[-LAST:].median(0).values
    return {
        "at": run.iterations.tolist(),
        "mean": rounded(quality.mean(1), 4),
        "curves": rounded(quality.T[:SHOWN], 4),
        "psnr": {name: rounded(value, 4) for name, value in reached.items()},
        "residual": {
            name: rounded(residual.gather(0, row[None])[0], 4) for name, row in rows.items()
        },
        "times": {name: run.iterations[row].tolist() for name, row in rows.items()},
        "images": {name: rounded(run.outputs[row[0], 0].cpu(), 3) for name, row in rows.items()},
    }


def decibels(rms: Tensor) -> Tensor:
    """The PSNR of an image whose error has this root mean square."""
    return -20 * torch.log10(rms)
