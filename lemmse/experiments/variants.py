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

from functools import lru_cache
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from .. import datasets
from ..estimators import LEMMSE, Estimator, LinearFilter
from ..training import Probe
from ..zoo import VariantSpec, matching, names
from . import comparison, record
from .comparison import SPLITS, Loaded, answer, measurement
from .record import Bar, Cell, silent

NAME = "variants"
TITLE = "networks that pad, stride, pool, dilate or are blind, against their own formulas"
CHAPTERS = "11, 31"
COST = "10 minutes a model"
OPTIONS = ("models", "folder")

SIGMAS = (0.1, 0.2, 0.5)
IMAGES = 64
PIXELS = 32
"""Images of each split, and random pixels of each part of them, border and interior."""
PARTS = ("border", "interior")
TOGETHER = 8
"""So many images share the random pixels, and the engine answers them together."""

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

Place = tuple[str, float]


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
