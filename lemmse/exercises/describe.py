"""Values in words: what a reader's function was given, what it returned, how it differs."""

import numbers
from collections.abc import Mapping, Sequence

import numpy as np
import torch

_SHOWN = 16  # tensors up to this size are printed in full, lists up to this length
_DEPTH = 4  # lists inside lists


def describe(value, depth: int = _DEPTH) -> str:
    """A value in one line; large tensors by their shape and range."""
    tensor = _plain(value) if torch.is_tensor(value) or isinstance(value, np.ndarray) else None
    if tensor is not None:
        return _describe_tensor(tensor)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping | list | tuple) and depth == 0:
        return "..."
    if isinstance(value, Mapping):
        items = [f"{key}: {describe(item, depth - 1)}" for key, item in value.items()]
        return "{" + _joined(items) + "}"
    if isinstance(value, list | tuple):
        return "(" + _joined([describe(item, depth - 1) for item in value]) + ")"
    try:
        text = repr(value)
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _joined(items: list[str]) -> str:
    return ", ".join([*items[:_SHOWN], "..."] if len(items) > _SHOWN else items)


def describe_arguments(arguments: Mapping) -> str:
    """All arguments of a call, one a line."""
    return "\n".join(f"{name} = {describe(value)}" for name, value in arguments.items())


def difference(result, expected, tolerance: float) -> str | None:
    """What distinguishes a result from the expected one, in words; None if nothing does.

    Numbers may differ by tolerance * max(1, largest absolute expected value).
    """
    if isinstance(expected, str):
        wrong = _wrong_type(result, expected)
        return wrong or (None if result == expected else _two(result, expected))
    if isinstance(expected, Mapping):
        return _mapping_difference(result, expected, tolerance)
    if isinstance(expected, list | tuple):
        return _sequence_difference(result, expected, tolerance)
    wrong = wrong_kind(result, expected)
    return wrong or _number_difference(_tensor(result), _tensor(expected), tolerance)


def wrong_kind(result, expected) -> str | None:
    """What is wrong with the type, the number, the shape or the finiteness of a result's values.

    Whether the values of a list are finite is left to the properties, which can say why.
    """
    wrong = _wrong_form(result, expected)
    if wrong or isinstance(expected, str | Mapping | list | tuple):
        return wrong
    actual, target = _tensor(result), _tensor(expected)
    broken = int((~actual.isfinite()).sum()) if bool(target.isfinite().all()) else 0
    if broken:
        return f"it returned NaN or infinity in {broken} of {actual.numel()} places"
    return None


def in_form_of(result, expected):
    """A result whose numbers are tensors, or numbers, where those of the expected one are.

    A reader may answer with arrays, tensors of one element, other precisions or gradients. What is
    of another kind stays as it is.

    Example:
        >>> in_form_of((np.ones(2), np.float64(3)), (torch.zeros(2), 0.5))
        (tensor([1., 1.]), 3.0)
    """
    try:
        wrong = _wrong_form(result, expected)
    except Exception:  # an object that refuses every question
        return result
    if wrong or isinstance(expected, str | Mapping):
        return result
    if isinstance(expected, list | tuple):
        return type(expected)(in_form_of(r, e) for r, e in zip(result, expected, strict=True))
    values = _tensor(result)
    if not torch.is_tensor(expected):
        return values.item() if isinstance(expected, numbers.Number) else values.numpy()
    cast = values.to(expected.dtype)
    # Not 2.7 to 2: what is lost there would make a wrong answer right.
    inexact = expected.is_floating_point() or expected.is_complex()
    return cast if inexact or torch.equal(cast.to(values.dtype), values) else values


def _wrong_form(result, expected) -> str | None:
    """What is wrong with the type, the number or the shape of a result's values."""
    if isinstance(expected, list | tuple):
        return _wrong_type(result, expected) or _wrong_items(result, expected)
    if isinstance(expected, str | Mapping):
        return _wrong_type(result, expected)
    actual = _tensor(result)
    if actual is None:
        return f"it returned a {type(result).__name__}; expected {_kind(expected)}"
    target = _tensor(expected)
    if actual.shape != target.shape:
        return f"it returned {_kind(result)}; expected {_kind(expected)}"
    if actual.is_complex() and not target.is_complex():
        return "it returned complex numbers; expected real ones"
    return None


