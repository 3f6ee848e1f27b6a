"""The explorer of pixels: choose one, see the training patches that voted for it."""

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lemmse.plots.explore import Explorer
from lemmse.plots.images import as_image
from lemmse.plots.notebook import building
from lemmse.plots.pixels_page import PixelPage, pixels_page

MOST_BYTES = 800_000
"""The largest size of an explorer of pixels in the built page."""

_COLUMNS = 4  # voters side by side in the figure


@dataclass(frozen=True)
class Reading:
    """What is to be read off one image: planes (C, H, W), and effective samples (H, W).

    Attributes:
        planes: "measurement", "estimate", perhaps "truth", and "deviation", the posterior's
            standard deviation.
        effective: the effective number of training patches of every pixel.
    """

    planes: dict[str, Tensor]
    effective: Tensor


class PixelExplorer(Explorer):
    """What ``explore_pixels`` returns; a notebook shows it when it is the last expression of a
    cell. The sliders of its widget are "row", "column" and, for several images, "image".
    """

    def __init__(self, estimator, y, sigma, truth, names, k, start, title, alt):
        """See ``explore_pixels``."""
        self._estimator, self._y, self._sigma, self._truth = estimator, y, sigma, truth
        self._names, self._k, self._start = names, k, start
        self._reading = cache(self._read)
        _, height, width = estimator.image_shape
        axes = {"row": list(range(height)), "column": list(range(width))}
        position = tuple(start)
        if len(names) > 1:
            axes, position = {"image": names, **axes}, (0, *start)
        super().__init__(self._look, title, alt, axes, position)

    def _prepare(self) -> None:
        """Nothing: the page needs no frames."""

    def _read(self, index: int) -> Reading:
        """One image's planes."""
        y = self._y[index : index + 1]
        posterior = self._estimator.posterior(y, self._sigma[index])
        planes = {
            "estimate": posterior.mean[0],
            "measurement": self._estimator.preinverse.apply(y)[0],
        }
        if self._truth is not None:
            planes["truth"] = self._truth[index]
        planes["deviation"] = posterior.variance[0].sqrt()
        planes = {name: as_image(plane, name) for name, plane in planes.items()}
        return Reading(planes, posterior.effective_samples[0].detach().cpu())

    def _voters(self, index: int, pixels):
        """Weights (n, k) and sources (n, k, 3) of some pixels of one image, on the CPU."""
        y = self._y[index : index + 1]
        found = self._estimator.voters(y, self._sigma[index], pixels, self._k)
        return found.weight[0].detach().cpu(), found.source[0].cpu()

    def _look(self, row: int, column: int, image: str | None = None) -> Figure:
        """The figure of one pixel."""
        index = 0 if image is None else self._names.index(image)
        weight, source = self._voters(index, [(row, column)])
        patches = [self._patch(place) for place in source[0].tolist()]
        size = self._estimator.patch_size
        return _figure(self._reading(index), (row, column), size, weight[0].tolist(), patches)

    def _patch(self, place: list[int]) -> Tensor:
        """The training patch (C, P, P) around (image, row, column)."""
        return _window(self._estimator.images[place[0]], *place[1:], self._estimator.patch_size)

    def html(self) -> str:
        """The self-contained HTML of the page: all pixels, their voters, and these' images.

        Raises:
            ValueError: if it is larger than ``MOST_BYTES``.
        """
        count = range(len(self._names))
        page = PixelPage(
            title=self.title,
            alt=self._alt if isinstance(self._alt, str) else self.title,
            names=self._names,
            readings=[self._reading(i) for i in count],
            voters=[self._voters(i, None) for i in count],
            images=self._estimator.images.detach().cpu(),
            patch_size=self._estimator.patch_size,
            start=self._start,
            still=self.frame(self._first),
        )
        text = pixels_page(page)
        if len(text) > MOST_BYTES:
            raise ValueError(
                f"expected a page of at most {MOST_BYTES} bytes, got {len(text)}: show fewer or "
                "smaller images, fewer voters, or an estimator with fewer training images"
            )
        return text

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """The page, in a live kernel too: it answers a click at once, and nothing else takes one.

        A page that would be too large is replaced by the sliders, but not in the book.
        """
        bundle = super()._repr_mimebundle_(include, exclude)
        if not building():
            with suppress(ValueError):
                bundle = {"text/plain": bundle["text/plain"], "text/html": self.html()}
        return bundle

    @property
    def _first(self) -> tuple[int, ...]:
        return (0,) * (len(self._axes) - 2) + tuple(self._start)


