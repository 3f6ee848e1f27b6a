"""How far networks are from the formula, against how rare a patch is.

A model is measured on test images of any data set `on`, also one that it was not trained on. Images
of another size are fitted to the size of its training images: see `fitted`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .. import datasets
from ..zoo import Spec
from . import record
from .comparison import (
    SEED,
    Loaded,
    answer,
    check_images,
    chosen,
    measured,
    of_these,
    psnrs,
    rounded,
    shared_cells,
)
from .record import Bar, Cell, machine, silent

NAME = "density"
TITLE = "networks against LE-MMSE on images of another data set, by log-density of the patches"
CHAPTERS = "15"
COST = "5 minutes"
OPTIONS = ("models", "folder", "images", "on", "sigmas")

MODELS = ("fashion-mnist/denoising/*-p5", "photos-grey/denoising/*-p5")
ON = ("fashion-mnist", "photos-grey")
SIGMAS = (0.1, 0.5)
IMAGES = 8
"""The models, data sets, noise levels and number of images of the published results."""

QUICK = {"models": MODELS[1:], "on": ON[1:], "sigmas": SIGMAS[1:]}
"""What the quick version measures; its numbers are some of those of the whole."""

BINS = 20

SIDES = {"fashion-mnist": 28, "photos-grey": 32, "photos": 32, "cifar10": 32}
"""Height and width of the images, so that a data set need not be there to be fitted to."""

PSNRS = ("network_formula", "network_truth", "formula_truth")


def results(path: Path | None = None) -> dict:
    """The published results; see `run` for what they hold.

    Example:
        >>> "photos-grey" in results()["fashion-mnist/denoising/unet-p5"]
        True
    """
    return record.read(NAME, path)


def image_size(dataset: str) -> tuple[int, int]:
    """Height and width of the images of a data set.

    Example:
        >>> image_size("fashion-mnist")
        (28, 28)
    """
    if dataset in SIDES:
        return SIDES[dataset], SIDES[dataset]
    height, width = datasets.load(dataset, "train", 1).shape[2:]
    return height, width


def fitted(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images of another size: the centre is cut out, or zeros (black) are put around.

    Args:
        images: (N, C, H, W).
        size: the height and the width wanted, each of which may be larger or smaller.

    Returns:
        (N, C) and that size. Where the number of rows or columns to cut or to add is odd, one more
        is cut or added at the end.

    Example:
        >>> fitted(torch.ones(1, 1, 4, 2), (2, 4))[0, 0]
        tensor([[0., 1., 1., 0.],
                [0., 1., 1., 0.]])
    """
    margins = []
    for wanted, there in zip(reversed(size), reversed(images.shape[2:]), strict=True):
        before = (abs(wanted - there) // 2) * (1 if wanted > there else -1)
        margins += [before, wanted - there - before]
    return torch.nn.functional.pad(images, margins)


def measurement(spec: Spec, on: str, sigma: float, count: int = IMAGES) -> tuple[Tensor, Tensor]:
    """The first test images of `on` in the size that a model knows, and what is measured of them.

    If `on` is the data set of the model, both are those of `comparison.measurement`.

    Returns:
        The truth x and the measurement y, (count, C, H, W) each.

    Raises:
        ValueError: the images have not as many channels as those of the model.

    Example:
        >>> spec = Spec("fashion-mnist", "denoising")
        >>> x, y = measurement(spec, "photos-grey", 0.1, 2)
        >>> x.shape, round((y - x).std().item(), 1)
        (torch.Size([2, 1, 28, 28]), 0.1)
    """
    truth = fitted(datasets.load(on, "test", count), image_size(spec.dataset))
    return truth, measured(spec, truth, "test", sigma)


def profile(log_density: Tensor, squared: Tensor, bins: int = BINS) -> dict[str, list]:
    """Pixels sorted by log-density and cut into bins of equal size.

    Args:
        log_density, squared: two tensors of one shape, a number a pixel.
        bins: how many; their sizes differ by one at most.

    Returns:
        Lists with one number a bin, the rarest first: ``log_density`` and ``squared_difference``,
        means over the bin, and ``count``.

    Raises:
        ValueError: shapes that differ, or fewer pixels than bins.

    Example:
        >>> profile(torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([1.0, 4.0, 2.0, 6.0]), 2)
        {'log_density': [0.5, 2.5], 'squared_difference': [5.0, 1.5], 'count': [2, 2]}
    """
    if log_density.shape != squared.shape or log_density.numel() < bins:
        raise ValueError(
            f"expected two tensors of one shape with at least {bins} numbers, "
            f"got {tuple(log_density.shape)} and {tuple(squared.shape)}"
        )
    order = log_density.flatten().argsort()
    groups = order.tensor_split(bins)

    def means(t: Tensor, digits: int) -> list[float]:
        flat = t.flatten().double()
        return [float(f"{flat[group].mean().item():.{digits}g}") for group in groups]

    return {
        "log_density": means(log_density, 6),
        "squared_difference": means(squared, 4),
        "count": [len(group) for group in groups],
    }


def rank_correlation(x: Tensor, y: Tensor) -> float:
    """Spearman's rank correlation; of equal numbers the one that comes first counts as smaller.

    Example:
        >>> round(rank_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([9.0, 4.0, 1.0])))
        -1
    """
    ranks = [t.flatten().argsort(stable=True).argsort().double() for t in (x, y)]
    return torch.corrcoef(torch.stack(ranks))[0, 1].item()


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
    *,
    models: tuple[str, ...] | None = None,
    folder: Path | None = None,
    images: int = IMAGES,
    on: tuple[str, ...] | None = None,
    sigmas: tuple[float, ...] | None = None,
) -> dict:
    """Measures models on the test images of data sets and writes the results after every cell.

    Cells that the file already has for the same weights and number of images are kept.

    Args:
        out: the file, read first if it exists; None: the published results.
        quick: measure only `QUICK`.
        device: where to compute.
        bar: see `record.Bar`.
        models: names, or patterns of names; None: the published ones.
        folder: where the models lie; None: in the package.
        images: how many.
        on: the data sets; None: the published ones.
        sigmas: noise levels; None: the published ones.

    Returns:
        The results: ``results[name][on]`` holds ``sha256`` of the weights, ``images``, ``size`` of
        the fitted images, ``data`` (checksums), ``machine``, ``seed``, and, for every noise level,
        ``cells[sigma]``: lists of one number an image, ``network_formula``, ``network_truth``,
        ``formula_truth`` (PSNR in dB) and ``log_density`` (mean over its pixels); over all pixels,
        ``profile`` of the squared difference of network and formula, and ``rank_correlation`` of
        the log-density with that squared difference.

    Raises:
        ValueError: the images have not as many channels as those of a model.
    """
    check_images(images)
    usual = QUICK if quick else {"models": MODELS, "on": ON, "sigmas": SIGMAS}
    sigmas = sigmas or usual["sigmas"]
    if not all(0 < sigma <= 1 for sigma in sigmas):
        raise ValueError(f"sigma: expected numbers in (0, 1], got {sigmas}")
    models = chosen(models or usual["models"], folder)
    record.check_published(out, folder)
    file, loaded = record.Record(NAME, out), Loaded(folder, device)
    places = tuple((data, sigma) for data in on or usual["on"] for sigma in sigmas)
    for name in models:
        for data in on or usual["on"]:
            _check_channels(name, data, loaded)
    return file.work(
        [
            _cell(spec, place, several, loaded, images)
            for spec, place, several in shared_cells(models, places)
        ],
        bar,
    )


