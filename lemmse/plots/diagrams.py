"""The diagrams of the book: vector graphics drawn by code, dark on white in both themes."""

import html
from collections.abc import Callable
from dataclasses import dataclass, field

WIDTH = 480  # units; on a phone one unit is three quarters of a pixel

_INK, _PALE, _GREY = "#1a1a1a", "#eef3f7", "#b5b5b5"
_BLUE, _ORANGE, _PURPLE, _GREEN = "#0060a8", "#e07609", "#6f0f5a", "#00735c"


@dataclass
class Drawing:
    """SVG in the making.

    Attributes:
        height: in units.
        parts: the elements.
    """

    height: int
    parts: list[str] = field(default_factory=list)

    def box(self, x, y, width, height, text="", color=_INK, fill="#fff", dash="") -> None:
        """A rectangle with lines of text in its middle."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{fill}" '
            f'stroke="{color}" stroke-width="1.6" stroke-dasharray="{dash}"/>'
        )
        lines = text.split("\n") if text else []
        for i, line in enumerate(lines):
            middle = y + height / 2 + 5 + 18 * (i - (len(lines) - 1) / 2)
            self.text(x + width / 2, middle, line, color)

    def text(self, x, y, text, color=_INK, anchor="middle", size=14, bold=False) -> None:
        """One line of text."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" fill="{color}" font-size="{size}" '
            f'text-anchor="{anchor}"{weight}>{html.escape(text)}</text>'
        )

    def arrow(self, x1, y1, x2, y2, color=_INK, dash="") -> None:
        """An arrow."""
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{color}" '
            f'stroke-width="1.8" stroke-dasharray="{dash}" marker-end="url(#head)"/>'
        )

    def grid(self, x, y, rows, columns, cell, fills=None) -> None:
        """Pixels: fills gives (row, column) -> colour."""
        for i in range(rows):
            for j in range(columns):
                fill = (fills or {}).get((i, j), "#fff")
                self.parts.append(
                    f'<rect x="{x + j * cell:g}" y="{y + i * cell:g}" width="{cell}" '
                    f'height="{cell}" fill="{fill}" stroke="{_GREY}" stroke-width="0.8"/>'
                )

    def path(self, d, color=_INK, fill="none", dash="") -> None:
        """A path."""
        self.parts.append(
            f'<path d="{d}" stroke="{color}" fill="{fill}" fill-opacity="0.15" '
            f'stroke-width="1.8" stroke-dasharray="{dash}"/>'
        )


class Diagram:
    """What ``diagram`` returns; a notebook shows it as the last expression of a cell.

    Attributes:
        title: what the picture shows, for readers who do not see it.
    """

    def __init__(self, drawing: Drawing, title: str, scale: float):
        """See ``diagram``; scale is the number of pixels of a unit."""
        self._drawing, self.title, self._scale = drawing, title, scale

    def _repr_svg_(self) -> str:
        """The picture."""
        drawing = self._drawing
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {drawing.height}" '
            f'width="{self._scale * WIDTH:g}" height="{self._scale * drawing.height:g}" role="img" '
            f'aria-label="{html.escape(self.title)}" '
            'font-family="DejaVu Sans, Verdana, sans-serif">'
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z"/></marker></defs>'
            f'<rect width="{WIDTH}" height="{drawing.height}" fill="#fff"/>'
            f"{''.join(drawing.parts)}</svg>"
        )

    def __repr__(self) -> str:
        """The title."""
        return f"Diagram: {self.title}"


def _problem(here: str | None) -> Drawing:
    """From x to y to z to the estimate."""
    d = Drawing(150)
    boxes = [("x", "image"), ("y", "measured"), ("z", "seen"), ("x̂", "estimate")]
    for i, (name, word) in enumerate(boxes):
        x = 8 + 128 * i
        d.box(x, 45, 66, 46, name, fill=_PALE)
        d.text(x + 33, 110, word, size=12)
    for i, (label, more) in enumerate([("A", "+ σ e"), ("B", "given"), ("f", "at each n")]):
        x = 76 + 128 * i
        d.arrow(x, 68, x + 58, 68, _BLUE if i < 2 else _ORANGE)
        d.text(x + 28, 58, label, _BLUE if i < 2 else _ORANGE, bold=True)
        d.text(x + 28, 86, more, size=11)
    d.text(8, 24, "y = A x + σ e,   z = B y,   x̂[n] = f(Πₙ z)", anchor="start", size=13)
    d.text(8, 140, "the world", _BLUE, "start", 12)
    d.text(472, 140, "what is to be found", _ORANGE, "end", 12)
    return d


