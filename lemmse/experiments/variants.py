r"""Networks with other fields against their own formula, and against one that is not theirs.

Networks that pad with zeros or by reflection, have a stride, pool, are dilated, or are blind to the
pixel itself and trained without clean images, all denoisers of Fashion-MNIST. Each is compared with
LE-MMSE of its own field, measured by `networks.field_of`, and with the ``plain`` formula: that of
the whole P x P patch with circular boundaries and period 1. Border and interior stand apart.

Three estimators that are no network show what an agreement is worth: ``affine``, the best affine
guess of a pixel from itself; ``linear``, the best affine function of what the field sees;
``other``, LE-MMSE of the same field and as many other images.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import log10
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from .. import datasets
from ..estimators import LEMMSE, Estimator, LinearFilter
from ..networks import MeasuredField
from ..training import Probe
from ..zoo import VariantSpec, matching, names
from . import comparison, record, scale
from .comparison import SPLITS, Loaded, Place, answer, measurement
from .record import Bar, Cell, silent
from .scale import TOGETHER, estimated, picked

NAME = "variants"
TITLE = "networks that pad, stride, pool, dilate or are blind, against their own formulas"
CHAPTERS = "11, 32"
COST = "10 minutes a model"
OPTIONS = ("models", "folder")

SIGMAS = (0.1, 0.2, 0.5)
IMAGES = 64
PIXELS = 32
"""Images of each split, and random pixels of each part of them, border and interior."""
PARTS = ("border", "interior")
KINDS = (
    "network_own",
    "network_plain",
    "plain_own",
    "affine_own",
    "linear_own",
    "other_own",
    "network_truth",
    "own_truth",
)
"""Who is compared with whom."""

QUICK = {
    "models": ("fashion-mnist/denoising/resnet-p7-stride2",),
    "places": (("test", 0.5),),
}


def results(path: Path | None = None) -> dict:
    """The published results; see `run` for what they hold."""
    return record.read(NAME, path)


def own(spec: VariantSpec, images: Tensor) -> LEMMSE:
    """LE-MMSE with the field of a model, of any training images.

    Example:
        >>> own(VariantSpec("photos-grey", "denoising", "zeros"), torch.rand(3, 1, 12, 12)).field
        Field(...padding='zeros')
    """
    return LEMMSE(images, field=spec.field(tuple(images.shape[1:])))


def probe(spec: VariantSpec, device: torch.device | str = "cpu") -> Probe:
    """Measures networks in training, by LE-MMSE of their own field; see `comparison.probe`."""
    return comparison.agreement(spec, own(spec, comparison.training_images(spec, device)), device)


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
    *,
    models: tuple[str, ...] | None = None,
    folder: Path | None = None,
) -> dict:
    """Compares models with both formulas and the baselines, and writes the results by cell.

    Args:
        out: the file, read first if it exists; None: the published results.
        quick: measure only `QUICK`.
        device: where to compute.
        bar: see `record.Bar`.
        models: names, or patterns of names; None: all that are there.
        folder: where the models lie; None: in the package.

    Returns:
        The results: a dictionary from names to ``sha256`` of the weights, ``images``, ``pixels``,
        ``data`` (checksums), ``machine``, ``seed``, ``field`` in words, and
        ``mse[split][sigma][part]`` with lists of one number an image, the mean squared difference
        over its pixels, for each of `KINDS` (``other_own`` only where there are 2 N images).
    """
    record.check_published(out, folder)
    if models is None and quick and folder is None:
        models = QUICK["models"]
    there = names(folder, VariantSpec)
    if not there:
        raise ValueError("there are no variants; train some: python -m lemmse train --help")
    wanted = there if models is None else matching(list(models), there)
    # The places that decide first: an interrupted run has them of all models.
    places = QUICK["places"] if quick else [(split, s) for s in SIGMAS for split in SPLITS]
    loaded = Compared(folder, device)
    pairs = product(problems(wanted), places)
    cells = [_cell(problem, place, wanted, loaded) for problem, place in pairs]
    return record.Record(NAME, out).work(cells, bar)


def problems(models: list[str]) -> list[VariantSpec]:
    """What models of all seeds have in common: their specs with seed 0.

    Example:
        >>> problems(["photos-grey/denoising/patchmlp-p5-blind-s2"])[0].model
        'patchmlp-p5-blind'
    """
    return list(dict.fromkeys(replace(VariantSpec.parse(name), seed=0) for name in models))


class Compared(Loaded):
    """Networks, formulas and baselines; see `comparison.Loaded`.

    Attributes:
        estimators: from a spec, the estimators by the first halves of `KINDS`; those of the last
            spec are kept.
    """

    def __init__(self, folder: Path | None, device: torch.device | str):
        super().__init__(folder, device)
        self.estimators = lru_cache(maxsize=1)(lambda spec: estimators(spec, device))


def estimators(spec: VariantSpec, device: torch.device | str = "cpu") -> dict[str, Estimator]:
    """The two formulas and the baselines of a model, with ``own`` as the first."""
    available = datasets.describe(spec.dataset)["count"]
    every = datasets.load(spec.dataset, "train", min(2 * spec.images, available)).to(device)
    images, others = every[: spec.images], every[spec.images :]
    formula = own(spec, images)
    found = {
        "own": formula,
        "plain": LEMMSE(images, patch_size=spec.patch_size),
        "affine": LinearFilter(images, patch_size=1),
        "linear": LinearFilter(images, field=formula.field),
    }
    if len(others) == len(images):
        found["other"] = LEMMSE(others, field=formula.field)
    return found


def sampled_pixels(place: Place, margin: int, size: tuple[int, int]) -> Tensor:
    """Random pixels of each group of images, those of the border first.

    Args:
        place: split and sigma.
        margin: how many pixels from the edge the border reaches.
        size: (H, W).

    Returns:
        (IMAGES / TOGETHER, 2 PIXELS, 2), rows and columns, the same on every machine.

    Example:
        >>> pixels = sampled_pixels(("test", 0.1), 2, (28, 28))
        >>> pixels.shape, bool((pixels[:, PIXELS:] >= 2).all())
        (torch.Size([8, 64, 2]), True)
    """
    split, sigma = place
    generator = torch.Generator().manual_seed(2 * round(1000 * sigma) + SPLITS.index(split))
    height, width = size
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[margin : height - margin, margin : width - margin] = True
    groups = []
    for _ in range(IMAGES // TOGETHER):
        parts = [
            part[torch.randperm(len(part), generator=generator)[:PIXELS]]
            for part in ((~inside).nonzero(), inside.nonzero())
        ]
        groups.append(torch.cat(parts))
    return torch.stack(groups)


def difference(a: Tensor, b: Tensor) -> dict[str, list[float | None]]:
    """The mean squared difference of values (B, 2 PIXELS, C), by part, one number an image."""
    squared = (a - b).double().square().mean(2)
    parts = zip(PARTS, squared.split(PIXELS, 1), strict=True)
    return {part: record.rounded(values.mean(1), 4) for part, values in parts}


def _cell(problem: VariantSpec, place: Place, wanted: list[str], loaded: Compared) -> Cell:
    split, sigma = place
    models = [name for name in wanted if problems([name]) == [problem]]

    def left(results: dict) -> list[str]:
        return comparison.unmeasured(results, place, models, loaded, IMAGES, "mse")

    def compute(results: dict) -> dict:
        truth, y = (t.to(loaded.device) for t in measurement(problem, split, sigma, IMAGES))
        known = loaded.estimators(problem)
        field = known["own"].field
        pixels = sampled_pixels(place, field.patch_size // 2, tuple(y.shape[2:])).to(y.device)
        values = {who: estimated(one, y, sigma, pixels) for who, one in known.items()}
        goal = values.pop("own")
        shared = {f"{who}_own": difference(value, goal) for who, value in values.items()}
        shared["own_truth"] = difference(goal, picked(truth, pixels))
        part = {}
        for name in left(results):
            output = picked(answer(loaded.network(name), problem, y, sigma), pixels)
            found = {
                **shared,
                "network_own": difference(output, goal),
                "network_plain": difference(output, values["plain"]),
                "network_truth": difference(output, picked(truth, pixels)),
            }
            by_part = {p: {kind: found[kind][p] for kind in KINDS if kind in found} for p in PARTS}
            part[name] = comparison.origin(name, loaded, IMAGES) | {
                "pixels": PIXELS,
                "field": str(MeasuredField(field, True)),
                "mse": {split: {str(sigma): by_part}},
            }
        return part

    label = f"{problem.name} {split} {sigma}"
    return Cell(label, lambda results: not left(results), compute)


def level(values: list[float]) -> float:
    """The PSNR, in dB, of the mean over the images of mean squared differences.

    Example:
        >>> level([0.01, 0.03])
        16.9897...
    """
    return -10 * log10(mean(values))


def paired(right: list[float], wrong: list[float]) -> float:
    """By how many standard errors the right formula is nearer, image by image.

    Example:
        >>> round(paired([1.0, 1.0, 1.0], [2.0, 3.0, 4.0]), 2)
        3.46
    """
    value, error = scale.level([b - a for a, b in zip(right, wrong, strict=True)])
    return value / error
