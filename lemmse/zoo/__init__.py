"""The trained models that ship with the package.

`names` lists them, `load` loads one, `card` tells how it was made and how well it does. A `Spec` is
what a name means; `catalogue` lists the names that the zoo is meant to hold.
"""

from .spec import ARCHITECTURES, REGULARISATION, Spec, catalogue, matching
from .store import annotate, card, load, names, rounded, save

__all__ = [
    "ARCHITECTURES",
    "REGULARISATION",
    "Spec",
    "annotate",
    "card",
    "catalogue",
    "load",
    "matching",
    "names",
    "rounded",
    "save",
]