def _patches(here: str | None) -> Drawing:
    """Patches around two pixels, one function, two pixels of the result."""
    d, cell = Drawing(250), 16
    places = {"n": (2, 2, _BLUE), "m": (6, 5, _PURPLE)}
    d.grid(10, 60, 9, 9, cell, {(r, c): color for r, c, color in places.values()})
    d.grid(326, 60, 9, 9, cell, {(r, c): color for r, c, color in places.values()})
    for name, (r, c, color) in places.items():
        x, y = 10 + (c - 1) * cell, 60 + (r - 1) * cell
        d.box(x, y, 3 * cell, 3 * cell, "", color, "none")
        d.grid(190, 52 + (0 if name == "n" else 100), 3, 3, cell, {(1, 1): color})
        d.text(214, 44 + (0 if name == "n" else 172), f"Π{name} z", color, size=13)
        middle = y + 1.5 * cell
        d.arrow(x + 3 * cell + 2, middle, 184, 76 + (0 if name == "n" else 100), color, "4 3")
        d.arrow(242, 76 + (0 if name == "n" else 100), 262, 118 + (0 if name == "n" else 24), color)
        d.arrow(298, 118 + (0 if name == "n" else 24), 326 + c * cell, 68 + r * cell, color)
    d.box(264, 106, 32, 50, "f", _ORANGE, "#fff6ec")
    d.text(82, 228, "what is seen, z", size=13)
    d.text(398, 228, "the estimate", size=13)
    d.text(282, 206, "one function", _ORANGE, size=12)
    return d


def _svd(here: str | None) -> Drawing:
    """A circle is turned, stretched and turned again."""
    d = Drawing(190)
    titles = [("x", ""), ("Vᵀ x", "rotate"), ("S Vᵀ x", "scale"), ("U S Vᵀ x", "rotate")]
    for i, (title, word) in enumerate(titles):
        x = 60 + 120 * i
        wide = (34, 34) if i < 2 else (46, 14)
        turn = {0: 0, 1: 0, 2: 0, 3: -35}[i]
        d.parts.append(
            f'<g transform="translate({x} 95) rotate({turn})">'
            f'<ellipse rx="{wide[0]}" ry="{wide[1]}" fill="{_PALE}" stroke="{_INK}"/>'
        )
        angle = -50 if i == 0 else 0
        for way, length, color in ((0, wide[0], _BLUE), (-90, wide[1], _ORANGE)):
            d.parts.append(f'<g transform="rotate({angle + way})">')
            d.arrow(0, 0, length, 0, color)
            d.parts.append("</g>")
        d.parts.append("</g>")
        d.text(x, 168, title, size=13)
        if word:
            d.arrow(x - 76, 24, x - 44, 24)
            d.text(x - 60, 16, word, size=12)
    return d


def _attention(here: str | None) -> Drawing:
    """A query, keys with weights, values, their average."""
    d, cell = Drawing(250), 13
    shades = ["#333", "#777", "#bbb", "#999", "#555", "#ddd", "#888", "#444", "#aaa"]
    look = {(i, j): shades[3 * i + j] for i in range(3) for j in range(3)}
    d.text(44, 24, "query", _PURPLE, bold=True)
    d.grid(24, 96, 3, 3, cell, look)
    d.text(44, 160, "noisy patch", size=11)
    d.text(190, 24, "keys", _BLUE, bold=True)
    d.text(300, 24, "weights", bold=True)
    d.text(390, 24, "values", _ORANGE, bold=True)
    rows = [(0.62, 0), (0.27, 2), (0.1, 5), (0.01, 7)]
    for i, (weight, turn) in enumerate(rows):
        y = 38 + 50 * i
        own = {k: shades[(3 * k[0] + k[1] + turn) % 9] for k in look}
        d.grid(170, y, 3, 3, cell, own)
        d.arrow(68, 116, 164, y + 20, _PURPLE, "4 3")
        d.parts.append(
            f'<rect x="250" y="{y + 14}" width="{100 * weight:g}" height="12" fill="{_BLUE}"/>'
        )
        d.text(255 + 100 * weight, y + 25, f"{weight:g}", anchor="start", size=12)
        d.grid(380, y + 10, 1, 1, 20, {(0, 0): own[1, 1]})
        d.arrow(404, y + 20, 440, 124)
    d.grid(444, 112, 1, 1, 24, {(0, 0): shades[4]})
    d.text(456, 154, "f(v)", _ORANGE, bold=True)
    d.text(240, 246, "weights: softmax of −‖query − key‖² / 2σ²", size=12)
    return d


