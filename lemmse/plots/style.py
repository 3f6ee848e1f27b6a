"""One look for all figures, and one colour, marker and line style for each method."""

import matplotlib
from matplotlib.figure import Figure

# Found by a random search: the smallest CIELAB distance between two of these colours is 23 as seen
# with normal vision, protanopia, deuteranopia or tritanopia (Machado et al. 2009), and each has a
# contrast of at least 3 : 1 against white. tests/plots/test_plots.py measures both again.
_METHODS = {
    "truth": ("#1A1A1A", "none", "-"),
    "measurement": ("#7F7F7F", ".", ":"),
    "MMSE": ("#8E2000", "s", "-"),
    "E-MMSE": ("#E07609", "^", "-"),
    "L-MMSE": ("#30A258", "v", "-"),
    "LE-MMSE": ("#0060A8", "o", "-"),
    "Tikhonov": ("#6F0F5A", "x", "-."),
    "Wiener": ("#7A5A5A", "+", "-."),
    "UNet": ("#C974A9", "D", ":"),
    "ResNet": ("#23048B", "P", ":"),
    "PatchMLP": ("#8159EC", "*", ":"),
}
_WITH_PREINVERSE = ("E-MMSE", "L-MMSE", "LE-MMSE", "UNet", "ResNet", "PatchMLP")
_LONG_DASH, _SHORT_DASH = (0, (6, 2)), (0, (1, 1, 4, 1))


class _ByName(dict):
    """A dictionary whose missing keys say which names there are."""

    def __missing__(self, name: str):
        raise ValueError(f"expected one of the names {', '.join(self)}; got {name!r}")


def _styles() -> _ByName:
    """Line properties of every method; the agnostic variant is dashed with hollow markers."""
    styles = _ByName()
    for name, (color, marker, line) in _METHODS.items():
        styles[name] = {"color": color, "marker": marker, "linestyle": line}
    for name in _WITH_PREINVERSE:
        plain = styles[name]
        dash = _LONG_DASH if plain["linestyle"] == "-" else _SHORT_DASH
        styles[f"{name} aware"] = dict(plain)
        styles[f"{name} agnostic"] = {**plain, "linestyle": dash, "markerfacecolor": "white"}
    return styles


STYLES = _styles()
"""Method name -> keyword arguments of ``Axes.plot``: ``axes.plot(x, y, **STYLES["LE-MMSE"])``."""

COLORS = _ByName({name: style["color"] for name, style in STYLES.items()})
"""Method name -> colour."""

_CYCLE = [_METHODS[name][0] for name in _METHODS if name not in ("truth", "measurement")]

_RC = {
    "figure.figsize": (5.6, 3.5),
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": "medium",
    "axes.labelsize": "medium",
    "axes.facecolor": "white",
    "axes.edgecolor": "#4D4D4D",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": matplotlib.cycler(color=_CYCLE),
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "xtick.color": "#4D4D4D",
    "ytick.color": "#4D4D4D",
    "xtick.labelcolor": "#1A1A1A",
    "ytick.labelcolor": "#1A1A1A",
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "text.color": "#1A1A1A",
    "axes.labelcolor": "#1A1A1A",
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "legend.handlelength": 2.8,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}


def use_style() -> None:
    """Set the book's figure style: quiet, sans-serif, readable in print and on a phone.

    In a notebook, figures are shown as PNG at twice the screen's resolution.

    Example:
        >>> from lemmse import plots
        >>> plots.use_style()
    """
    matplotlib.rcParams.update(_RC)
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None and hasattr(shell, "kernel"):
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


def panels(rows: int = 1, columns: int = 1, width: float = 5.6, height: float = 3.5):
    """A figure with ``rows`` x ``columns`` axes; ``width`` and ``height`` in inches.

    The figure is not registered with pyplot: it is shown when it is the last expression of a
    cell, exactly once, and needs no closing.

    Returns:
        (figure, axes): axes is one Axes if there is one, else a numpy array of them.

    Raises:
        ValueError: rows, columns, width or height is not positive.

    Example:
        >>> figure, (left, right) = panels(1, 2)
    """
    if min(rows, columns, width, height) <= 0:
        raise ValueError(
            "expected positive rows, columns, width and height; "
            f"got {rows}, {columns}, {width}, {height}"
        )
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)
