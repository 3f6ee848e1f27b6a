"""Explorers: sliders that choose what a figure shows, in a live kernel and in the built page."""

import html
import itertools
import math
from collections.abc import Callable

from lemmse.plots.frames import Frame, as_frame
from lemmse.plots.notebook import building
from lemmse.plots.page import page

MAX_FRAMES = 40
"""The largest number of frames that an explorer may carry in the built page."""

_LABELS = {
    "sigma": "noise level σ",
    "patch_size": "patch size P",
    "n": "training images N",
    "regularisation": "regularisation λ",
}


class Explorer:
    """What ``explore`` returns; a notebook shows it when it is the last expression of a cell.

    Attributes:
        title: what stands above the sliders, or None.
        widget: the ipywidgets control.
        sliders: axis name -> its ``ipywidgets.SelectionSlider``.
        picture: the ``ipywidgets.HTML`` that shows the current frame, with its alternative text.
        status: the ``ipywidgets.HTML`` that says that a computation is running.
    """

    def __init__(
        self,
        function: Callable,
        title: str | None,
        alt,
        axes: dict[str, list],
        start: tuple[int, ...] | None = None,
    ):
        """See ``explore``; start holds the indices into the axes' values that are shown first."""
        self._function, self.title, self._alt, self._axes = function, title, alt, axes
        self._cache: dict[tuple[int, ...], Frame] = {}
        self._prepare()
        self._build_widget(start or (0,) * len(axes))

    def _prepare(self) -> None:
        """Compute what the page needs, where there will be a page."""
        if building():
            for position in self._positions():
                self.frame(position)

    def frame(self, position: tuple[int, ...]) -> Frame:
        """The frame at these indices into the axes' values, computed once."""
        if position not in self._cache:
            self._cache[position] = self.draw(position)
        return self._cache[position]

    def draw(self, position: tuple[int, ...]) -> Frame:
        """The frame at these indices, computed now."""
        values = self._values(position)
        call = f"function({', '.join(f'{name}={v!r}' for name, v in values.items())})"
        return as_frame(self._function(**values), call)

    def html(self) -> str:
        """The self-contained HTML of the page, with all frames."""
        positions = self._positions()
        frames = [self.frame(position) for position in positions]
        alts = [self._alternative(position) for position in positions]
        axes = {_label(name): _texts(values) for name, values in self._axes.items()}
        return page(frames, alts, axes, self.title)

    def _positions(self) -> list[tuple[int, ...]]:
        return list(itertools.product(*(range(len(values)) for values in self._axes.values())))

    def _values(self, position: tuple[int, ...]) -> dict:
        pairs = zip(self._axes.items(), position, strict=True)
        return {name: values[i] for (name, values), i in pairs}

    def _alternative(self, position: tuple[int, ...]) -> str:
        """The alternative text of a frame."""
        values = self._values(position)
        if callable(self._alt):
            return self._alt(**values)
        where = ", ".join(f"{_label(name)} = {_text(value)}" for name, value in values.items())
        return f"{self._alt or self.title or 'Figure'} ({where})"

    def _build_widget(self, start: tuple[int, ...]) -> None:
        import ipywidgets

        self.sliders = {
            name: ipywidgets.SelectionSlider(
                options=list(zip(_texts(values), values, strict=True)),
                index=index,
                description=_label(name),
                continuous_update=False,
                style={"description_width": "initial"},
                layout={"width": "min(100%, 32rem)"},
            )
            for (name, values), index in zip(self._axes.items(), start, strict=True)
        }
        # Not ipywidgets.Image: that one has no alternative text.
        self.picture = ipywidgets.HTML(layout={"max_width": "100%"})
        # As high when it is empty: the picture stays where it is.
        self.status = ipywidgets.HTML(layout={"min_height": "2rem"})
        self._show(start)
        for slider in self.sliders.values():
            slider.observe(self._update, names="value")
        heading = [ipywidgets.HTML(f"<b>{html.escape(self.title)}</b>")] if self.title else []
        self.widget = ipywidgets.VBox([*heading, *self.sliders.values(), self.status, self.picture])

    def _update(self, _change=None) -> None:
        """Show the frame at the sliders' position; an error is shown in the place of the frame."""
        position = tuple(slider.index for slider in self.sliders.values())
        if position not in self._cache:
            self.status.value = "&#8987; computing &hellip;"
        try:
            self._show(position)
        except Exception as error:
            self.picture.layout.visibility = "hidden"
            message = html.escape(f"{type(error).__name__}: {error}")
            self.status.value = f"&#10007; the function failed: {message}"
            return
        self.picture.layout.visibility = "visible"
        self.status.value = ""

    def _show(self, position: tuple[int, ...]) -> None:
        """Put the frame at a position into the picture."""
        frame, alt = self.frame(position), html.escape(self._alternative(position))
        self.picture.value = (
            f'<img alt="{alt}" width="{frame.width}" style="max-width:100%;height:auto" '
            f'src="{frame.uri}">'
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """The widget; in the book's build the page's HTML beside it."""
        bundle = dict(self.widget._repr_mimebundle_())
        axes = ", ".join(f"{_label(name)}: {_texts(v)}" for name, v in self._axes.items())
        bundle["text/plain"] = f"Explorer ({axes}); its sliders need ipywidgets in the front end"
        if building():
            bundle["text/html"] = self.html()
        return bundle


def explore(function: Callable, *, title: str | None = None, alt=None, **axes) -> Explorer:
    """Sliders over the arguments of a function that draws.

    In a live kernel every frame is computed when it is first asked for and kept. In the book's
    build (``LEMMSE_BUILD=1``) all frames are computed at once, and the output carries, beside the
    widget, HTML with the same sliders that needs neither kernel nor network.

    Args:
        function: takes one keyword argument an axis and returns a matplotlib Figure, an array
            (H, W) or (H, W, 3), or a tensor image (C, H, W) or (1, C, H, W) in [0, 1].
        title: stands above the sliders.
        alt: what the pictures show, for readers who do not see them: a text, to which the values
            of the axes are added, or a function of the axes that returns the whole text. By
            default the title.
        **axes: name -> list of values (numbers, texts, or tuples of them), one slider each. It
            starts at the first value.

    Returns:
        Explorer

    Raises:
        ValueError: function not callable, no axis, an empty axis or one with repeated values, no
            title and no alt, more than ``MAX_FRAMES`` frames in the book's build, or a function
            that returns something else than a picture.

    Example:
        >>> import torch
        >>> gallery = explore(
        ...     lambda sigma: torch.full((1, 8, 8), sigma), title="a grey level", sigma=[0.1, 0.9]
        ... )
    """
    if not callable(function):
        raise ValueError(f"expected a function, got {type(function).__name__}")
    if not axes:
        raise ValueError("expected at least one axis, for example sigma=[0.1, 0.2]; got none")
    if title is None and alt is None:
        raise ValueError("expected a title or an alt text that says what the pictures show")
    lists = {name: _axis(name, values) for name, values in axes.items()}
    count = math.prod(len(values) for values in lists.values())
    if building() and count > MAX_FRAMES:
        sizes = " x ".join(str(len(values)) for values in lists.values())
        raise ValueError(f"expected at most {MAX_FRAMES} frames in the book, got {sizes} = {count}")
    return Explorer(function, title, alt, lists)


def _axis(name: str, values) -> list:
    """The values of one axis, checked."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise ValueError(f"{name}: expected a list of values, got {values!r}")
    values = [value.item() if hasattr(value, "item") else value for value in values]
    if not all(isinstance(value, int | float | str | tuple) for value in values):
        raise ValueError(f"{name}: expected numbers, texts or tuples of them, got {values!r}")
    if not values or len(set(values)) != len(values):
        raise ValueError(f"{name}: expected distinct values, at least one; got {values!r}")
    return values


def _label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _texts(values: list) -> list[str]:
    return [_text(value) for value in values]


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
