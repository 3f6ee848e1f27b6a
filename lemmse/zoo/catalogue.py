"""All names of the zoo: of local networks, their variants, and those with physics inside."""

from __future__ import annotations

import difflib
import reprlib
from fnmatch import fnmatch

from .base import ModelSpec
from .physics import PhysicsSpec, physics_catalogue
from .spec import Spec, local_catalogue
from .variants import VariantSpec, variant_catalogue

KINDS: tuple[type[ModelSpec], ...] = (VariantSpec, Spec, PhysicsSpec)
"""The first of them whose pattern a name has tells what it means."""

FEW, MANY = 5, 20
"""How many of the nearest names a message tells, and up to how many it tells all."""

_short = reprlib.Repr()
_short.maxstring = 80  # names of models are longer than the 30 letters it leaves by itself


def parse(name: str) -> ModelSpec:
    """What a name means, whichever kind of network it is of.

    Raises:
        ValueError: the name has neither the form of `Spec` nor of `PhysicsSpec` or `VariantSpec`.

    Example:
        >>> parse("photos-grey/blur/unet-p5-aware").patch_size
        5
        >>> parse("photos-grey/blur/ista-k10").layers
        10
    """
    for kind in KINDS:
        if isinstance(name, str) and kind.PATTERN.fullmatch(name):
            return kind.parse(name)
    forms = " or ".join(kind.FORM for kind in KINDS)
    raise ValueError(f"model: expected a name of the form {forms}, got {_short.repr(name)}")


def catalogue(kind: type[ModelSpec] | None = None) -> list[str]:
    """The names of the models that the zoo is meant to hold, the most important ones first.

    Args:
        kind: `Spec`, only local networks; `PhysicsSpec`, only those with physics inside;
            `VariantSpec`, only local ones of other fields; None: all.

    Example:
        >>> sum(len(catalogue(kind)) for kind in KINDS) == len(catalogue())
        True
    """
    every = [*local_catalogue(), *physics_catalogue(), *variant_catalogue()]
    return [spec.name for spec in every if kind is None or isinstance(spec, kind)]


def matching(patterns: list[str], names: list[str]) -> list[str]:
    """The names that match one of the patterns (as in a shell: ``photos/*``), in their order.

    Raises:
        ValueError: a pattern matches nothing.

    Example:
        >>> matching(["a/*"], ["a/x", "b/x"])
        ['a/x']
    """
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise ValueError(unknown(pattern, names))
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def unknown(name: object, names: list[str], what: str = "model") -> str:
    """The message about a name that does not exist: the nearest ones, or all if they are few.

    Args:
        name: what came.
        names: those that there are.
        what: what they are names of.

    Example:
        >>> unknown("photo/x", ["photos/x"])
        "model: there is no 'photo/x'; the nearest names: photos/x"
    """
    near = difflib.get_close_matches(_short.repr(name), names, n=FEW, cutoff=0.6)
    if near:
        known = f"the nearest names: {', '.join(near)}"
    elif len(names) <= MANY:
        known = f"there are {', '.join(names) or 'none at all'}"
    else:
        known = f"there are {len(names)}, as {names[0]}; `python -m lemmse models` lists them"
    return f"{what}: there is no {_short.repr(name)}; {known}"
