"""Networks against the formula: PSNR(network, LE-MMSE), over tasks and noise levels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import datasets
from ..estimators import LEMMSE
from ..metrics import psnr
from ..training import Probe, Problem
from ..zoo import (
    MANY,
    REGULARISATION,
    STUDIED,
    ModelSpec,
    Spec,
    annotate,
    card,
    load,
    matching,
    names,
    parse,
)
from . import record
from .record import Bar, Cell, machine, silent

NAME = "comparison"
TITLE = "PSNR(network, LE-MMSE) of all local networks, on training and on test images"
CHAPTERS = "13, 14, 16, 19"
COST = "2 hours"
OPTIONS = ("models", "folder", "images")

SIGMAS = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
SPLITS = ("train", "test")
IMAGES = 16
"""The noise levels, splits and number of images of the published comparison."""

QUICK = {"models": ("photos-grey/denoising/*-p5",), "places": (("test", 0.5), ("test", 1.0))}
"""What the quick version measures; its numbers are some of those of the whole."""

PROBED = (0.1, 0.2, 0.5, 1.0)
"""The noise levels measured during training, each on the first two test images."""

Place = tuple[str, float]  # where a number belongs: a split or a data set, and sigma

SEED = 0


def results(path: Path | None = None) -> dict:
    """The published results; see `run` for what they hold.

    Example:
        >>> min(entry["images"] for entry in results().values()) > 0
        True
    """
    return record.read(NAME, path)


def problem(spec: ModelSpec, device: torch.device | str = "cpu") -> Problem:
    """What a model has to solve, with its training images.

    Example:
        >>> problem(Spec("photos-grey", "denoising", images=10)).images.shape
        torch.Size([10, 1, 32, 32])
    """
    return spec.pose(training_images(spec, device))


def training_images(spec: ModelSpec, device: torch.device | str = "cpu") -> Tensor:
    """The images that a model is trained on."""
    return datasets.load(spec.dataset, "train", spec.images).to(device)


def formula(spec: Spec, device: torch.device | str = "cpu") -> LEMMSE:
    """The LE-MMSE estimator for the training images, the physics and the patch of a model."""
    return estimator(spec, training_images(spec, device))


def estimator(spec: Spec, images: Tensor) -> LEMMSE:
    """LE-MMSE for the physics and the patch of a model, of any training images.

    Example:
        >>> estimator(Spec("photos-grey", "blur", "aware"), torch.rand(3, 1, 8, 8)).patch_size
        5
    """
    return LEMMSE(
        images,
        spec.operator(tuple(images.shape[2:])),
        preinverse=spec.preinverse,
        patch_size=spec.patch_size,
        regularisation=REGULARISATION,
    )


def measurement(
    spec: ModelSpec, split: str, sigma: float, count: int = IMAGES
) -> tuple[Tensor, Tensor]:
    """The first images of a split, and what is measured of them.

    The noise is the same for all models of a data set and a task, on every machine.

    Returns:
        The truth x and the measurement y, (count, C, H, W) each.

    Example:
        >>> x, y = measurement(Spec("photos-grey", "denoising"), "test", 0.1, 2)
        >>> round((y - x).std().item(), 1)
        0.1
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
    truth = datasets.load(spec.dataset, split, count)
    return truth, measured(spec, truth, split, sigma)


def measured(spec: ModelSpec, truth: Tensor, split: str, sigma: float) -> Tensor:
    """What is measured of images, with the published noise of a split and a noise level."""
    seed = SEED + 2 * round(1000 * sigma) + SPLITS.index(split)
    operator = spec.operator(tuple(truth.shape[2:]))
    return operator.measure(truth, sigma, torch.Generator().manual_seed(seed))


def seen(spec: Spec, y: Tensor) -> Tensor:
    """What a network is shown of a measurement: z = B y."""
    operator = spec.operator(tuple(y.shape[2:]))
    return operator.preinverse(spec.preinverse, tuple(y.shape[1:]), REGULARISATION).apply(y)


def answer(network: nn.Module, spec: Spec, y: Tensor, sigma: float) -> Tensor:
    """What a network makes of a measurement: network(B y, sigma)."""
    with torch.no_grad():
        return network(seen(spec, y), sigma)


