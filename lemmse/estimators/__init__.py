"""The four estimators of [LE], each a softmax attention over the training set; the linear one."""

from .base import Estimator, Posterior, WeightedAverage
from .linear import LinearMMSE
from .local import LEMMSE, LocalMMSE
from .voters import Voters
from .whole import MMSE, EquivariantMMSE

__all__ = [
    "LEMMSE",
    "MMSE",
    "EquivariantMMSE",
    "Estimator",
    "LinearMMSE",
    "LocalMMSE",
    "Posterior",
    "Voters",
    "WeightedAverage",
]
