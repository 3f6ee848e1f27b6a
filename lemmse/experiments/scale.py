r"""Networks trained on 10,000 images against LE-MMSE, with baselines, at random pixels.

The claim of [LE] is about 10,000 images. The networks for MRI and for sampling are measured here,
too. Every network is compared with LE-MMSE of its own training images at `PIXELS` random pixels of
`IMAGES` images of each split, and so are three estimators that are no network: what they reach
shows what an agreement is worth.

- ``affine``: the affine guess of a pixel from itself (`estimators.LinearFilter`, P = 1).
- ``linear``: the best affine function of the P x P patch.
- ``other``: LE-MMSE of as many other images of the same data set, where there are so many.

Where networks were trained with and without the physics, ``crossed`` is LE-MMSE of the same images
for the other of the two: a network that computes its own formula is nearer to that one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor, nn

from .. import datasets
from ..estimators import LEMMSE, Estimator, LinearFilter
from ..metrics import mse
from ..zoo import REGULARISATION, Spec, annotate, names
from . import comparison, record
from .comparison import SIGMAS, SPLITS, Loaded, Place, answer, measurement, rounded
from .record import Bar, Cell, silent

NAME = "scale"
TITLE = "networks of 10,000 images against LE-MMSE and three baselines, at random pixels"
CHAPTERS = "13, 14, 17, 30"
COST = "10 minutes a problem"
OPTIONS = ("models", "folder")

IMAGES = 64
PIXELS = 64
"""Images of each split, and random pixels of each, that are compared."""
TOGETHER = 8
"""So many images share the random pixels, and the engine answers them together."""
SEED = 0

TARGET = 25.0
"""PSNR(network, LE-MMSE), in dB, from which on the two are said to agree."""

CEILING = 120.0
"""Larger PSNRs are written as this one, for the two agree in all digits of single precision."""

KINDS = (
    "network_formula",
    "network_truth",
    "formula_truth",
    "affine_formula",
    "linear_formula",
    "other_formula",
    "network_crossed",
    "crossed_formula",
)
"""Who is compared with whom of network, LE-MMSE of its training images, truth and baselines."""

PARTNER = {"agnostic": "aware", "aware": "agnostic"}

QUICK = {
    "models": ("fashion-mnist/denoising/patchmlp-p5-n10000",),
    "places": (("test", 0.5), ("test", 1.0)),
}


def results(path: Path | None = None) -> dict:
    """The published results; see `run` for what they hold."""
    return record.read(NAME, path)


def chosen(patterns: tuple[str, ...] | None, folder: Path | None) -> list[str]:
    """The models that match, or all those of a folder that ``comparison`` does not measure.

    They were trained on `zoo.MANY` images, or for a task outside `zoo.STUDIED`.

    Raises:
        ValueError: there are no models, or none for one of the patterns.

    Example:
        >>> chosen(("photos-grey/blur/unet-p5-a*",), None)
        ['photos-grey/blur/unet-p5-agnostic', 'photos-grey/blur/unet-p5-aware']
    """
    if patterns is None:
        few = comparison.few(folder)
        patterns = tuple(name for name in names(folder, Spec) if name not in few)
    return comparison.chosen(patterns, folder)


def run(
    out: Path | None = None,
    quick: bool = False,
    device: torch.device | str = "cpu",
    bar: Bar = silent,
    *,
    models: tuple[str, ...] | None = None,
    folder: Path | None = None,
) -> dict:
    """Compares models with LE-MMSE and the baselines, and writes the results after every cell.

    Args:
        out: the file, read first if it exists; None: the published results. Then the means are
            written on the cards of the models, too.
        quick: measure only `QUICK`.
        device: where to compute.
        bar: see `record.Bar`.
        models: names, or patterns of names; None: see `chosen`.
        folder: where the models lie; None: in the package.

    Returns:
        The results: a dictionary from names to ``sha256`` of the weights, ``images``, ``pixels``,
        ``data`` (checksums), ``machine``, ``seed``, and ``psnr[split][sigma]`` with lists of one
        number an image, in dB, for each of `KINDS`.
    """
    record.check_published(out, folder)
    patterns = QUICK["models"] if quick and models is None else models
    wanted = chosen(patterns, folder)
    file = record.Record(NAME, out)
    loaded = Compared(folder, device)
    places = QUICK["places"] if quick else tuple(product(SPLITS, SIGMAS))
    cells = [
        _cell(spec, place, several, loaded)
        for spec, place, several in comparison.shared_cells(wanted, places)
    ]
    found = file.work(cells, bar)
    if out is None:
        for name in wanted:
            annotate(name, comparison.summary(found[name]), IMAGES)
    return found


class Compared(Loaded):
    """Networks, formulas and baselines; see `comparison.Loaded`.

    Attributes:
        sample: from `Spec.problem`, split and sigma. All are kept: agnostic and aware networks
            need the same ones.
        other, linear, affine: from `Spec.problem`, as ``formula``.
    """

    def __init__(self, folder: Path | None, device: torch.device | str):
        super().__init__(folder, device, formulas=2)  # with and without the physics
        self.sample = lru_cache(maxsize=None)(
            lambda shared, split, sigma: Sample(
                Spec(*shared), self.formula(shared), split, sigma, device
            )
        )
        self.other = lru_cache(maxsize=1)(lambda shared: other_formula(Spec(*shared), device))
        self.linear = lru_cache(maxsize=1)(
            lambda shared: linear(Spec(*shared), Spec(*shared).patch_size, device)
        )
        self.affine = lru_cache(maxsize=1)(lambda shared: linear(Spec(*shared), 1, device))


def other_formula(spec: Spec, device: torch.device | str = "cpu") -> LEMMSE | None:
    """LE-MMSE of the next N images of the data set; None if it has fewer than 2 N.

    Example:
        >>> other_formula(Spec("photos-grey", "denoising", images=10)).image_shape
        (1, 32, 32)
    """
    if datasets.describe(spec.dataset)["count"] < 2 * spec.images:
        return None
    images = datasets.load(spec.dataset, "train", 2 * spec.images)[spec.images :].to(device)
    return comparison.estimator(spec, images)


def crossed(spec: Spec) -> Spec | None:
    """The same problem with the physics that the networks are not told, or are told.

    Example:
        >>> crossed(Spec("photos", "blur", "aware")).physics
        'agnostic'
        >>> crossed(Spec("photos", "denoising")) is None
        True
    """
    if spec.task not in ("inpainting", "blur") or spec.physics not in PARTNER:
        return None
    return replace(spec, physics=PARTNER[spec.physics])


def linear(spec: Spec, patch_size: int, device: torch.device | str = "cpu") -> LinearFilter:
    """The best affine function of a patch, over the training images of a model."""
    images = comparison.training_images(spec, device)
    operator = spec.operator(tuple(images.shape[2:]))
    return LinearFilter(images, operator, spec.preinverse, patch_size, REGULARISATION)


def sampled_pixels(split: str, sigma: float, size: tuple[int, int]) -> Tensor:
    """The random pixels of each group of images, the same for all models and on every machine.

    Returns:
        (IMAGES / TOGETHER, PIXELS, 2), rows and columns.

    Example:
        >>> sampled_pixels("test", 0.1, (28, 28)).shape
        torch.Size([8, 64, 2])
    """
    generator = torch.Generator().manual_seed(SEED + 2 * round(1000 * sigma) + SPLITS.index(split))
    height, width = size
    groups = [
        torch.randperm(height * width, generator=generator)[:PIXELS]
        for _ in range(IMAGES // TOGETHER)
    ]
    flat = torch.stack(groups)
    return torch.stack([flat // width, flat % width], dim=-1)


def picked(images: Tensor, pixels: Tensor) -> Tensor:
    """The values of images (B, C, H, W) at the pixels of their groups: (B, PIXELS, C)."""
    groups = zip(images.split(TOGETHER), pixels.unbind(), strict=True)
    return torch.cat([part[:, :, where[:, 0], where[:, 1]].mT for part, where in groups])


def estimated(estimator: Estimator, y: Tensor, sigma: float, pixels: Tensor) -> Tensor:
    """What an estimator makes of measurements at the pixels of their groups: (B, PIXELS, C)."""
    if isinstance(estimator, LinearFilter):
        return picked(estimator(y, sigma), pixels)
    groups = zip(y.split(TOGETHER), pixels, strict=True)
    return torch.cat([estimator.at(part, sigma, where) for part, where in groups])


def nearness(a: Tensor, b: Tensor) -> list[float]:
    """PSNR of values (B, PIXELS, C), one number an image, at most `CEILING`.

    Example:
        >>> nearness(torch.zeros(2, 3, 1), torch.tensor([0.1, 0.0])[:, None, None].expand(2, 3, 1))
        [20.0, 120.0]
    """
    squared = mse(a.mT[..., None], b.mT[..., None]).double()
    return rounded((-10 * squared.log10()).clamp_max(CEILING))


class Sample:
    """What is measured of the images of a split, and LE-MMSE at the random pixels.

    Args:
        spec: data set, task, physics.
        formula: LE-MMSE.
        split, sigma: where.
        device: where to compute.

    Attributes:
        goal: the truth at the pixels, (IMAGES, PIXELS, C).
        estimate: what LE-MMSE makes of the measurement there, of the same shape.
    """

    def __init__(
        self, spec: Spec, formula: Estimator, split: str, sigma: float, device: torch.device | str
    ):
        self._spec, self._sigma = spec, sigma
        truth, self._y = (t.to(device) for t in measurement(spec, split, sigma, IMAGES))
        self._pixels = sampled_pixels(split, sigma, tuple(truth.shape[2:])).to(device)
        self.goal = picked(truth, self._pixels)
        self.estimate = estimated(formula, self._y, sigma, self._pixels)

    def of_network(
        self, network: nn.Module, crossed: Tensor | None = None
    ) -> dict[str, list[float]]:
        """How near a network is to the formula and to the truth, in dB, one number an image.

        Args:
            network: the network.
            crossed: what LE-MMSE for the other physics makes of the same measurement; it is
                compared with that, too.
        """
        output = picked(answer(network, self._spec, self._y, self._sigma), self._pixels)
        found = {
            "network_formula": nearness(output, self.estimate),
            "network_truth": nearness(output, self.goal),
        }
        if crossed is not None:
            found["network_crossed"] = nearness(output, crossed)
        return found

    def of_formula(self) -> dict[str, list[float]]:
        """How near the formula is to the truth."""
        return {"formula_truth": nearness(self.estimate, self.goal)}

    def to_formula(self, estimator: Estimator) -> list[float]:
        """How near another estimator is to the formula."""
        output = estimated(estimator, self._y, self._sigma, self._pixels)
        return nearness(output, self.estimate)


def _cell(spec: Spec, place: Place, models: list[str], loaded: Compared) -> Cell:
    split, sigma = place

    def left(results: dict) -> list[str]:
        return comparison.unmeasured(results, place, models, loaded, IMAGES)

    def compute(results: dict) -> dict:
        sample = loaded.sample(spec.problem, split, sigma)
        shared = sample.of_formula() | {
            "affine_formula": sample.to_formula(loaded.affine(spec.problem)),
            "linear_formula": sample.to_formula(loaded.linear(spec.problem)),
        }
        other = loaded.other(spec.problem)
        if other is not None:
            shared["other_formula"] = sample.to_formula(other)
        partner, across = crossed(spec), None
        if partner is not None:
            across = loaded.sample(partner.problem, split, sigma).estimate
            shared["crossed_formula"] = nearness(across, sample.estimate)
        part = {}
        for name in left(results):
            found = sample.of_network(loaded.network(name), across) | shared
            part[name] = comparison.origin(name, loaded, IMAGES) | {
                "pixels": PIXELS,
                "psnr": {split: {str(sigma): found}},
            }
        return part

    problem = " ".join(map(str, spec.problem))
    return Cell(f"{problem} {split} {sigma}", lambda results: not left(results), compute)


def level(values: list[float]) -> tuple[float, float]:
    """Mean over the images, and its standard error.

    Example:
        >>> level([1.0, 2.0, 3.0, 4.0])
        (2.5, 0.6454972243679028)
    """
    return mean(values), stdev(values) / len(values) ** 0.5


def verdict(values: list[float], target: float = TARGET) -> str:
    """Whether a mean is at least the target: "borderline" within two standard errors of it.

    Example:
        >>> verdict([26.0, 26.1]), verdict([20.0, 31.0]), verdict([20.0, 20.1])
        ('passes', 'borderline', 'fails')
    """
    value, error = level(values)
    if abs(value - target) < 2 * error:
        return "borderline"
    return "passes" if value > target else "fails"


def excess_risk(cell: dict) -> float:
    """(risk of the network - risk of LE-MMSE) / risk of LE-MMSE, from one cell of the results.

    At least 0 in expectation on the training images, where LE-MMSE has the least risk.

    Example:
        >>> round(excess_risk({"network_truth": [17.0, 17.0], "formula_truth": [20.0, 20.0]}), 3)
        0.995
    """
    risks = [
        mean(10 ** (-value / 10) for value in cell[kind])
        for kind in ("network_truth", "formula_truth")
    ]
    return risks[0] / risks[1] - 1
