r"""What a network computes that pools: LE-MMSE of the numbers that it keeps.

The U-Net with pooling takes the means of cells of 2 x 2 pixels *before* anything nonlinear, so of
the 36 pixels in its field it keeps 10 numbers: the means of 3 x 3 cells and the pixel itself. It
treats the four pixels of a cell alike. LE-MMSE of its field knows more than it can; the best
function of what it keeps is, by the same theorem,

.. math:: f(v) = E\big[x[n] \,\big|\, C \Pi_n y = v\big], \qquad n \text{ uniform on all pixels},

with C, (10, 36), the rows of which are made orthonormal: white noise stays white.
"""

from __future__ import annotations

from itertools import product
from math import sqrt
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ..fields import merge_equal
from ..reduction import Index, Keys, reduce
from ..zoo import VariantSpec, load
from . import comparison, record, variants
from .comparison import SPLITS, answer, measurement
from .record import Bar, run_cells, silent
from .scale import estimated, picked

NAME = "pooling"
TITLE = "a network that pools against the formula of the ten numbers that it keeps"
CHAPTERS = "32"
COST = "15 minutes"
OPTIONS = ()

MODEL = "fashion-mnist/denoising/unet-p7-pool2"
SIGMAS = variants.SIGMAS
IMAGES = variants.IMAGES
PIXELS = 2 * variants.PIXELS
"""Images of each split, and random pixels of each, half of them near the border."""
TOLERANCE = 1e-6
QUICK = ("test 0.5",)


def settings() -> dict:
    """What is computed."""
    return {"model": MODEL, "sigmas": SIGMAS, "images": IMAGES, "pixels": PIXELS}


def cells() -> list[str]:
    """Split and sigma of every cell."""
    return [f"{split} {sigma}" for sigma, split in product(SIGMAS, SPLITS)]


def results(path: Path | None = None) -> dict:
    """The published results: by the name of a cell what `compute` returns, and ``machine``."""
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


def kept(z: Tensor) -> Tensor:
    """What the network keeps of the patch of every pixel, as orthonormal functions of it.

    Args:
        z: grey images of even sides, (B, 1, H, W), continued circularly.

    Returns:
        (B, 10, H, W): twice the means of the 3 x 3 cells around, and the difference of the pixel
        and the mean of its cell, over the root of 3/4.

    Example:
        >>> kept(torch.ones(1, 1, 4, 4))[0, :, 0, 0].tolist()
        [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.0]
    """
    height, width = z.shape[2:]
    padded = functional.pad(functional.avg_pool2d(z, 2), (1, 1, 1, 1), mode="circular")
    around = functional.unfold(padded, 3).unflatten(2, (height // 2, width // 2))
    around = around.repeat_interleave(2, 2).repeat_interleave(2, 3)
    own = (z - around[:, 4:5]) / sqrt(0.75)
    return torch.cat([2 * around, own], 1)


class KeptLEMMSE:
    """LE-MMSE among the functions of what `kept` returns.

    Args:
        images: training images, (N, 1, H, W), of even sides.

    Example:
        >>> x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> KeptLEMMSE(x).at(x, 1e-3, torch.tensor([[1, 2]])).allclose(x[:, :, 1, 2, None])
        True
    """

    def __init__(self, images: Tensor):
        keys, values = _rows(kept(images)), _rows(images)
        merged = merge_equal(keys, values)
        self._index = Index(
            Keys(merged.keys, merged.values, merged.first, merged.counts, merged.spread), TOLERANCE
        )

    def at(self, y: Tensor, sigma: float, pixels: Tensor) -> Tensor:
        """Estimates at pixels (n, 2) of measurements (B, 1, H, W): (B, n, 1)."""
        queries = kept(y)[:, :, pixels[:, 0], pixels[:, 1]].mT
        precision = torch.full(queries.shape[:2], sigma**-2, device=y.device)
        state = reduce(queries.flatten(0, 1), precision.flatten(), self._index)
        return state.mean.unflatten(0, queries.shape[:2])


def _rows(images: Tensor) -> Tensor:
    """(B, C, H, W) as one row a pixel, (B H W, C)."""
    return images.movedim(1, -1).flatten(0, 2)


def compute(cell: str, device: torch.device | str = "cpu") -> dict:
    """The numbers of a cell.

    Returns:
        One mean squared difference an image, over its pixels: ``network_kept``, between the network
        and the formula of what it keeps; ``network_own``, the formula of its field; ``kept_own``;
        and all three against the ``truth``.
    """
    split, sigma = cell.split()[0], float(cell.split()[1])
    spec = VariantSpec.parse(MODEL)
    images = comparison.training_images(spec, device)
    truth, y = (t.to(device) for t in measurement(spec, split, sigma, IMAGES))
    own = variants.own(spec, images)
    pixels = variants.sampled_pixels((split, sigma), own.field.patch_size // 2, tuple(y.shape[2:]))
    pixels = pixels.to(y.device)
    who = {
        "network": picked(answer(load(MODEL).to(device), spec, y, sigma), pixels),
        "kept": estimated(KeptLEMMSE(images), y, sigma, pixels),
        "own": estimated(own, y, sigma, pixels),
        "truth": picked(truth, pixels),
    }
    pairs = (
        ("network", "kept"),
        ("network", "own"),
        ("kept", "own"),
        *((name, "truth") for name in ("network", "kept", "own")),
    )
    return {f"{a}_{b}": _squared(who[a], who[b]) for a, b in pairs}


def _squared(a: Tensor, b: Tensor) -> list[float | None]:
    return record.rounded((a - b).double().square().mean((1, 2)), 4)
