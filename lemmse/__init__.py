"""Exact minimum mean-square error estimators for imaging inverse problems.

Everything is imported when it is first used: torch with the estimators, matplotlib with the plots.
"""

from importlib import import_module
from importlib.util import find_spec

from .version import __version__

ORIGIN = {
    "LEMMSE": "estimators",
    "MMSE": "estimators",
    "EquivariantMMSE": "estimators",
    "LinearMMSE": "estimators",
    "LocalMMSE": "estimators",
    "Posterior": "estimators",
    "Voters": "estimators",
    "device": "devices",
    "explain": "explanation",
}
"""The modules of the names that are no modules themselves."""

__all__ = [
    "LEMMSE",
    "MMSE",
    "EquivariantMMSE",
    "LinearMMSE",
    "LocalMMSE",
    "Posterior",
    "Voters",
    "__version__",
    "datasets",
    "device",
    "dip",
    "exercises",
    "experiments",
    "explain",
    "explanation",
    "fields",
    "metrics",
    "networks",
    "operators",
    "plots",
    "reduction",
    "sampling",
    "symmetry",
    "training",
    "zoo",
]


def __getattr__(name: str) -> object:
    if name in ORIGIN:
        globals()[name] = getattr(import_module(f".{ORIGIN[name]}", __name__), name)
        return globals()[name]
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
