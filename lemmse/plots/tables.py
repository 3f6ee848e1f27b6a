"""Small tables that a cell computes: a heading and rows of texts."""

import re

from .notebook import typeset


class Table:
    """A table that a notebook shows and a terminal prints; made by `table`.

    Attributes:
        rows: lists of texts, the heading first.
    """

    def __init__(self, rows: list[list[str]]):
        self.rows = rows

    def _repr_html_(self) -> str:
        tags = ["th", *["td"] * (len(self.rows) - 1)]
        lines = [
            "".join(f"<{tag}>{text}</{tag}>" for text in row)
            for tag, row in zip(tags, self.rows, strict=True)
        ]
        return f'<table class="table"><tr>{"</tr><tr>".join(lines)}</tr></table>'

    def __repr__(self) -> str:
        plain = [[re.sub("<[^>]*>", "", text) for text in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in plain
        )


def table(*rows) -> Table:
    """A table of a heading and rows.

    Args:
        rows: iterables of texts or numbers, of one length, the heading first. Texts may hold HTML,
            as in ``"<b>24.1</b>"``; their numbers are typeset as those of `glue`.

    Returns:
        Table

    Raises:
        ValueError: no rows, or rows of different lengths.

    Example:
        >>> table(["method", "dB"], ["LE-MMSE", 27.5])
        method   dB
        LE-MMSE  27.5
    """
    texts = [[typeset(str(entry)) for entry in row] for row in rows]
    lengths = sorted({len(row) for row in texts})
    if len(lengths) != 1:
        raise ValueError(f"rows: expected a heading and rows of one length, got lengths {lengths}")
    return Table(texts)
