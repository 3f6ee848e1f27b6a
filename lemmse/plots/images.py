"""Grids of images and maps of signed errors."""

import math
from collections.abc import Mapping

import torch
from matplotlib.figure import Figure

_GREY_NOTE = "#4D4D4D"
_EXACT = 1e-12  # a mean squared error (120 dB) that is no more than float32's rounding


def show_images(rows, titles=None, row_labels=None, psnr_to=None, limits=(0.0, 1.0), size=1.25):
    """A grid of images, nearest-neighbour, with a fixed grey scale and PSNR if wanted.

    PSNR = -10 log10(mean (image - truth)^2) in dB, for the data range 1.

    Args:
        rows: a tensor (C, H, W) or (B, C, H, W) is one row of images, and so is a list of tensors
            (C, H, W); a list of (B, C, H, W) or of lists has a row for each entry (None leaves a
            cell empty); a mapping name -> (B, C, H, W) has a titled column for each name and a row
            for each image.
        titles: one title a column.
        row_labels: one label a row.
        psnr_to: the truth, arranged like ``rows``; a single row or column of it is repeated. With a
            mapping in ``rows``, a tensor (B, C, H, W) is one truth a row. The PSNR against it is
            written under every image; "exact" where it is 120 dB or more, no more than rounding,
            and so under the truth itself.
        limits: values shown as black and white, (low, high), or "auto" for the smallest and
            largest value. Anything but (0, 1) is noted under the figure, with a colour bar
            for grey images.
        size: height of an image in inches.

    Returns:
        matplotlib.figure.Figure

    Raises:
        ValueError: wrong rank, 1 or 3 channels missing, NaN or infinite values, ragged rows, or
            titles, labels or truths that do not match the grid.

    Example:
        >>> x = torch.rand(3, 1, 8, 8)
        >>> figure = show_images({"truth": x, "half": x / 2}, psnr_to=x)
    """
    by_column = isinstance(rows, Mapping)
    if by_column:
        titles = list(rows) if titles is None else titles
    grid = _grid(rows)
    height, width = len(grid), len(grid[0])
    _check_count("titles", titles, width, "column")
    _check_count("row_labels", row_labels, height, "row")
    truths = _truths(psnr_to, by_column, height, width)
    low, high = _limits(limits, grid)

    figure, axes = _image_axes(grid, size, bottom=0.3 if psnr_to is not None else 0.0)
    shown = None
    for i, row in enumerate(grid):
        for j, image in enumerate(row):
            if image is None:
                axes[i, j].set_axis_off()
                continue
            shown = _draw(axes[i, j], image, low, high)
            if truths is not None and truths[i][j] is not None:
                axes[i, j].set_xlabel(_psnr_text(image, truths[i][j]), fontsize="small")
    _annotate(axes, titles, row_labels)
    if (low, high) != (0.0, 1.0):
        _note_limits(figure, axes, shown, low, high, grid)
    return figure


def error_map(estimate, truth, limit=None, titles=None, unit="intensity, range 1", size=1.6):
    """Signed error estimate - truth as a row of maps with one colour bar.

    Red is too bright, blue too dark, white exact. Colour images: the mean over channels.

    Args:
        estimate, truth: (C, H, W) or (B, C, H, W).
        limit: the colours span [-limit, limit]; by default the largest absolute error.
        titles: one title a map.
        unit: the unit written on the colour bar.
        size: height of a map in inches.

    Returns:
        matplotlib.figure.Figure

    Raises:
        ValueError: shapes that differ, NaN or infinite values, or limit <= 0.

    Example:
        >>> figure = error_map(torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), limit=0.5)
    """
    estimates, truths = _row(estimate), _row(truth)
    shapes = [tuple(image.shape) for image in estimates], [tuple(image.shape) for image in truths]
    if shapes[0] != shapes[1]:
        raise ValueError(f"expected estimate and truth of one shape, got {shapes[0]}, {shapes[1]}")
    _check_count("titles", titles, len(estimates), "map")
    errors = [(a - b).mean(0) for a, b in zip(estimates, truths, strict=True)]
    if limit is None:
        limit = max(error.abs().max().item() for error in errors) or 1.0
    if not limit > 0:
        raise ValueError(f"expected limit > 0, got {limit}")

    figure, axes = _image_axes([estimates], size)
    for ax, error in zip(axes[0], errors, strict=True):
        shown = ax.imshow(error.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    _annotate(axes, titles, None)
    label = "estimate \N{MINUS SIGN} truth"
    if estimates[0].shape[0] > 1:
        label += "\nmean over channels"
    bar = figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.02, extend=_extend(errors, limit))
    bar.set_label(f"{label}\n({unit})", fontsize="small")
    bar.ax.tick_params(labelsize="small")
    bar.outline.set_visible(False)
    return figure


def as_image(image, where: str = "image") -> torch.Tensor:
    """A (C, H, W) float64 CPU tensor with 1 or 3 finite channels, from (H, W) or (C, H, W).

    Raises:
        ValueError: anything else; ``where`` names the image in the message.
    """
    image = torch.as_tensor(image).detach().cpu()
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise ValueError(
            f"{where}: expected a shape (C, H, W) with C = 1 or 3, got {tuple(image.shape)}"
        )
    if image.is_complex():
        raise ValueError(f"{where}: expected real values, got {image.dtype}; show its abs()")
    image = image.double()
    if not image.isfinite().all():
        raise ValueError(f"{where}: expected finite values, got NaN or infinity")
    return image


