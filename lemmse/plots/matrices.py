"""Heat maps of kernels, covariances, spectra and matrices."""

import torch
from matplotlib.colors import LogNorm

from lemmse.plots.style import panels


def heat_map(
    matrix,
    title=None,
    xlabel="column",
    ylabel="row",
    label="value",
    limits=None,
    log=False,
    ax=None,
):
    """A matrix as a picture with a colour bar.

    Values of both signs are shown on a diverging map with white at 0 and symmetric limits, values
    of one sign on a sequential map (viridis).

    Args:
        matrix: (H, W).
        title, xlabel, ylabel: texts.
        label: what the values are, with their unit; stands at the colour bar.
        limits: (low, high) of the colours; by default from the values.
        log: logarithmic colours; all values must be positive.
        ax: axes to draw into; by default a new figure.

    Returns:
        matplotlib.figure.Figure

    Raises:
        ValueError: not two-dimensional and real, NaN or infinite values, low >= high, or values
            <= 0 with log.

    Example:
        >>> figure = heat_map(torch.eye(5), title="identity", label="weight")
    """
    values = _values(matrix)
    low, high = _colour_limits(values, limits)
    signed = low < 0 < high
    if log and low <= 0:
        raise ValueError(f"log: expected values > 0 (and limits), the smallest is {low:.3g}")
    if ax is None:
        _, ax = panels(width=4.6, height=3.6)
    cmap = "RdBu_r" if signed else "viridis"
    scale = {"norm": LogNorm(low, high)} if log else {"vmin": low, "vmax": high}
    shown = ax.imshow(values.numpy(), cmap=cmap, interpolation="nearest", **scale)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if title is not None:
        ax.set_title(title)
    ax.grid(False)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.yaxis.get_major_locator().set_params(integer=True)
    bar = ax.figure.colorbar(shown, ax=ax, shrink=0.9)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return ax.figure


def _values(matrix) -> torch.Tensor:
    values = torch.as_tensor(matrix).detach().cpu()
    if values.ndim != 2 or values.numel() == 0:
        raise ValueError(f"expected a matrix (H, W), got shape {tuple(values.shape)}")
    if values.is_complex():
        raise ValueError(f"expected real values, got {values.dtype}; show its abs() or .real")
    values = values.double()
    if not values.isfinite().all():
        raise ValueError("expected finite values, got NaN or infinity")
    return values


def _colour_limits(values: torch.Tensor, limits) -> tuple[float, float]:
    if limits is not None:
        low, high = (float(value) for value in limits)
        if not low < high:
            raise ValueError(f"limits: expected low < high, got ({low}, {high})")
        return low, high
    low, high = values.min().item(), values.max().item()
    if low < 0 < high:
        largest = max(-low, high)
        return -largest, largest
    return (low, high) if low < high else (low, low + 1.0)
