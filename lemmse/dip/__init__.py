"""Deep inverse priors: networks fitted to one measurement, without a training set.

Everything runs as a batch of many networks at once. The theory is that of arXiv 2403.05395, for
the squared error and with the constants that chapter 26 of the book proves.
"""

from .activations import ACTIVATIONS, Activation
from .convolutional import ConvolutionalPrior
from .descent import Descent, descend, flow
from .network import Network
from .problems import random_problem
from .statistics import wilson
from .stopping import Discrepancy, LossThreshold, Rule, TheoremTime
from .theory import Constants, constants
from .two_layer import TwoLayer

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Constants",
    "ConvolutionalPrior",
    "Descent",
    "Discrepancy",
    "LossThreshold",
    "Network",
    "Rule",
    "TheoremTime",
    "TwoLayer",
    "constants",
    "descend",
    "flow",
    "random_problem",
    "wilson",
]
