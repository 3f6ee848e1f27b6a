"""Exact minimum mean-square error estimators for imaging inverse problems."""

from importlib import import_module
from types import ModuleType

from . import metrics, operators, patches, reduction, symmetry
from .devices import device
from .estimators import LEMMSE, MMSE, EquivariantMMSE, LocalMMSE, Posterior, Voters
from .version import __version__

LATER = (
    "datasets",
    "deepinv",
    "dip",
    "exercises",
    "experiments",
    "networks",
    "plots",
    "sampling",
    "training",
    "zoo",
)
"""Modules that are imported when they are first used: they need matplotlib, say, or deepinv."""

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
    "symmetry",
    "training",
    "zoo",
]


def __getattr__(name: str) -> ModuleType:
    if name in LATER:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER})
