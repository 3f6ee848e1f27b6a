"""Files that are at any moment whole: the old one or the new one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` only when all went well.

    It has the ending of `path`, from which some libraries tell the format.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with replaced(path) as draft:
        ...     _ = draft.write_text("new")
        >>> path.read_text()
        'new'
    """
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, content: object, sort_keys: bool = False) -> None:
    """Writes a JSON file of one line a number, whole or not at all.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> write_json(path, {"b": 1})
        >>> path.read_text()
        '{\\n "b": 1\\n}\\n'
    """
    with replaced(path) as draft:
        draft.write_text(json.dumps(content, indent=1, sort_keys=sort_keys) + "\n")
