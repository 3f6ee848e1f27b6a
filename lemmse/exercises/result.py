"""The answer to a reader: a short text that a notebook shows, true when the exercise is right."""

import html
import re
from dataclasses import dataclass, field

_SIGNS = {"right": "✓", "wrong": "✗", "unwritten": "…"}
_COLORS = {"right": "#1B7A3D", "wrong": "#B3261E", "unwritten": "#5F5F5F"}


@dataclass(frozen=True)
class Result:
    """What ``check`` found.

    Attributes:
        number: the exercise.
        status: "right", "wrong" or "unwritten".
        heading: one line.
        details: further paragraphs: which property, on which input, a hint.
        failed: the name of the property that fails, or None.
        inputs: name -> value, the arguments on which it fails; for trying again by hand.
    """

    number: str
    status: str
    heading: str
    details: tuple[str, ...] = ()
    failed: str | None = None
    inputs: dict = field(default_factory=dict, compare=False)

    def __bool__(self) -> bool:
        """True when the exercise is right."""
        return self.status == "right"

    def __str__(self) -> str:
        """The whole answer as text."""
        first = f"{_SIGNS[self.status]} Exercise {self.number}: {self.heading}"
        return "\n".join([first, *(_indent(detail) for detail in self.details)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The answer as a card, white in the light and the dark theme."""
        color = _COLORS[self.status]
        details = "".join(
            f'<div style="margin:.35rem 0 0;white-space:pre-wrap">{_marked_up(detail)}</div>'
            for detail in self.details
        )
        return (
            f'<div style="background:#fff;color:#1a1a1a;border:1px solid #c9c9c9;'
            f"border-left:.4rem solid {color};border-radius:.3rem;padding:.5rem .8rem;"
            f'overflow-wrap:anywhere"><b style="color:{color}">{_SIGNS[self.status]} '
            f"Exercise {html.escape(self.number)}:</b> {html.escape(self.heading)}{details}</div>"
        )


def _marked_up(text: str) -> str:
    """A message as HTML, with what it writes in backticks as code."""
    plain = 'style="color:inherit;background:none"'  # the dark theme's colours are for dark cards
    return re.sub("`([^`\n]+)`", rf"<code {plain}>\1</code>", html.escape(text))


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