def _cell(
    spec: Spec, place: tuple[str, float], models: list[str], loaded: Loaded, images: int
) -> Cell:
    on, sigma = place

    def left(results: dict) -> list[str]:
        entries = {name: results.get(name, {}).get(on, {}) for name in models}
        return [
            name
            for name, entry in entries.items()
            if not of_these(entry, loaded, name, images) or str(sigma) not in entry["cells"]
        ]

    def compute(results: dict) -> dict:
        truth, y = (t.to(loaded.device) for t in measurement(spec, on, sigma, images))
        posterior = loaded.formula(spec.problem).posterior(y, sigma)
        part = {}
        for name in left(results):
            output = answer(loaded.network(name), spec, y, sigma)
            squared = (output - posterior.mean).square().sum(1)
            cell = {
                **psnrs(output, posterior.mean, truth),
                "log_density": rounded(posterior.log_density.mean((1, 2))),
                "profile": profile(posterior.log_density, squared),
                "rank_correlation": round(rank_correlation(posterior.log_density, squared), 4),
            }
            origin = _origin(name, on, loaded, images)
            part[name] = {on: origin | {"cells": {str(sigma): cell}}}
        return part

    problem = " ".join(map(str, spec.problem))
    return Cell(f"{problem} on {on} {sigma}", lambda results: not left(results), compute)


def _origin(name: str, on: str, loaded: Loaded, images: int) -> dict:
    """What the results say of a model on a data set beside the numbers."""
    description = loaded.card(name)
    size = image_size(Spec.parse(name).dataset)
    return {
        "sha256": description["sha256"],
        "images": images,
        "size": list(size),
        "data": {
            "trained on": description["data"]["checksum"],
            "measured": datasets.checksum(fitted(datasets.load(on, "test", images), size)),
        },
        "machine": machine(loaded.device),
        "seed": SEED,
    }


def _check_channels(name: str, on: str, loaded: Loaded) -> None:
    expected = loaded.card(name)["architecture"]["arguments"]["channels"]
    channels = datasets.load(on, "test", 1).shape[1]
    if channels != expected:
        raise ValueError(
            f"{name}: expected images of {expected} channels, those of {on} have {channels}"
        )
