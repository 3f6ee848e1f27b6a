"""All names of the zoo, of local networks and of those with physics inside."""

from __future__ import annotations

import difflib
from fnmatch import fnmatch

from .base import ModelSpec
from .physics import PhysicsSpec, physics_catalogue
from .spec import Spec, local_catalogue

KINDS: tuple[type[ModelSpec], ...] = (Spec, PhysicsSpec)


def parse(name: str) -> ModelSpec:
    """What a name means, whichever kind of network it is of.

    Raises:
        ValueError: the name has neither the form of `Spec` nor that of `PhysicsSpec`.

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
    raise ValueError(f"model: expected a name of the form {forms}, got {name!r}")


def catalogue(kind: type[ModelSpec] | None = None) -> list[str]:
    """The names of the models that the zoo is meant to hold, the most important ones first.

    Args:
        kind: `Spec`, only local networks; `PhysicsSpec`, only those with physics inside; None: all.

    Example:
        >>> len(catalogue(Spec)) + len(catalogue(PhysicsSpec)) == len(catalogue())
        True
    """
    every = [*local_catalogue(), *physics_catalogue()]
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


def unknown(name: str, names: list[str], what: str = "model") -> str:
    """The message about a name that does not exist: the nearest ones, or all.

    Example:
        >>> unknown("photo/x", ["photos/x"])
        "model: there is no 'photo/x'; the nearest names: photos/x"
    """
    near = difflib.get_close_matches(str(name), names, n=5, cutoff=0.6)
    if near:
        return f"{what}: there is no {name!r}; the nearest names: {', '.join(near)}"
    return f"{what}: there is no {name!r}; there are {', '.join(names) or 'none at all'}"
