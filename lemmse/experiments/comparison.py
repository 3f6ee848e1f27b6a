"""Networks against the formula: PSNR(network, LE-MMSE), over tasks and noise levels."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import datasets
from ..estimators import LEMMSE
from ..files import write_json
from ..metrics import psnr
from ..training import Probe, Problem
from ..version import __version__
from ..zoo import REGULARISATION, AnySpec, Spec, annotate, card, load

SIGMAS = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
SPLITS = ("train", "test")
IMAGES = 16
"""The noise levels, splits and number of images of the published comparison."""

PROBED = (0.1, 0.2, 0.5, 1.0)
"""The noise levels measured during training, each on the first two test images."""

Place = tuple[str, float]  # where a number belongs: a split or a data set, and sigma

SEED = 0
# The published results; the folder is book/results, too.
RESULTS = Path(__file__).parent.parent / "results" / "comparison.json"


def results(path: Path = RESULTS) -> dict:
    """The published results; see `compare` for what they hold.

    Raises:
        FileNotFoundError: there is no such file.

    Example:
        >>> min(entry["images"] for entry in results().values()) > 0
        True
    """
    return json.loads(path.read_text())


def problem(spec: AnySpec, device: torch.device | str = "cpu") -> Problem:
    """What a model has to solve, with its training images.

    Example:
        >>> problem(Spec("photos-grey", "denoising", images=10)).images.shape
        torch.Size([10, 1, 32, 32])
    """
    return spec.pose(datasets.load(spec.dataset, "train", spec.images).to(device))


def formula(spec: Spec, device: torch.device | str = "cpu") -> LEMMSE:
    """The LE-MMSE estimator for the training images, the physics and the patch of a model."""
    data = problem(spec, device)
    return LEMMSE(
        data.images,
        data.operator,
        preinverse=spec.preinverse,
        patch_size=spec.patch_size,
        regularisation=REGULARISATION,
    )


def measurement(
    spec: AnySpec, split: str, sigma: float, count: int = IMAGES
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


def measured(spec: AnySpec, truth: Tensor, split: str, sigma: float) -> Tensor:
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
    estimator = formula(spec, device)
    cases = []
    for sigma in PROBED:
        y = measurement(spec, "test", sigma, 2)[1].to(device)
        cases.append((sigma, seen(spec, y), estimator(y, sigma)))

    def agreement(network: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            return {
                str(sigma): psnr(network(z, sigma), estimate).mean().item()
                for sigma, z, estimate in cases
            }

    return agreement


def cells(
    names: list[str], places: list[Place], done: Callable[[str, Place], bool]
) -> Iterator[tuple[Spec, Place, list[str]]]:
    """The work that is left: problem, place in the results, and the models to be measured there.

    Models that share a problem come together, so that LE-MMSE is computed once for all of them.

    Args:
        names: of the models.
        places: what is to be measured of each, for instance (split, sigma).
        done: whether the results have a model's number at a place.
    """
    specs = [Spec.parse(name) for name in names]
    for shared in dict.fromkeys(spec.problem for spec in specs):
        models = [spec for spec in specs if spec.problem == shared]
        for place in places:
            left = [model.name for model in models if not done(model.name, place)]
            if left:
                yield models[0], place, left


def compare(
    names: list[str],
    out: Path = RESULTS,
    folder: Path | None = None,
    count: int = IMAGES,
    device: torch.device | str = "cpu",
    bar: Callable[[str], None] = lambda text: None,
) -> dict:
    """Compares models with LE-MMSE and writes the results after every cell.

    Cells that the file already has for the same weights and number of images are kept; all others
    are computed.

    Args:
        names: of the models.
        out: the JSON file, read first if it exists.
        folder: where the models lie; None: in the package.
        count: images of each split.
        device: where to compute.
        bar: called with a text after every cell.

    Returns:
        The results: a dictionary from names to ``sha256`` of the weights, ``images``, ``data``
        (checksums), ``machine``, ``seed``, and ``psnr[split][sigma]`` with lists of one number an
        image: ``network_formula``, ``network_truth``, ``formula_truth``, in dB.
    """
    known = results(out) if out.is_file() else {}
    done = known | {name: _entry(name, known.get(name), folder, count, device) for name in names}
    networks = lru_cache(maxsize=None)(lambda name: load(name, folder).to(device))
    estimators = lru_cache(maxsize=1)(lambda shared: formula(Spec(*shared), device))
    places = list(product(SPLITS, SIGMAS))
    for spec, (split, sigma), models in cells(
        names, places, lambda name, place: str(place[1]) in done[name]["psnr"][place[0]]
    ):
        truth, y = (t.to(device) for t in measurement(spec, split, sigma, count))
        estimate = estimators(spec.problem)(y, sigma)
        for name in models:
            output = answer(networks(name), spec, y, sigma)
            done[name]["psnr"][split][str(sigma)] = psnrs(output, estimate, truth)
        write_json(out, done, sort_keys=True)
        bar(f"{spec.dataset} {spec.task} {spec.physics} {split} {sigma}")
    for name in names:
        annotate(name, summary(done[name]), done[name]["images"], folder)
    return done


def summary(entry: dict) -> dict:
    """The means over the images, for the card: split, sigma, then the three kinds of PSNR."""
    return {
        split: {
            sigma: {kind: round(sum(values) / len(values), 2) for kind, values in kinds.items()}
            for sigma, kinds in entry["psnr"][split].items()
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


def machine(device: torch.device | str) -> dict[str, str]:
    """Where a result was computed."""
    kind = torch.device(device).type
    processor = torch.cuda.get_device_name() if kind == "cuda" else platform.processor()
    return {
        "device": f"{kind} {processor or platform.machine()}".strip(),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lemmse": __version__,
        "date": date.today().isoformat(),
    }


def _entry(
    name: str, known: dict | None, folder: Path | None, count: int, device: torch.device | str
) -> dict:
    """What the file says of a model, if it is about the same weights and images; else nothing."""
    sha256 = card(name, folder)["sha256"]
    if known and known["sha256"] == sha256 and known["images"] == count:
        return known
    spec = Spec.parse(name)
    checksums = {
        split: datasets.checksum(datasets.load(spec.dataset, split, count)) for split in SPLITS
    }
    return {
        "sha256": sha256,
        "images": count,
        "data": {"trained on": card(name, folder)["data"]["checksum"], **checksums},
        "machine": machine(device),
        "seed": SEED,
        "psnr": {split: {} for split in SPLITS},
    }
