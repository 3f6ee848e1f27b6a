"""Smooth activations with bounded first and second derivatives, and the bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class Activation:
    """A function phi of one variable, its derivative, and bounds that hold everywhere.

    Attributes:
        name: what to call it.
        value: phi, elementwise.
        slope: phi', elementwise.
        curvature: phi'', elementwise.
        max_slope: the supremum of abs(phi').
        max_curvature: the supremum of abs(phi'').
    """

    name: str
    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    curvature: Callable[[Tensor], Tensor]
    max_slope: float
    max_curvature: float


def _sigmoid_slope(h: Tensor) -> Tensor:
    s = torch.sigmoid(h)
    return s * (1 - s)


def _sigmoid_curvature(h: Tensor) -> Tensor:
    s = torch.sigmoid(h)
    return s * (1 - s) * (1 - 2 * s)


def _tanh_slope(h: Tensor) -> Tensor:
    return 1 - torch.tanh(h).square()


def _tanh_curvature(h: Tensor) -> Tensor:
    t = torch.tanh(h)
    return -2 * t * (1 - t.square())


ACTIVATIONS = {
    "softplus": Activation("softplus", softplus, torch.sigmoid, _sigmoid_slope, 1.0, 0.25),
    "sigmoid": Activation(
        "sigmoid", torch.sigmoid, _sigmoid_slope, _sigmoid_curvature, 0.25, 3**0.5 / 18
    ),
    "tanh": Activation("tanh", torch.tanh, _tanh_slope, _tanh_curvature, 1.0, 4 * 3**0.5 / 9),
    "sine": Activation("sine", torch.sin, torch.cos, lambda h: -torch.sin(h), 1.0, 1.0),
}
"""The activations by name; all have bounded derivatives of every order."""


def activation(name: str | Activation) -> Activation:
    """An activation by its name; an `Activation` is returned as it is.

    Raises:
        ValueError: there is no activation of that name.

    Example:
        >>> activation("tanh").slope(torch.zeros(1)).item()
        1.0
    """
    if isinstance(name, Activation):
        return name
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]