def psnrs(output: Tensor, estimate: Tensor, truth: Tensor) -> dict[str, list[float]]:
    """How far network, formula and truth are apart, in dB: one number an image.

    Args:
        output: of the network, (B, C, H, W).
        estimate: of LE-MMSE.
        truth: the images.

    Example:
        >>> grey = [torch.full((1, 1, 2, 2), value) for value in (0.5, 0.0, 0.9)]
        >>> psnrs(*grey)
        {'network_formula': [6.021], 'network_truth': [7.959], 'formula_truth': [0.915]}
    """
    pairs = {
        "network_formula": (output, estimate),
        "network_truth": (output, truth),
        "formula_truth": (estimate, truth),
    }
    return {kind: rounded(psnr(*pair)) for kind, pair in pairs.items()}


def rounded(values: Tensor) -> list[float]:
    """Numbers for a file: three digits after the point.

    Example:
        >>> rounded(torch.tensor([0.125, 2.0]).double())
        [0.125, 2.0]
    """
    return [round(value, 3) for value in values.tolist()]


def probe(spec: Spec, device: torch.device | str = "cpu") -> Probe:
    """Measures networks in training: their PSNR against LE-MMSE on two test images, per sigma.

    The estimates of LE-MMSE are computed at once, here.
    """
    return agreement(spec, formula(spec, device), device)


def agreement(spec: ModelSpec, estimator: LEMMSE, device: torch.device | str = "cpu") -> Probe:
    """A `probe` of networks by any LE-MMSE."""
    cases = []
    for sigma in PROBED:
        y = measurement(spec, "test", sigma, 2)[1].to(device)
        cases.append((sigma, seen(spec, y), estimator(y, sigma)))

    def measure(network: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            return {
                str(sigma): psnr(network(z, sigma), estimate).mean().item()
                for sigma, z, estimate in cases
            }

    return measure


def chosen(patterns: tuple[str, ...], folder: Path | None) -> list[str]:
    """The local networks of a folder whose names match.

    Raises:
        ValueError: there are none at all, or none for one of the patterns.

    Example:
        >>> chosen(("photos-grey/blur/unet-p5-a*",), None)
        ['photos-grey/blur/unet-p5-agnostic', 'photos-grey/blur/unet-p5-aware']
    """
    there = names(folder, Spec)
    if not there:
        raise ValueError("there are no models; train some: python -m lemmse train --help")
    return matching(list(patterns), there)


def few(folder: Path | None) -> tuple[str, ...]:
    """The networks of the study that were trained on fewer than `zoo.MANY` images.

    Example:
        >>> any("n10000" in name for name in few(None))
        False
    """
    specs = [Spec.parse(name) for name in names(folder, Spec)]
    return tuple(spec.name for spec in specs if spec.images < MANY and spec.task in STUDIED)


def shared_cells(
    models: list[str], places: tuple[Place, ...]
) -> Iterator[tuple[Spec, Place, list[str]]]:
    """Problem, place in the results, and the models to be measured there.

    Models that share a problem come together, so that LE-MMSE is computed once for all of them.

    Args:
        models: their names.
        places: what is to be measured of each, for instance (split, sigma).
    """
    specs = [Spec.parse(name) for name in models]
    for shared in dict.fromkeys(spec.problem for spec in specs):
        several = [spec for spec in specs if spec.problem == shared]
        for place in places:
            yield several[0], place, [spec.name for spec in several]


def check_images(images: int) -> None:
    """ValueError unless it is a number of images."""
    if images < 1:
        raise ValueError(f"images: expected a positive number, got {images}")


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
    *,
    models: tuple[str, ...] | None = None,
    folder: Path | None = None,
    images: int = IMAGES,
) -> dict:
    """Compares models with LE-MMSE and writes the results after every cell.

    Cells that the file already has for the same weights and number of images are kept; all others
    are computed.

    Args:
        out: the file, read first if it exists; None: the published results. Then the means are
            written on the cards of the models, too.
        quick: measure only `QUICK`.
        device: where to compute.
        bar: see `record.Bar`.
        models: names, or patterns of names; None: see `few`; the others are those of the
            experiment ``scale``.
        folder: where the models lie; None: in the package.
        images: how many of each split.

    Returns:
        The results: a dictionary from names to ``sha256`` of the weights, ``images``, ``data``
        (checksums), ``machine``, ``seed``, and ``psnr[split][sigma]`` with lists of one number an
        image: ``network_formula``, ``network_truth``, ``formula_truth``, in dB.
    """
    check_images(images)
    if models is None and quick and folder is None:
        models = QUICK["models"]
    models = chosen(few(folder) if models is None else models, folder)
    record.check_published(out, folder)
    file = record.Record(NAME, out)
    places = QUICK["places"] if quick else tuple(product(SPLITS, SIGMAS))
    loaded = Loaded(folder, device)
    found = file.work(
        [
            _cell(spec, place, several, loaded, images)
            for spec, place, several in shared_cells(models, places)
        ],
        bar,
    )
    if out is None:
        for name in models:
            annotate(name, summary(found[name]), found[name]["images"])
    return found