def _row(row) -> list:
    """The images of one row: from (C, H, W), (B, C, H, W), or a list of images and None."""
    if torch.is_tensor(row) or hasattr(row, "__array__"):
        row = torch.as_tensor(row)
        if row.ndim not in (3, 4):
            raise ValueError(f"expected (C, H, W) or (B, C, H, W), got shape {tuple(row.shape)}")
        row = [row] if row.ndim == 3 else list(row)
    if not isinstance(row, list | tuple) or not row:
        raise ValueError(f"expected a row of images, got {_describe(row)}")
    return [None if x is None else as_image(x, f"image {i}") for i, x in enumerate(row)]


def _describe(value) -> str:
    return "an empty one" if hasattr(value, "__len__") and not len(value) else type(value).__name__


def _grid(rows) -> list[list]:
    """Rows of (C, H, W) images, all rows of one length."""
    if isinstance(rows, Mapping):
        columns = [_row(column) for column in rows.values()]
        lengths = {name: len(column) for name, column in zip(rows, columns, strict=True)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"expected as many images for every name, got {lengths or 'none'}")
        return [list(row) for row in zip(*columns, strict=True)]
    if isinstance(rows, list | tuple) and rows:
        flat = all(x is None or (hasattr(x, "ndim") and x.ndim < 4) for x in rows)
        grid = [_row(rows)] if flat else [_row(row) for row in rows]
    else:
        grid = [_row(rows)]
    lengths = [len(row) for row in grid]
    if len(set(lengths)) != 1:
        raise ValueError(f"expected rows of one length (None for an empty cell), got {lengths}")
    if all(image is None for row in grid for image in row):
        raise ValueError("expected at least one image, got only empty cells")
    return grid


def _truths(psnr_to, by_column: bool, height: int, width: int):
    """The truth of every cell, a single row or column being repeated."""
    if psnr_to is None:
        return None
    grid = _grid(psnr_to)
    if by_column and not isinstance(psnr_to, Mapping) and len(grid) == 1:
        grid = [[image] for image in grid[0]]
    shape = (len(grid), len(grid[0]))
    if shape[0] not in (1, height) or shape[1] not in (1, width):
        raise ValueError(
            f"psnr_to: expected {height} x {width} images, one row or one column of them, "
            f"got {shape[0]} x {shape[1]}"
        )
    return [[grid[i % shape[0]][j % shape[1]] for j in range(width)] for i in range(height)]


def _check_count(what: str, names, count: int, unit: str) -> None:
    if names is not None and (isinstance(names, str) or len(names) != count):
        raise ValueError(f"{what}: expected one a {unit}, {count} in all, got {names!r}")


def _limits(limits, grid) -> tuple[float, float]:
    if isinstance(limits, str):
        if limits != "auto":
            raise ValueError(f"limits: expected (low, high) or 'auto', got {limits!r}")
        images = [image for row in grid for image in row if image is not None]
        low, high = min(x.min().item() for x in images), max(x.max().item() for x in images)
        return low, high if high > low else low + 1.0
    low, high = (float(value) for value in limits)
    if not low < high:
        raise ValueError(f"limits: expected low < high, got ({low}, {high})")
    return low, high


def _image_axes(grid, size: float, bottom: float = 0.0):
    """A figure whose axes have the images' aspect; ``bottom``: inches of text below each."""
    if not size > 0:
        raise ValueError(f"size: expected a height in inches > 0, got {size}")
    first = next(image for row in grid for image in row if image is not None)
    aspect = first.shape[2] / first.shape[1]
    width = max(len(grid[0]) * (size * aspect + 0.1) + 0.4, 2.4)
    figure = Figure(figsize=(width, len(grid) * (size + bottom + 0.08) + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    axes = figure.subplots(len(grid), len(grid[0]), squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return figure, axes


def _draw(ax, image: torch.Tensor, low: float, high: float):
    if image.shape[0] == 1:
        return ax.imshow(image[0].numpy(), cmap="gray", vmin=low, vmax=high)
    scaled = ((image - low) / (high - low)).clamp(0, 1)
    return ax.imshow(scaled.permute(1, 2, 0).numpy())


def _annotate(axes, titles, row_labels) -> None:
    if titles is not None:
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title, fontsize="small")
    if row_labels is not None:
        for ax, label in zip(axes[:, 0], row_labels, strict=True):
            ax.set_axis_on()
            ax.set_ylabel(label, fontsize="small")


def _note_limits(figure, axes, shown, low, high, grid) -> None:
    """Say which range is shown: a colour bar for grey images, a line of text for colour."""
    if all(image is None or image.shape[0] == 1 for row in grid for image in row):
        bar = figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.02)
        bar.set_label("intensity", fontsize="small")
        bar.ax.tick_params(labelsize="small")
        bar.outline.set_visible(False)
    else:
        note = f"black to white: {low:.3g} to {high:.3g}"
        figure.supxlabel(note, fontsize="small", color=_GREY_NOTE)


def _psnr_text(image: torch.Tensor, truth: torch.Tensor) -> str:
    if image.shape != truth.shape:
        raise ValueError(
            f"psnr_to: expected the image's shape {tuple(image.shape)}, got {tuple(truth.shape)}"
        )
    error = (image - truth).square().mean().item()
    return "exact" if error <= _EXACT else f"{-10 * math.log10(error):z.1f} dB"


def _extend(errors, limit: float) -> str:
    """Which ends of the colour bar hide values beyond it."""
    over = any(error.max() > limit for error in errors)
    under = any(error.min() < -limit for error in errors)
    return {(False, False): "neither", (True, False): "max", (False, True): "min"}.get(
        (over, under), "both"
    )
