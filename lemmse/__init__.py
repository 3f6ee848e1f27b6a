"""Exact minimum mean-square error estimators for imaging inverse problems."""

from . import datasets, exercises, metrics, operators, patches, plots, reduction
from .devices import device
from .estimators import LEMMSE, MMSE, EquivariantMMSE, LocalMMSE, Posterior

__all__ = [
    "LEMMSE",
    "MMSE",
    "EquivariantMMSE",
    "LocalMMSE",
    "Posterior",
    "datasets",
    "device",
    "exercises",
    "metrics",
    "operators",
    "patches",
    "plots",
    "reduction",
]