class Loaded:
    """Networks, and the formulas of their problems, each made once.

    Args:
        folder: where the models lie; None: in the package.
        device: where to compute.
        formulas: how many formulas are kept, the last ones, because they are large.

    Attributes:
        network: from the name of a model.
        formula: from `Spec.problem`.
        checksums: of the first images of both splits, from the data set and their number.
    """

    def __init__(self, folder: Path | None, device: torch.device | str, formulas: int = 1):
        self.folder, self.device = folder, device
        self.network = lru_cache(maxsize=None)(lambda name: load(name, folder).to(device))
        self.formula = lru_cache(maxsize=formulas)(lambda shared: formula(Spec(*shared), device))
        self.checksums = lru_cache(maxsize=None)(checksums)

    def card(self, name: str) -> dict:
        """What is known about a model."""
        return card(name, self.folder)


def of_these(entry: dict, loaded: Loaded, name: str, images: int) -> bool:
    """Whether an entry of the results is about these weights and so many images."""
    expected = loaded.card(name)["sha256"], images
    return (entry.get("sha256"), entry.get("images")) == expected


def unmeasured(
    results: dict,
    place: Place,
    models: list[str],
    loaded: Loaded,
    images: int,
    numbers: str = "psnr",
) -> list[str]:
    """The models of which the results lack a split and a noise level, among these numbers."""
    split, sigma = place
    entries = {name: results.get(name, {}) for name in models}
    return [
        name
        for name, entry in entries.items()
        if not of_these(entry, loaded, name, images)
        or str(sigma) not in entry[numbers].get(split, {})
    ]


def _cell(spec: Spec, place: Place, models: list[str], loaded: Loaded, images: int) -> Cell:
    split, sigma = place

    def left(results: dict) -> list[str]:
        return unmeasured(results, place, models, loaded, images)

    def compute(results: dict) -> dict:
        truth, y = (t.to(loaded.device) for t in measurement(spec, split, sigma, images))
        estimate = loaded.formula(spec.problem)(y, sigma)
        part = {}
        for name in left(results):
            found = psnrs(answer(loaded.network(name), spec, y, sigma), estimate, truth)
            part[name] = origin(name, loaded, images) | {"psnr": {split: {str(sigma): found}}}
        return part

    problem = " ".join(map(str, spec.problem))
    return Cell(f"{problem} {split} {sigma}", lambda results: not left(results), compute)


def summary(entry: dict) -> dict:
    """The means over the images, for the card: split, sigma, then the three kinds of PSNR."""
    return {
        split: {
            sigma: {kind: round(sum(values) / len(values), 2) for kind, values in kinds.items()}
            for sigma, kinds in entry["psnr"].get(split, {}).items()
        }
        for split in SPLITS
    }


def table(results: dict, kind: str = "network_formula", split: str = "test") -> str:
    """The means of one kind of PSNR as text: a row a model, a column a noise level."""
    width = max(map(len, results), default=5)
    lines = [f"{'model':<{width}}" + "".join(f"{sigma:>8}" for sigma in SIGMAS)]
    for name, entry in results.items():
        means = summary(entry)[split]
        values = [means.get(str(sigma), {}).get(kind, float("nan")) for sigma in SIGMAS]
        lines.append(f"{name:<{width}}" + "".join(f"{value:8.1f}" for value in values))
    return "\n".join(lines)


def checksums(dataset: str, images: int) -> dict[str, str]:
    """Those of the first images of both splits."""
    return {split: datasets.checksum(datasets.load(dataset, split, images)) for split in SPLITS}


def origin(name: str, loaded: Loaded, images: int) -> dict:
    """What the results say of a model beside the numbers."""
    checksums = loaded.checksums(parse(name).dataset, images)
    description = loaded.card(name)
    return {
        "sha256": description["sha256"],
        "images": images,
        "data": {"trained on": description["data"]["checksum"], **checksums},
        "machine": machine(loaded.device),
        "seed": SEED,
    }
