"""The trained models that ship with the package.

`names` lists them, `load` loads one, `card` tells how it was made and how well it does. `parse`
reads a name: a `Spec` is what the name of a local network means, a `PhysicsSpec` that of a network
with physics inside, a `VariantSpec` that of a local one with another field. `catalogue` lists the
names that the zoo is meant to hold.
"""

from .base import ModelSpec
from .catalogue import catalogue, matching, parse, unknown
from .physics import PHYSICS_NETWORKS, PhysicsSpec
from .spec import ARCHITECTURES, MANY, REGULARISATION, SIZES, STUDIED, WIDE, Spec
from .store import annotate, card, load, names, rounded, save
from .variants import VARIANTS, VariantSpec

__all__ = [
    "ARCHITECTURES",
    "MANY",
    "PHYSICS_NETWORKS",
    "REGULARISATION",
    "SIZES",
    "STUDIED",
    "VARIANTS",
    "WIDE",
    "ModelSpec",
    "PhysicsSpec",
    "Spec",
    "VariantSpec",
    "annotate",
    "card",
    "catalogue",
    "load",
    "matching",
    "names",
    "parse",
    "rounded",
    "save",
    "unknown",
]
