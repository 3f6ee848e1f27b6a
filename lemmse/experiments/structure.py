r"""How much of a network should physics fix? Deconvolution with less and less of it trained.

The regularised inverse :math:`V \Lambda V^T H^T g` of the blur :math:`H = U S V^T` is a chain of
layers. `STRUCTURES` fix more and more of it:

- ``nothing``: :math:`W g` with a free matrix W, which knows no operator;
- ``adjoint``: :math:`M H^T g` with a free M;
- ``adjoint and basis``: :math:`V M V^T H^T g` with a free M. These are the same estimators as those
  of ``adjoint``; what differs is the coordinates in which the optimiser moves;
- ``all but the diagonal``: the same with a diagonal M;
- ``diagonal and a free layer``: after it :math:`f + \text{conv}(\text{silu}(\text{conv}(f)))`, two
  convolutions of 3 x 3 pixels with `WIDTH` channels between them.

Matrices start at zero, so that for the first four training is a convex problem. Photographs of
12 x 12 pixels, see `data_efficiency`. The learning rate, one of three for each structure and number
of images, and the moment at which training stops are chosen on photographs held out.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from .. import datasets
from ..operators import Blur, materialise
from . import data_efficiency, record
from .record import Bar, rounded, run_cells, silent

NAME = "structure"
TITLE = "deconvolution with more and more of the network fixed by physics"
CHAPTERS = "21"
COST = "10 minutes"
OPTIONS = ()
QUICK = ("all but the diagonal | 10",)
"""The cells of the quick version."""

SIDE = data_efficiency.SIDE
SIGMA = 0.05
BLUR = 1.0
"""Standard deviation of the blur, in pixels."""
IMAGES, HELD_OUT, TEST_IMAGES = 4000, 200, 200
COUNTS = (2, 10, 100, 1000, 4000)
SEEDS = 5
"""A seed draws the subset of the training images, the batches, the noise and the free layer."""
STEPS, RECORD, BATCH = 2000, 100, 16
"""Of a training, between two looks at the photographs held out, images in a batch."""
WIDTH = 16

STRUCTURES = {
    "nothing": (1e-3, 3e-3, 1e-2),
    "adjoint": (3e-3, 1e-2, 3e-2),
    "adjoint and basis": (1e-2, 3e-2, 1e-1),
    "all but the diagonal": (3e-2, 1e-1, 3e-1),
    "diagonal and a free layer": (1e-2, 3e-2, 1e-1),
}
"""The learning rates that each may try."""


def settings() -> dict:
    """What was computed."""
    return {
        "side": SIDE,
        "sigma": SIGMA,
        "blur": BLUR,
        "counts": COUNTS,
        "seeds": SEEDS,
        "steps": STEPS,
        "batch": BATCH,
        "width": WIDTH,
        "rates": STRUCTURES,
        "data": {
            "train": datasets.checksum(photographs("train")),
            "test": datasets.checksum(photographs("test")),
        },
    }


def cells() -> list[str]:
    """Structure and number of images of every cell."""
    whole = [f"{name} | {count}" for name in list(STRUCTURES)[:-1] for count in COUNTS]
    return [*whole, *(f"{list(STRUCTURES)[-1]} | {count}" for count in COUNTS[1::3])]


def results(path: Path | None = None) -> dict:
    """The published results: by the name of a cell what `compute` returns, and ``machine``.

    Example:
        >>> set(results()) == set(cells())
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


def photographs(split: str) -> Tensor:
    """The images of a split; those that choose rates and moments are the last of "train"."""
    count = IMAGES + HELD_OUT if split == "train" else TEST_IMAGES
    return data_efficiency.photographs(split, count)


@lru_cache
def matrix() -> Tensor:
    """H as a matrix, acting on rows of pixels from the right as ``x @ H.T``.

    Example:
        >>> H = matrix()
        >>> torch.allclose(H, H.T, atol=1e-6)
        True
    """
    return materialise(Blur.gaussian(BLUR, (SIDE, SIDE)).A, (1, SIDE, SIDE)).float()


@lru_cache
def basis() -> Tensor:
    """V, the eigenvectors of :math:`H^T H` in its columns."""
    H = matrix().double()
    return torch.linalg.eigh(H.T @ H).eigenvectors.float()


def start(name: str, seeds: int) -> list[Tensor]:
    """The trained numbers of so many seeds before training.

    Example:
        >>> [sum(p[0].numel() for p in start(name, 1)) for name in STRUCTURES]
        [20736, 20736, 20736, 144, 449]
    """
    pixels = SIDE**2
    if not name.startswith(("all but", "diagonal")):
        return [torch.zeros(seeds, pixels, pixels)]
    diagonal = [torch.zeros(seeds, 1, pixels)]
    if name == "all but the diagonal":
        return diagonal
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(seeds, WIDTH, 1, 3, 3, generator=generator) / 3
    shapes = (seeds, WIDTH), (seeds, 1, WIDTH, 3, 3), (seeds, 1)
    # The last convolution starts at zero, so that the whole starts as the diagonal alone.
    return [*diagonal, kernel, *(torch.zeros(shape) for shape in shapes)]


