r"""Restore and then segment, or both at once? Infrared scenes, four ways to train the same weights.

Two stacks of convolutions stand behind one another. The first turns :math:`b`, the Wiener filter of
the measurement, into a restored temperature map :math:`\hat x = b + R(b)`; the second turns that
into the logit of every pixel to be warm, :math:`s = S(\hat x)`. `CONTESTANTS`:

- ``one after the other``: R learns the mean squared error; then it is frozen, and S learns the
  cross-entropy of the masks;
- ``together``: both learn the cross-entropy plus `WEIGHTS` times the mean squared error, in units
  of the sensor's variance;
- ``end to end``: both learn the cross-entropy alone;
- ``no restoration``: the same, and b is the measurement itself, so that no physics is inside.

All have as many weights, see the same scenes and noise with a seed, and take as much time; the
reference ``threshold`` learns nothing: it cuts the contrast of the Wiener filter. Learning rates,
weight and the threshold of every mask are chosen on scenes held out, with as many tries for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from math import sqrt
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import datasets
from ..datasets import infrared as data
from ..estimators import LinearMMSE
from ..metrics import iou, psnr
from . import record
from .record import Bar, rounded, run_cells, silent

NAME = "infrared"
TITLE = "infrared restoration and segmentation trained together, and one after the other"
CHAPTERS = "24"
COST = "20 minutes"
OPTIONS = ()
QUICK = ("threshold",)
"""The cells of the quick version."""

SCENES, HELD_OUT, TEST_SCENES = 4000, 400, 400
PRIOR = 1000
"""Of so many training scenes the Wiener filter knows the spectrum."""
SEEDS = 5
"""A seed draws the weights before training, the batches and the noise."""
BUDGETS = (350, 1400)
"""Steps of training; the longer one takes over what the shorter one chose."""
BATCH = 8
ALONE = 0.8
"""So many of the steps, once for R and once for S, take as long as those of both together."""

WIDTH, DILATIONS = 16, (1, 2, 4, 2, 1)
"""Of a stack, the channels, and how far apart the pixels are that a convolution sees."""
LEVEL, SPREAD = 0.328, 0.072
"""Mean and standard deviation of the training scenes, for the stacks 0 and 1."""

RATES = (8e-3, 4e-3, 1.6e-2, 2e-3, 6e-3)
WEIGHTS = (0.1, 0.01, 1.0)
CONTESTANTS: dict[str, dict[str, tuple[float, ...]]] = {
    "one after the other": {"restoration rate": RATES[:3], "rate": RATES[:3]},
    "together": {"rate": RATES[:3], "weight": WEIGHTS},
    "end to end": {"rate": RATES},
    "no restoration": {"rate": RATES},
}
"""What each chooses, one key after the other, with the first values of those that follow."""

# Logits, and contrasts in kelvin, from which a pixel may be called warm. (No docstrings: Sphinx
# would take tensors for members of torch.)
LEVELS = torch.arange(-4.0, 4.01, 0.25)
KELVINS = torch.arange(1.0, 8.01, 0.25)


def settings() -> dict:
    """What was computed."""
    return {
        "scenes": SCENES,
        "held out": HELD_OUT,
        "test scenes": TEST_SCENES,
        "prior": PRIOR,
        "seeds": SEEDS,
        "budgets": BUDGETS,
        "batch": BATCH,
        "alone": ALONE,
        "width": WIDTH,
        "dilations": DILATIONS,
        "contestants": CONTESTANTS,
    }


def cells() -> list[str]:
    """Contestant and steps of every cell; the longer trainings come after all shorter ones."""
    return ["threshold", *(f"{name} | {steps}" for steps in BUDGETS for name in CONTESTANTS)]


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

    def compute_cell(cell: str, device: torch.device | str) -> dict:
        return compute(cell, device, file.results)

    return run_cells(file, QUICK if quick else cells(), compute_cell, device, bar)


def scenes(split: str) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and masks of a split, (N, 1, 32, 32); those held out end "train"."""
    return _drawn(split, SCENES + HELD_OUT if split == "train" else TEST_SCENES)


