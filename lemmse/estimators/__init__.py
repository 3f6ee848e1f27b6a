"""The four estimators of [LE]: exact, and all one softmax attention over the training set."""

from .base import Estimator, Posterior
from .local import LEMMSE, LocalMMSE
from .voters import Voters
from .whole import MMSE, EquivariantMMSE

__all__ = ["LEMMSE", "MMSE", "EquivariantMMSE", "Estimator", "LocalMMSE", "Posterior", "Voters"]