def _padding(here: str | None) -> Drawing:
    """Which pixels a corner output sees: circular padding, zero padding, stride 2."""
    d, cell = Drawing(220), 17
    kinds = [
        ("circular padding", "one f for all n"),
        ("zero padding", "f depends on the border"),
        ("stride 2", "f repeats every 2 pixels"),
    ]
    for k, (title, word) in enumerate(kinds):
        x, y = 18 + 156 * k, 44
        d.text(x + 3.5 * cell, 26, title, bold=True, size=13)
        if k == 0:
            seen = {((r - 1) % 7, (c - 1) % 7) for r in range(3) for c in range(3)}
            fills = dict.fromkeys(seen, "#9cc6e8") | {(0, 0): _BLUE}
        elif k == 1:
            fills = dict.fromkeys([(0, 1), (1, 0), (1, 1)], "#9cc6e8") | {(0, 0): _BLUE}
        else:
            fills = {(r, c): "#9cc6e8" for r in range(7) for c in range(7) if r % 2 == c % 2 == 0}
            fills |= {(2, 2): _BLUE}
        d.grid(x, y, 7, 7, cell, fills)
        if k == 1:
            d.path(f"M{x - 8} {y + 42}V{y - 8}H{x + 42}", _ORANGE, dash="3 3")
            d.text(x + 60, y - 3, "0", _ORANGE, size=12)
        d.text(x + 3.5 * cell, 182, word, size=11)
    d.text(240, 210, "dark: the pixel n; light: what it shares its f with, or sees", size=11)
    return d


_MAP = {  # name: (column, row, what it may use, what a pixel costs)
    "MMSE": (0, 0, "any function of y", "N comparisons"),
    "E-MMSE": (0, 1, "any, shifts alike", "N M comparisons"),
    "L-MMSE": (1, 0, "patch, its place known", "N comparisons"),
    "LE-MMSE": (1, 1, "patch, one f for all", "N M comparisons"),
    "Wiener": (0, 2, "linear, shifts alike", "a power spectrum"),
    "linear local": (1, 2, "linear f of a patch", "means and covariances"),
}


def _map(here: str | None) -> Drawing:
    """The estimators by freedom: more constrained ones below and to the right."""
    d = Drawing(300)
    for name, (column, row, uses, cost) in _MAP.items():
        x, y = 92 + 200 * column, 34 + 82 * row
        mine = name == here
        d.box(x, y, 170, 60, "", _ORANGE if mine else _INK, "#ffe9d2" if mine else _PALE)
        d.text(x + 85, y + 20, name, bold=True)
        d.text(x + 85, y + 37, uses, size=11)
        d.text(x + 85, y + 53, cost, size=11)
        if row < 2:
            d.arrow(x + 85, y + 60, x + 85, y + 80)
        if column == 0:
            d.arrow(x + 170, y + 30, x + 198, y + 30)
    d.text(177, 20, "sees all of y", _BLUE, size=13, bold=True)
    d.text(377, 20, "sees P × P", _BLUE, size=13, bold=True)
    for row, words in enumerate((("one f for", "each pixel"), ("one f", "for all"), ("linear",))):
        for i, word in enumerate(words):
            d.text(44, 60 + 82 * row + 17 * i, word, _BLUE, size=12)
    if here:
        d.text(4, 20, "you are here:", _ORANGE, "start", 12)
        d.text(4, 36, here, _ORANGE, "start", 12, bold=True)
    d.text(240, 292, "→ less freedom: more risk on the training images, less to remember", size=11)
    return d


_DIAGRAMS: dict[str, tuple[Callable[[str | None], Drawing], str]] = {
    "problem": (_problem, "image x, measurement y = A x + sigma e, z = B y, estimate by f"),
    "patches": (_patches, "two patches of an image go through one function f to two pixels"),
    "svd": (_svd, "a matrix rotates, scales and rotates a circle"),
    "attention": (_attention, "a noisy patch, four training patches, weights, their average"),
    "padding": (_padding, "what a pixel sees with circular padding, zero padding, and stride 2"),
    "map": (_map, "a map of the estimators by what they see and what they may compute"),
}


def diagram(name: str, here: str | None = None) -> Diagram:
    """A diagram of the book, as vector graphics.

    Args:
        name: "problem", "patches", "svd", "attention", "padding" or "map".
        here: on the map, drawn smaller then, the estimator to mark: "MMSE", "E-MMSE", "L-MMSE",
            "LE-MMSE", "Wiener" or "linear local".

    Returns:
        Diagram

    Raises:
        ValueError: another name, or a place where there is none.

    Example:
        >>> diagram("map", here="LE-MMSE")
        Diagram: a map of the estimators by what they see and what they may compute: LE-MMSE marked
    """
    if name not in _DIAGRAMS:
        raise ValueError(f"name: expected one of {', '.join(_DIAGRAMS)}, got {name!r}")
    if here is not None and (name != "map" or here not in _MAP):
        raise ValueError(f"here: expected, on the map, one of {', '.join(_MAP)}, got {here!r}")
    draw, title = _DIAGRAMS[name]
    if here:
        return Diagram(draw(here), f"{title}: {here} marked", 0.9)
    return Diagram(draw(None), title, 1.3)
