"""Density decides: how far networks are from the formula, against how rare a patch is.

A model is measured on test images of any data set `on`, also one that it was not trained on. Images
of another size are fitted to the size of its training images: see `fitted`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from .. import datasets
from ..files import write_json
from ..zoo import Spec, card, load
from .comparison import (
    SEED,
    answer,
    cells,
    formula,
    machine,
    measured,
    psnrs,
    rounded,
)

SIGMAS = (0.1, 0.5)
IMAGES = 8
BINS = 20
# The published results.
RESULTS = Path(__file__).parent.parent / "results" / "density.json"

SIDES = {"fashion-mnist": 28, "photos-grey": 32, "photos": 32, "cifar10": 32}
"""Height and width of the images, so that a data set need not be there to be fitted to."""

PSNRS = ("network_formula", "network_truth", "formula_truth")


def results(path: Path = RESULTS) -> dict:
    """The published results; see `measure` for what they hold.

    Raises:
        FileNotFoundError: there is no such file.

    Example:
        >>> "photos-grey" in results()["fashion-mnist/denoising/unet-p5"]
        True
    """
    return json.loads(path.read_text())


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


def measure(
    names: list[str],
    on: str,
    sigmas: tuple[float, ...] = SIGMAS,
    out: Path = RESULTS,
    folder: Path | None = None,
    count: int = IMAGES,
    device: torch.device | str = "cpu",
    bar: Callable[[str], None] = lambda text: None,
) -> dict:
    """Measures models on the test images of a data set and writes the results after every cell.

    Cells that the file already has for the same weights and number of images are kept.

    Args:
        names: of the models.
        on: the data set.
        sigmas: noise levels.
        out: the JSON file, read first if it exists.
        folder: where the models lie; None: in the package.
        count: images.
        device: where to compute.
        bar: called with a text after every cell.

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
    for name in names:
        _check_channels(name, on, folder)
    done = results(out) if out.is_file() else {}
    for name in names:
        known = done.setdefault(name, {})
        known[on] = _entry(name, on, known.get(on), folder, count, device)
    networks = lru_cache(maxsize=None)(lambda name: load(name, folder).to(device))
    estimators = lru_cache(maxsize=1)(lambda shared: formula(Spec(*shared), device))
    places = [(on, sigma) for sigma in sigmas]
    for spec, (_, sigma), models in cells(
        names, places, lambda name, place: str(place[1]) in done[name][on]["cells"]
    ):
        truth, y = (t.to(device) for t in measurement(spec, on, sigma, count))
        posterior = estimators(spec.problem).posterior(y, sigma)
        for name in models:
            output = answer(networks(name), spec, y, sigma)
            squared = (output - posterior.mean).square().sum(1)
            done[name][on]["cells"][str(sigma)] = {
                **psnrs(output, posterior.mean, truth),
                "log_density": rounded(posterior.log_density.mean((1, 2))),
                "profile": profile(posterior.log_density, squared),
                "rank_correlation": round(rank_correlation(posterior.log_density, squared), 4),
            }
        write_json(out, done, sort_keys=True)
        bar(f"{spec.dataset} {spec.task} {spec.physics} on {on} {sigma}")
    return done


def table(results: dict, on: str, sigma: float) -> str:
    """The means over the images at one noise level as text, a row a model."""
    columns = (*PSNRS, "log_density")
    width = max(map(len, results), default=5)
    heads = ("net, LE-MMSE", "net, truth", "LE-MMSE, truth", "log-density")
    lines = [f"{'model':<{width}}" + "".join(f"{head:>16}" for head in heads)]
    for name, entry in results.items():
        cell = entry[on]["cells"][str(sigma)]
        means = [sum(cell[column]) / len(cell[column]) for column in columns]
        lines.append(f"{name:<{width}}" + "".join(f"{mean:16.1f}" for mean in means))
    return "\n".join(lines)


def _entry(name: str, on: str, known: dict | None, folder, count: int, device) -> dict:
    """What the file says of a model on a data set, if it is about the same weights and images."""
    description = card(name, folder)
    if known and known["sha256"] == description["sha256"] and known["images"] == count:
        return known
    size = image_size(Spec.parse(name).dataset)
    images = fitted(datasets.load(on, "test", count), size)
    return {
        "sha256": description["sha256"],
        "images": count,
        "size": list(size),
        "data": {
            "trained on": description["data"]["checksum"],
            "measured": datasets.checksum(images),
        },
        "machine": machine(device),
        "seed": SEED,
        "cells": {},
    }


def _check_channels(name: str, on: str, folder) -> None:
    expected = card(name, folder)["architecture"]["arguments"]["channels"]
    channels = datasets.load(on, "test", 1).shape[1]
    if channels != expected:
        raise ValueError(
            f"{name}: expected images of {expected} channels, those of {on} have {channels}"
        )