@lru_cache
def _drawn(split: str, count: int) -> tuple[Tensor, Tensor]:
    found = data.scenes(split, count)
    return data.from_kelvin(found.kelvin), found.masks


def shown(device: torch.device | str = "cpu") -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Measurements, images and masks of the scenes held out and of the test scenes."""
    splits = {
        "validation": tuple(part[SCENES:] for part in scenes("train")),
        "test": scenes("test"),
    }
    found = {}
    for i, (split, (x, masks)) in enumerate(splits.items()):
        y = data.camera().measure(x, data.SIGMA, torch.Generator().manual_seed(10_000 + i))
        found[split] = tuple(part.to(device) for part in (y, x, masks))
    return found


@lru_cache
def wiener(count: int, device: torch.device) -> LinearMMSE:
    """The filter that the first so many training scenes give."""
    images = datasets.load("infrared", n=count).to(device)
    return LinearMMSE(images, data.camera(), stationary=True)


class Pipeline(nn.Module):
    """R and S of the module, one behind the other.

    Args:
        physics: whether the Wiener filter comes first.
        seed: of the weights.

    Example:
        >>> network = Pipeline()
        >>> y = torch.rand(2, 1, 32, 32)
        >>> x_hat = network.restore(y)
        >>> x_hat.shape, network.segment(x_hat).shape
        (torch.Size([2, 1, 32, 32]), torch.Size([2, 1, 32, 32]))
    """

    def __init__(self, physics: bool = True, seed: int = 0):
        super().__init__()
        self.physics = physics
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.restoration, self.segmentation = stack(), stack()
        with torch.no_grad():
            self.restoration[-1].weight.mul_(0.1)  # the restoration starts near what it is given

    def restore(self, y: Tensor) -> Tensor:
        """Images in [0, 1] of measurements, both (B, 1, H, W)."""
        given = wiener(PRIOR, y.device)(y, data.SIGMA) if self.physics else y
        return given + SPREAD * self.restoration(_standard(given))

    def segment(self, x: Tensor) -> Tensor:
        """Logits of images in [0, 1], both (B, 1, H, W)."""
        return self.segmentation(_standard(x))


def stack() -> nn.Sequential:
    """Convolutions of 3 x 3 pixels with ReLU between; outside the frame is the mean scene."""
    channels = [1] + [WIDTH] * (len(DILATIONS) - 1) + [1]
    layers: list[nn.Module] = []
    for i, d in enumerate(DILATIONS):
        layers += [nn.Conv2d(channels[i], channels[i + 1], 3, padding=d, dilation=d), nn.ReLU()]
    # Half the time on a CPU, where channels are the fastest dimension.
    return nn.Sequential(*layers[:-1]).to(memory_format=torch.channels_last)


def _standard(x: Tensor) -> Tensor:
    return ((x - LEVEL) / SPREAD).contiguous(memory_format=torch.channels_last)


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of measurements, images and masks."""


