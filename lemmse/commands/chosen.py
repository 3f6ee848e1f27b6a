"""What the commands that go through models, or through cells of results, have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from .. import zoo


def chosen_models(patterns: list[str], folder: Path | None) -> list[str]:
    """The local networks of a folder whose names match.

    Raises:
        ValueError: there are none at all, or none for one of the patterns.
    """
    there = zoo.names(folder, zoo.Spec)
    if not there:
        raise ValueError("there are no models; train some: python -m lemmse train --help")
    return zoo.matching(patterns, there)


def check_count(images: int) -> None:
    """ValueError unless the option --images is positive."""
    if images < 1:
        raise ValueError(f"--images: expected a positive number, got {images}")


@contextmanager
def cell_bar(description: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """A progress bar over cells, which shows the text that it is called with after each."""
    with tqdm(desc=description, unit="cell", total=total) as bar:

        def advance(text: str) -> None:
            bar.set_postfix_str(text)
            bar.update()

        yield advance
