"""Networks: local ones with an exact receptive field, and ones made of the operator.

- `PatchMLP`, `ResNet`, `UNet`: every output pixel is the same function of its P x P patch of z.
- `LocalNetwork`, `ResidualBlock`, `Skip`: what they are made of.
- `receptive_field`: what any network sees, measured.
- `field_of`: its field, the argument of its formula, or why it has none.
- `RegularisedInverse`, `SVDNet`: linear in y, their few trained numbers in a known place.
- `UnrolledGradient`, `UnrolledISTA`, `LISTA`, `UnrolledProximal`: algorithms cut off after K steps.
- `FullyLearned`: what the last one is without the operator.
"""

from .base import LocalNetwork, NoiseEmbedding, ResidualBlock, Skip
from .decomposition import Decomposition, decompose
from .field import ReceptiveField, receptive_field
from .local import Chain, PatchMLP, ResNet, UNet
from .measure import MeasuredField, field_of
from .physics import PhysicsNetwork, RegularisedInverse, SpectralNetwork, SVDNet
from .proximal import Corrections, FullyLearned, UnrolledProximal
from .unrolled import LISTA, SteppingNetwork, UnrolledGradient, UnrolledISTA, UnrolledNetwork
from .wavelet import haar, inverse_haar

__all__ = [
    "Chain",
    "LISTA",
    "Corrections",
    "Decomposition",
    "FullyLearned",
    "LocalNetwork",
    "MeasuredField",
    "NoiseEmbedding",
    "PatchMLP",
    "PhysicsNetwork",
    "ReceptiveField",
    "RegularisedInverse",
    "ResNet",
    "ResidualBlock",
    "SVDNet",
    "Skip",
    "SpectralNetwork",
    "SteppingNetwork",
    "UNet",
    "UnrolledGradient",
    "UnrolledISTA",
    "UnrolledNetwork",
    "UnrolledProximal",
    "decompose",
    "field_of",
    "haar",
    "inverse_haar",
    "receptive_field",
]