def explore_pixels(
    estimator,
    y: Tensor,
    sigma: float | Tensor,
    *,
    truth: Tensor | None = None,
    names: list[str] | None = None,
    k: int = 8,
    start: tuple[int, int] | None = None,
    title: str = "Choose a pixel: which training patches vote for it?",
    alt: str | None = None,
) -> PixelExplorer:
    """Choose a pixel of an estimate, and see the training patches that voted for it.

    The voters of all pixels are computed when it is shown; the output is HTML that needs neither
    kernel nor network: click or tap a pixel, or move with the arrow keys. ``html()`` of the result
    gives it at any time. In a live kernel, sliders that search when they are asked take its place
    where it would be larger than ``MOST_BYTES``.

    Args:
        estimator: a `LEMMSE`, or what has its ``posterior`` and ``voters``.
        y: measurements of one image or of a few, to choose from.
        sigma: standard deviation of the noise, a number or one for each image, (B,).
        truth: the images behind y, (B, C, H, W), shown for comparison.
        names: what the images are called, needed if there are several.
        k: how many voters are shown.
        start: (row, column) of the pixel shown first, by default the one in the middle.
        title: stands above the controls.
        alt: what the picture shows, for readers who do not see it; by default the title.

    Returns:
        PixelExplorer

    Raises:
        ValueError: an estimator without voters, or arguments that do not fit each other; and from
            ``html`` if the page would be larger than ``MOST_BYTES``.

    Example:
        >>> import torch
        >>> from lemmse import LEMMSE
        >>> x = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> explorer = explore_pixels(LEMMSE(x, patch_size=3), x[:1], 0.1, k=4)
        >>> explorer.sliders["row"].value
        4
    """
    if not (hasattr(estimator, "voters") and hasattr(estimator, "posterior")):
        raise ValueError(
            "expected an estimator with a posterior and voters, such as LEMMSE, "
            f"got {type(estimator).__name__}"
        )
    shape = estimator.image_shape
    measured = getattr(estimator, "preinverse", None)
    if measured is not None and tuple(y.shape[1:]) != measured.measurement_shape:
        expected = ", ".join(map(str, measured.measurement_shape))
        raise ValueError(
            f"expected y to be measurements of shape (B, {expected}), got {tuple(y.shape)}"
        )
    if truth is not None and tuple(truth.shape) != (len(y), *shape):
        raise ValueError(f"truth: expected shape {(len(y), *shape)}, got {tuple(truth.shape)}")
    levels = torch.as_tensor(sigma)
    if levels.ndim > 1 or (levels.ndim == 1 and len(levels) != len(y)):
        raise ValueError(f"sigma: expected a number or {len(y)} of them, got {sigma!r}")
    names = [""] if names is None and len(y) == 1 else list(names or [])
    if len(names) != len(y) or len(set(names)) != len(y):
        raise ValueError(f"names: expected {len(y)} different ones, one an image, got {names!r}")
    start = (shape[1] // 2, shape[2] // 2) if start is None else tuple(start)
    if not (0 <= start[0] < shape[1] and 0 <= start[1] < shape[2]):
        raise ValueError(f"start: expected a pixel inside {shape[1]} x {shape[2]}, got {start}")
    sigmas = levels.expand(len(y)).tolist()
    return PixelExplorer(estimator, y, sigmas, truth, names, k, start, title, alt)


def _window(image: Tensor, row: int, column: int, size: int) -> Tensor:
    """The patch (C, P, P) of an image around a pixel, with circular boundaries."""
    reach = torch.arange(size) - size // 2
    rows, columns = (row + reach) % image.shape[1], (column + reach) % image.shape[2]
    return image[:, rows[:, None], columns].cpu()


def _figure(reading, pixel, size, weights, patches) -> Figure:
    """Above, the image with the pixel's window; below, the voters with their weights."""
    shown = {
        n: reading.planes[n] for n in ("measurement", "estimate", "truth") if n in reading.planes
    }
    below = math.ceil(len(weights) / _COLUMNS)
    figure = Figure(figsize=(6.0, 2.9 + 1.35 * below), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[2.4, 1.35 * below])
    for ax, (name, plane) in zip(top.subplots(1, len(shown)), shown.items(), strict=True):
        _show(ax, plane, name)
        _frame(ax, *pixel, size)
    seen = _window(reading.planes["measurement"], *pixel, size)
    grid = bottom.subplots(below, _COLUMNS + 1, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    _show(grid[0, 0], seen, "seen")
    for i, (weight, patch) in enumerate(zip(weights, patches, strict=True)):
        ax = grid[i // _COLUMNS, 1 + i % _COLUMNS]
        _show(ax, patch, _percent(weight))
    figure.supxlabel(_sentence(reading, pixel, sum(weights)), fontsize="small")
    return figure


def _show(ax, image: Tensor, title: str) -> None:
    ax.imshow(image.clamp(0, 1).permute(1, 2, 0).squeeze(2).numpy(), cmap="gray", vmin=0, vmax=1)
    ax.set_title(title, fontsize="small")
    ax.set_axis_off()


def _frame(ax, row: int, column: int, size: int) -> None:
    """The window around a pixel, wrapped around the border, in white on black."""
    height, width = ax.images[0].get_array().shape[:2]
    for down in (-height, 0, height):
        for right in (-width, 0, width):
            corner = (column + right - size / 2, row + down - size / 2)
            for color, line in (("black", 3), ("white", 1.2)):
                ax.add_patch(Rectangle(corner, size, size, fill=False, color=color, linewidth=line))


def _sentence(reading, pixel, share: float) -> str:
    """What the numbers at a pixel are."""

    def at(name: str) -> str:
        values = [f"{v:z.2f}" for v in reading.planes[name][:, pixel[0], pixel[1]].tolist()]
        return values[0] if len(values) == 1 else f"({', '.join(values)})"

    parts = [f"measured {at('measurement')}", f"estimate {at('estimate')} ± {at('deviation')}"]
    if "truth" in reading.planes:
        parts.append(f"truth {at('truth')}")
    separator = ", " if len(reading.planes["estimate"]) == 1 else ",\n"
    effective = reading.effective[pixel[0], pixel[1]].item()
    return (
        f"row {pixel[0]}, column {pixel[1]}: {separator.join(parts)};\n"
        f"effective number of patches {effective:.3g}; shown: {_percent(share)} of the weight"
    )


def _percent(weight: float) -> str:
    return f"{100 * min(1.0, weight):.3g} %" if weight >= 0.001 else "< 0.1 %"
