"""Exact minimum mean-square error estimators for imaging inverse problems."""

from importlib import import_module

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


def __getattr__(name: str):
    """``lemmse.deepinv`` is imported when it is used: nothing else needs that library."""
    if name == "deepinv":
        return import_module(".deepinv", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