def optimise(part: nn.Module, loss: Loss, rate: float, steps: int, seed: int) -> None:
    """Trains the weights of a part with Adam, its rate falling like a cosine to zero."""
    device = next(part.parameters()).device
    x, masks = (each[:SCENES].to(device) for each in scenes("train"))
    clean = data.camera().A(x)
    adam = torch.optim.Adam(part.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        which = torch.randint(len(x), (BATCH,), generator=generator).to(device)
        noise = torch.randn((BATCH, *x.shape[1:]), generator=generator).to(device)
        y = clean[which] + data.SIGMA * noise
        adam.zero_grad()
        loss(y, x[which], masks[which]).backward()
        adam.step()
        schedule.step()


def trained(
    name: str, steps: int, seed: int, choice: dict, device: torch.device | str = "cpu"
) -> Pipeline:
    """Trains a contestant.

    Args:
        name: of `CONTESTANTS`.
        steps: of a training of both stacks at once.
        seed: see `SEEDS`.
        choice: a value of all that the contestant may choose.
        device: where to compute.
    """
    network = Pipeline(name != "no restoration", seed).to(device)
    if name == "one after the other":

        def second(y: Tensor, x: Tensor, masks: Tensor) -> Tensor:
            with torch.no_grad():
                restored = network.restore(y)
            return cross_entropy(network.segment(restored), masks)

        alone = round(ALONE * steps)
        first = network.restoration
        optimise(first, lambda y, x, _: error(network.restore(y), x), choice[FIRST], alone, seed)
        optimise(network.segmentation, second, choice["rate"], alone, seed)
        return network

    weight = choice.get("weight", 0.0)

    def loss(y: Tensor, x: Tensor, masks: Tensor) -> Tensor:
        restored = network.restore(y)
        found = cross_entropy(network.segment(restored), masks)
        return found + weight * error(restored, x) if weight else found

    optimise(network, loss, choice["rate"], steps, seed)
    return network


FIRST = "restoration rate"


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """The mean over pixels, in nats."""
    return functional.binary_cross_entropy_with_logits(logits, masks.to(logits.dtype))


def error(restored: Tensor, x: Tensor) -> Tensor:
    """The mean squared error in units of the sensor's variance."""
    return (restored - x).square().mean() / data.SIGMA**2


def qualities(found: dict[str, tuple[Tensor, Tensor]], levels: Tensor) -> dict:
    """Both qualities of what was found on the scenes held out and on the test scenes.

    Args:
        found: by the name of the split, what is in the place of the restored image, and the
            evidence that a pixel is warm, each (N, 1, H, W).
        levels: those from which the evidence may be called a mask; the one that is best on the
            scenes held out is taken.

    Returns:
        ``level``, that one; ``iou`` and ``psnr`` (in dB), (N,) by split; and ``affine``, the PSNR
        after the affine map of the numbers that is best on the scenes held out.
    """
    truth = {split: parts[1:] for split, parts in shown().items()}
    found = {split: tuple(part.cpu() for part in parts) for split, parts in found.items()}
    overlaps = {
        split: torch.stack([iou(evidence > level, truth[split][1]) for level in levels])
        for split, (_, evidence) in found.items()
    }
    best = int(overlaps["validation"].mean(1).argmax())
    line = _line(found["validation"][0], truth["validation"][0])
    restored = {split: image for split, (image, _) in found.items()}
    return {
        "level": levels[best].item(),
        "iou": {split: values[best] for split, values in overlaps.items()},
        "psnr": {split: psnr(image, truth[split][0]) for split, image in restored.items()},
        "affine": {split: psnr(line(image), truth[split][0]) for split, image in restored.items()},
    }


def _line(image: Tensor, x: Tensor) -> Callable[[Tensor], Tensor]:
    """The affine map of numbers that brings images nearest to others."""
    centre, middle = image.mean(), x.mean()
    spread = (image - centre).square().mean()
    slope = ((image - centre) * (x - middle)).mean() / spread if spread > 0 else 0.0
    return lambda image: middle + slope * (image - centre)


def judged(network: Pipeline) -> dict:
    """What `qualities` says of a trained network."""
    device = next(network.parameters()).device
    found = {}
    with torch.no_grad():
        for split, (y, _, _) in shown(device).items():
            restored = network.restore(y)
            found[split] = restored, network.segment(restored)
    return qualities(found, LEVELS)


def threshold(device: torch.device | str = "cpu") -> dict:
    """What `qualities` says of the Wiener filter and one threshold on its contrast."""
    found = {}
    for split, (y, _, _) in shown(device).items():
        restored = wiener(PRIOR, y.device)(y, data.SIGMA)
        found[split] = restored, data.contrast(data.to_kelvin(restored))
    return qualities(found, KELVINS)


def chosen(name: str, steps: int, device: torch.device | str = "cpu") -> dict:
    """What a contestant chooses, with seed 0, by the IoU on the scenes held out.

    The learning rate of the restoration that comes first is chosen by the PSNR.

    Returns:
        ``choice``; and ``tried``, a list of choices with their ``iou`` and ``psnr``.
    """
    options = CONTESTANTS[name]
    choice = {key: values[0] for key, values in options.items()}
    tried: list[dict] = []
    for key, values in options.items():
        quality = "psnr" if key == FIRST else "iou"
        tries = []
        for value in values:
            attempt = choice | {key: value}
            known = [one for one in tried if one["choice"] == attempt]
            tries.append(known[0] if known else _attempt(name, steps, attempt, device))
            tried += [] if known else tries[-1:]
        choice = max(tries, key=lambda one: one[quality])["choice"]
    return {"choice": choice, "tried": tried}


def _attempt(name: str, steps: int, choice: dict, device: torch.device | str) -> dict:
    found = judged(trained(name, steps, 0, choice, device))
    means = {key: found[key]["validation"].mean().item() for key in ("iou", "psnr")}
    return {"choice": choice, "iou": round(means["iou"], 4), "psnr": round(means["psnr"], 3)}


def compute(cell: str, device: torch.device | str = "cpu", known: dict | None = None) -> dict:
    """The numbers of a cell.

    Args:
        cell: one of `cells`.
        device: where to compute.
        known: results so far, which hold what the shortest budget chose.

    Returns:
        ``parameters``; ``levels``, those of every seed; ``validation`` and ``test``: ``iou``,
        ``psnr`` and ``affine`` of every seed, means over scenes; ``scenes``, the same on every test
        scene, means over seeds; and for trained ones ``choice``, what the shortest budget
        ``tried``, and ``seconds``, the processor time of a training.
    """
    if cell == "threshold":
        return _summary([threshold(device)]) | {"parameters": 0}
    name, steps = cell.split(" | ")
    before = (known or {}).get(f"{name} | {BUDGETS[0]}")
    if before is None:
        before = chosen(name, BUDGETS[0], device)
    found, seconds = [], []
    for seed in range(SEEDS):
        start = time.process_time()
        network = trained(name, int(steps), seed, before["choice"], device)
        seconds.append(round(time.process_time() - start, 2))
        found.append(judged(network))
    return _summary(found) | {
        "parameters": sum(p.numel() for p in network.parameters()),
        "choice": before["choice"],
        "tried": before["tried"],
        "seconds": seconds,
    }


QUALITIES = ("iou", "psnr", "affine")


def _summary(found: list[dict]) -> dict:
    """Of what `qualities` says of every seed."""
    by_seed = {
        split: {
            key: rounded(torch.stack([one[key][split].mean() for one in found]))
            for key in QUALITIES
        }
        for split in ("validation", "test")
    }
    by_scene = {
        key: rounded(torch.stack([one[key]["test"] for one in found]).mean(0), 4)
        for key in QUALITIES
    }
    return by_seed | {"levels": [one["level"] for one in found], "scenes": by_scene}


def difference(one: dict, other: dict, quality: str = "iou") -> tuple[float, float]:
    """By how much one cell is better than another, on the same test scenes and with paired seeds.

    The standard error adds the variance of the mean over scenes and that over seeds, of which the
    reference has none.

    Args:
        one, other: of `results`.
        quality: "iou", "psnr" or "affine".

    Returns:
        The difference and its standard error.

    Raises:
        ValueError: there is no such quality.

    Example:
        >>> cell = results()["together | 1400"]
        >>> difference(cell, cell)
        (0.0, 0.0)
    """
    if quality not in QUALITIES:
        raise ValueError(f"quality: expected one of {', '.join(QUALITIES)}, got {quality!r}")
    gaps = [
        torch.tensor(part(one)).double() - torch.tensor(part(other)).double()
        for part in (lambda cell: cell["test"][quality], lambda cell: cell["scenes"][quality])
    ]
    variance = sum(gap.var().item() / len(gap) for gap in gaps if len(gap) > 1)
    return gaps[0].mean().item(), sqrt(variance)
