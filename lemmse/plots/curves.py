"""Curves with the method's colour, marker and line style."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lemmse.plots.style import COLORS, STYLES, panels

_OTHER_COLORS = [COLORS[name] for name in ("LE-MMSE", "E-MMSE", "L-MMSE", "MMSE", "PatchMLP")]
_OTHER_MARKERS = ["o", "^", "v", "s", "*", "D", "P"]
_OTHER_LINES = ["-", "--", "-.", ":"]


def curves(x, ys, xlabel, ylabel, log="", bands=None, title=None, ax=None):
    """Curves over a common x, styled by name, with a legend.

    Args:
        x: (n,) values.
        ys: mapping name -> (n,) values. A name in ``STYLES`` gets that method's style; any other
            name gets one of its own, distinct in marker and line as well as in colour.
        xlabel, ylabel: texts with units.
        log: "", "x", "y" or "xy": the logarithmic axes.
        bands: mapping name -> (low, high), two (n,) values: shaded behind the curve of that name.
        title: a text.
        ax: axes to draw into; by default a new figure.

    Returns:
        matplotlib.figure.Figure

    Raises:
        ValueError: lengths that differ, NaN or infinite values, values <= 0 on a logarithmic axis,
            a band without its curve, an empty label, or a misspelt method name.

    Example:
        >>> figure = curves([0.1, 0.2], {"LE-MMSE": [30.0, 27.0]}, "noise level σ", "PSNR (dB)")
    """
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log: expected '', 'x', 'y' or 'xy', got {log!r}")
    if not xlabel or not ylabel:
        raise ValueError(f"expected labels for both axes, got {xlabel!r} and {ylabel!r}")
    if not isinstance(ys, Mapping) or not ys:
        raise ValueError(f"expected a mapping name -> values, got {ys!r}")
    unknown = set(bands or ()) - set(ys)
    if unknown:
        raise ValueError(f"bands: expected names among {list(ys)}, got {sorted(unknown)}")
    abscissa = _values("x", x, None, positive="x" in log)
    positive = "y" in log
    lines = {name: _values(name, y, len(abscissa), positive) for name, y in ys.items()}
    styles = _line_styles(lines)

    own = ax is None
    if own:
        _, ax = panels()
    for name, (low, high) in (bands or {}).items():
        edges = [_values(f"band of {name}", e, len(abscissa), positive) for e in (low, high)]
        ax.fill_between(abscissa, *edges, color=styles[name]["color"], alpha=0.15, linewidth=0)
    for name, y in lines.items():
        ax.plot(abscissa, y, label=name, **styles[name])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if "x" in log:
        ax.set_xscale("log")
        _tick_at(ax.xaxis, abscissa)
    if "y" in log:
        ax.set_yscale("log")
    if title is not None:
        ax.set_title(title)
    if len(lines) > 1:
        _legend(ax, lines, own)
    return ax.figure


def _values(name: str, values, length: int | None, positive: bool):
    """A (length,) float64 array, checked."""
    if isinstance(values, list | tuple):
        values = [float(value) for value in values]
    values = torch.as_tensor(values).detach().cpu().double()
    if values.ndim != 1 or values.numel() == 0 or length not in (None, len(values)):
        expected = "n" if length is None else length
        raise ValueError(f"{name}: expected shape ({expected},), got {tuple(values.shape)}")
    if not values.isfinite().all():
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    if positive and values.min() <= 0:
        raise ValueError(f"{name}: expected values > 0 on a logarithmic axis, got {values.min()}")
    return values.numpy()


def _line_styles(names) -> dict:
    """The style of every name; names that are no method take the next of a cycle."""
    known = {_plain(name): name for name in STYLES}
    styles, others = {}, 0
    for name in names:
        if name in STYLES:
            styles[name] = STYLES[name]
        elif _plain(name) in known:
            raise ValueError(f"expected the method name {known[_plain(name)]!r}, got {name!r}")
        else:
            styles[name] = {
                "color": _OTHER_COLORS[others % len(_OTHER_COLORS)],
                "marker": _OTHER_MARKERS[others % len(_OTHER_MARKERS)],
                "linestyle": _OTHER_LINES[others % len(_OTHER_LINES)],
            }
            others += 1
    return styles


def _tick_at(axis, values) -> None:
    """Ticks at the values themselves where a logarithmic axis has room for them."""
    values = np.unique(values)
    steps = np.diff(np.log(values))
    if 2 <= len(values) <= 8 and steps.min() >= 0.07 * steps.sum():
        axis.set_major_locator(FixedLocator(values))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace(" ", "").replace("_", "")


def _legend(ax, names, own: bool) -> None:
    """Above the axes of a figure of our own, where it hides nothing; else inside the axes."""
    if own:
        columns = 2 if max(map(len, names)) > 12 else 3
        ax.figure.legend(loc="outside upper center", ncols=min(len(names), columns))
    else:
        ax.legend()
