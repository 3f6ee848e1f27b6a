"""What changed between two results of an experiment, number by number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

APART = ("machine", "seconds")
"""What is never the same twice."""

SHOWN = 12
"""So many of the largest changes are told."""

Value = float | str | None


@dataclass(frozen=True)
class Change:
    """A value that is another one now.

    Attributes:
        where: the keys on the way to it.
        before, after: what it was and is.
    """

    where: str
    before: Value
    after: Value

    @property
    def size(self) -> float:
        """The difference as a share of the larger number; infinite where one is no number.

        Example:
            >>> Change("psnr", 20.0, 25.0).size
            0.2
        """
        if not all(isinstance(value, int | float) for value in (self.before, self.after)):
            return float("inf")
        return abs(self.after - self.before) / max(abs(self.before), abs(self.after))

    def __str__(self) -> str:
        return f"{self.where}: {_short(self.before)} -> {_short(self.after)}"


def _short(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)[:16]


def leaves(results: object, where: tuple[str, ...] = ()) -> Iterator[tuple[str, Value]]:
    """Where each value of nested dictionaries and lists lies, and the value.

    Example:
        >>> list(leaves({"a": {"b": [1, 2]}, "machine": {"date": "today"}}))
        [('a / b / 0', 1), ('a / b / 1', 2)]
    """
    if isinstance(results, dict):
        for key, value in results.items():
            if key not in APART:
                yield from leaves(value, (*where, str(key)))
    elif isinstance(results, list):
        for i, value in enumerate(results):
            yield from leaves(value, (*where, str(i)))
    else:
        yield " / ".join(where), results


def compared(before: dict, after: dict) -> tuple[int, list[Change]]:
    """How many values both results have, and those that differ, the largest change first.

    Example:
        >>> compared({"a": [1.0, 2.0]}, {"a": [1.0, 4.0, 5.0]})
        (2, [Change(where='a / 1', before=2.0, after=4.0)])
    """
    known = dict(leaves(before))
    both = [(where, known[where], value) for where, value in leaves(after) if where in known]
    changed = [Change(*values) for values in both if values[1] != values[2]]
    return len(both), sorted(changed, key=lambda change: -change.size)


def report(before: dict, after: dict) -> str:
    """What changed, in words.

    Example:
        >>> print(report({"a": [1.0, 2.0]}, {"a": [1.0, 4.0]}))
        2 values compared with the shipped ones: 1 equal, 1 changed; the largest changes:
          a / 1: 2 -> 4
    """
    count, changed = compared(before, after)
    start = f"{count} values compared with the shipped ones: {count - len(changed)} equal"
    if not changed:
        return start
    lines = [f"{start}, {len(changed)} changed; the largest changes:"]
    lines += [f"  {change}" for change in changed[:SHOWN]]
    return "\n".join(lines)