def _wrong_type(result, expected) -> str | None:
    if isinstance(expected, str):
        right = isinstance(result, str)
    elif isinstance(expected, Mapping):
        right = isinstance(result, Mapping)
    else:
        right = isinstance(result, Sequence) and not isinstance(result, str)
    if right:
        return None
    return f"it returned a {type(result).__name__}; expected a {type(expected).__name__}"


def _wrong_items(result, expected: Sequence) -> str | None:
    """What is wrong with the kinds of several values; None if nothing is."""
    if len(result) != len(expected):
        return f"it returned {len(result)} values; expected {len(expected)}"
    for i, (value, target) in enumerate(zip(result, expected, strict=True)):
        wrong = _wrong_form(value, target)
        if wrong:
            return f"in the {_ordinal(i + 1)} of its values, {wrong}"
    return None


def _mapping_difference(result, expected: Mapping, tolerance: float) -> str | None:
    wrong = wrong_kind(result, expected)
    if wrong or set(result) != set(expected):
        return wrong or f"it returned the keys {list(result)}; expected {list(expected)}"
    for key, value in expected.items():
        found = difference(result[key], value, tolerance)
        if found:
            return f"at the key {key!r}, {found}"
    return None


def _sequence_difference(result, expected: Sequence, tolerance: float) -> str | None:
    wrong = wrong_kind(result, expected)
    if wrong:
        return wrong
    for i, (value, target) in enumerate(zip(result, expected, strict=True)):
        found = difference(value, target, tolerance)
        if found:
            return f"in the {_ordinal(i + 1)} of its values, {found}"
    return None


def _number_difference(result, expected, tolerance: float) -> str | None:
    if expected.numel() == 0:
        return None
    common = torch.promote_types(result.dtype, expected.dtype)
    same = (result == expected) | (result.isnan() & expected.isnan())
    error = (result.to(common) - expected.to(common)).abs().masked_fill(same, 0.0)
    finite = expected.abs()[expected.isfinite()]
    scale = max(1.0, float(finite.max()) if finite.numel() else 1.0)
    if bool((error <= tolerance * scale).all()):
        return None
    worst = int(error.nan_to_num(nan=torch.inf).argmax())
    found, target = result.flatten()[worst], expected.flatten()[worst]
    if expected.ndim == 0:
        return _two(found.item(), target.item())
    index = tuple(int(i) for i in np.unravel_index(worst, expected.shape))
    return f"the largest difference is at index {index}: {_two(found.item(), target.item())}"


def _two(result, expected) -> str:
    return f"it returned {describe(result)}; expected {describe(expected)}"


def _tensor(value) -> torch.Tensor | None:
    """A float64 (or complex128) CPU tensor, or None if the value is neither number nor array."""
    if isinstance(value, numbers.Number):
        value = _number(value)
    value = _plain(value)
    if value is None:
        return None
    return value.to(torch.complex128 if value.is_complex() else torch.float64)


def _number(value: numbers.Number) -> torch.Tensor:
    """Any kind of number as a tensor; infinity if it is too large."""
    real = isinstance(value, numbers.Real) or not isinstance(value, numbers.Complex)
    try:
        return torch.tensor(float(value), dtype=torch.float64) if real else torch.tensor(value)
    except OverflowError:
        return torch.tensor(torch.inf)


def _plain(value) -> torch.Tensor | None:
    """The numbers of a tensor or an array on the CPU, dense; None if there are none to be had."""
    if isinstance(value, np.ndarray | np.generic):
        try:
            value = torch.as_tensor(value)
        except TypeError:
            return None
    if not torch.is_tensor(value) or value.is_meta:
        return None
    return value.detach().to_dense().cpu().resolve_conj()


def _kind(value) -> str:
    shape = tuple(_tensor(value).shape)
    return f"a tensor of shape {shape}" if shape else "a single number"


def _describe_tensor(tensor: torch.Tensor) -> str:
    if tensor.ndim == 0:
        return describe(tensor.item())
    if 0 < tensor.numel() <= _SHOWN:
        rounded = np.array2string(
            tensor.numpy(),
            separator=", ",
            formatter={"float_kind": lambda v: f"{v:.3g}", "complex_kind": lambda v: f"{v:.3g}"},
        )
        return " ".join(rounded.split())
    text = f"a tensor of shape {tuple(tensor.shape)}, {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.numel() == 0 or tensor.is_complex():
        return text
    return f"{text}, values from {tensor.min().item():.3g} to {tensor.max().item():.3g}"


def _ordinal(number: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")
