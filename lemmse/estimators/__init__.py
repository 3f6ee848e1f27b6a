"""The four estimators of [LE], each a softmax attention over the training set; two linear ones."""

from .base import Estimator, Posterior, WeightedAverage
from .linear import LinearMMSE
from .linear_filter import LinearFilter
from .local import LEMMSE
from .local_mmse import LocalMMSE
from .voters import Voters
from .whole import MMSE, EquivariantMMSE

__all__ = [
    "LEMMSE",
    "MMSE",
    "EquivariantMMSE",
    "Estimator",
    "LinearFilter",
    "LinearMMSE",
    "LocalMMSE",
    "Posterior",
    "Voters",
    "WeightedAverage",
]
