"""Exact minimum mean-square error estimators for imaging inverse problems."""

from . import (
    datasets,
    dip,
    exercises,
    experiments,
    metrics,
    networks,
    operators,
    patches,
    plots,
    reduction,
    sampling,
    training,
    zoo,
)
from .devices import device
from .estimators import LEMMSE, MMSE, EquivariantMMSE, LocalMMSE, Posterior, Voters
from .version import __version__

__all__ = [
    "LEMMSE",
    "MMSE",
    "EquivariantMMSE",
    "LocalMMSE",
    "Posterior",
    "Voters",
    "__version__",
    "datasets",
    "device",
    "dip",
    "exercises",
    "experiments",
    "metrics",
    "networks",
    "operators",
    "patches",
    "plots",
    "reduction",
    "sampling",
    "training",
    "zoo",
]
