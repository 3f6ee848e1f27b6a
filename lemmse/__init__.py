"""Exact minimum mean-square error estimators for imaging inverse problems."""

from . import (
    comparison,
    datasets,
    density,
    dip,
    exercises,
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
    "comparison",
    "datasets",
    "density",
    "device",
    "dip",
    "exercises",
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