def estimate(name: str, parameters: list[Tensor], g: Tensor) -> Tensor:
    """The images that a structure makes of measurements.

    Args:
        name: of `STRUCTURES`.
        parameters: see `start`; R seeds.
        g: (R, B, pixels).

    Returns:
        (R, B, pixels).
    """
    H, V = matrix().to(g), basis().to(g)
    first = parameters[0]
    if name == "nothing":
        return g @ first.mT
    if name == "adjoint":
        return (g @ H) @ first.mT
    inside = (g @ H) @ V
    if name == "adjoint and basis":
        return (inside @ first.mT) @ V.T
    f = (inside * first) @ V.T
    return f if name == "all but the diagonal" else f + _correction(f, *parameters[1:])


def _correction(f: Tensor, kernel: Tensor, bias: Tensor, last: Tensor, offset: Tensor) -> Tensor:
    """Two convolutions with circular borders; the seeds are groups of channels."""
    seeds, batch = f.shape[:2]
    x = f.reshape(seeds, batch, SIDE, SIDE).transpose(0, 1)
    for weight, shift in ((kernel, bias), (last, offset)):
        x = functional.silu(x) if weight is last else x
        padded = functional.pad(x, (1, 1, 1, 1), mode="circular")
        x = functional.conv2d(padded, weight.flatten(0, 1), shift.flatten(), groups=seeds)
    return x.transpose(0, 1).reshape(seeds, batch, -1)


def compute(cell: str, device: torch.device | str = "cpu") -> dict:
    """The numbers of a cell.

    Returns:
        ``rate``, the chosen one; ``tried``, the PSNR in dB on the photographs held out, mean over
        seeds, by rate; ``test``, the PSNR on the test photographs of every seed at the moment at
        which that on those held out is best; ``last``, that at the end; and ``steps``, those
        moments.
    """
    name, count = cell.split(" | ")
    tries = {rate: trained(name, int(count), rate, device) for rate in STRUCTURES[name]}
    means = {rate: found["validation"].mean().item() for rate, found in tries.items()}
    rate = max(means, key=lambda rate: means[rate])
    chosen = tries[rate]
    return {
        "rate": rate,
        "tried": {f"{rate:g}": round(mean, 3) for rate, mean in means.items()},
        "test": rounded(chosen["test"]),
        "last": rounded(chosen["last"]),
        "steps": [int(step) for step in chosen["steps"]],
    }


def trained(
    name: str, count: int, rate: float, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Trains a structure with Adam, its rate falling like a cosine to zero, all seeds at once.

    Args:
        name: of `STRUCTURES`.
        count: of training images.
        rate: of Adam in the first step.
        device: where to compute.

    Returns:
        See `compute`; ``validation`` is the best PSNR on the photographs held out.
    """
    pool = photographs("train").flatten(1).to(device)
    H = matrix().to(device)
    generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    subsets = [pool[torch.randperm(IMAGES, generator=g)[:count].to(device)] for g in generators]
    shown = {"validation": pool[IMAGES:], "test": photographs("test").flatten(1).to(device)}
    measured = {
        split: x @ H.T + SIGMA * _noise(x, torch.Generator().manual_seed(10_000 + i))
        for i, (split, x) in enumerate(shown.items())
    }
    parameters = [p.to(device).requires_grad_() for p in start(name, SEEDS)]
    adam = torch.optim.Adam(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    seen: dict[str, list[Tensor]] = {split: [] for split in shown}
    for step in range(1, STEPS + 1):
        which = [torch.randint(count, (BATCH,), generator=g).to(device) for g in generators]
        x = torch.stack([own[i] for own, i in zip(subsets, which, strict=True)])
        g = x @ H.T + SIGMA * torch.stack([_noise(x[0], g) for g in generators])
        # The seeds share nothing, so that the sum of their losses trains each alone.
        loss = (estimate(name, parameters, g) - x).square().mean((1, 2)).log().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % RECORD == 0:
            with torch.no_grad():
                for split, x in shown.items():
                    f = estimate(name, parameters, measured[split].expand(SEEDS, -1, -1))
                    seen[split].append(-10 * (f - x).square().mean((1, 2)).log10().cpu())
    validation, test = (torch.stack(seen[split]) for split in ("validation", "test"))
    best, at = validation.max(0)
    return {
        "validation": best,
        "test": test.gather(0, at[None])[0],
        "last": test[-1],
        "steps": (at + 1) * RECORD,
    }


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator).to(x)
