"""One training loop for every network of the project."""

from .loop import Probe, train
from .loss import SIGMA_MIN, loss, random_crops, sample_sigma
from .problem import Problem
from .settings import History, Settings

__all__ = [
    "SIGMA_MIN",
    "History",
    "Probe",
    "Problem",
    "Settings",
    "loss",
    "random_crops",
    "sample_sigma",
    "train",
]
