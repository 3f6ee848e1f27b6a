"""Networks with an exact receptive field, and what measures it.

- `PatchMLP`, `ResNet`, `UNet`: every output pixel is the same function of its P x P patch of z.
- `LocalNetwork`, `ResidualBlock`, `Skip`: what they are made of.
- `receptive_field`: what any network sees, measured.
"""

from .base import LocalNetwork, NoiseEmbedding, ResidualBlock, Skip
from .field import ReceptiveField, receptive_field
from .local import PatchMLP, ResNet, UNet

__all__ = [
    "LocalNetwork",
    "NoiseEmbedding",
    "PatchMLP",
    "ReceptiveField",
    "ResNet",
    "ResidualBlock",
    "Skip",
    "UNet",
    "receptive_field",
]
