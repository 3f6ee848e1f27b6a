"""Files that are at any moment whole, the old one or the new one, whoever writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import getpid
from pathlib import Path

from filelock import FileLock, Timeout

Busy = Timeout
"""The error (an OSError) that another process holds a lock."""

PATIENCE = 60.0
"""Seconds to wait for another process that writes the same file; writing takes far less."""


@contextmanager
def locked(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Keeps other processes from what they do under the lock of the same file.

    The system frees the lock when a process ends, however it ends. A process that holds the lock
    may take it again. A link and the file that it leads to share one lock.

    Args:
        path: the file, which need not exist; its folder must.
        patience: seconds to wait for the others, -1 for as long as it takes.

    Raises:
        Busy: another process held the lock all that time.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with locked(path):
        ...     _ = path.write_text("mine")
    """
    path = path.resolve()
    lock = FileLock(path.with_name(f".{path.name}.lock"), is_singleton=True)
    with lock.acquire(timeout=patience):
        try:
            yield
        finally:
            # Whoever waits for this lock sees that its file is gone, and makes a new one. (Windows
            # does not remove an open file: there it stays.)
            if lock.lock_counter == 1:
                with suppress(OSError):
                    Path(lock.lock_file).unlink()


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` only when all went well.

    It has the ending of `path`, from which some libraries tell the format. One process at a time
    writes a file, so that drafts found there are of processes that were killed: they are removed.
    Where `path` is a link, the file that it leads to is replaced.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with replaced(path) as draft:
        ...     _ = draft.write_text("new")
        >>> path.read_text()
        'new'
    """
    path = path.resolve()
    drafts = re.compile(rf"\.{re.escape(path.stem)}\.\d+\.draft{re.escape(path.suffix)}")
    with locked(path):
        for left in path.parent.iterdir():
            if drafts.fullmatch(left.name):
                left.unlink(missing_ok=True)
        draft = _draft(path)
        try:
            yield draft
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{getpid()}.draft{path.suffix}")


def expanded(path: Path | str) -> Path:
    """A path whose ``~`` is a person's home.

    Raises:
        ValueError: there is no such person.

    Example:
        >>> expanded("~nobody-here/images")
        Traceback (most recent call last):
        ValueError: ~nobody-here/images: expected ~ or ~<user of this machine>
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: expected ~ or ~<user of this machine>") from error


def check_writable(path: Path) -> None:
    """ValueError if a file cannot be written there: to be asked before a computation, not after.

    Example:
        >>> check_writable(Path("/nowhere/a.json"))
        Traceback (most recent call last):
        ValueError: /nowhere/a.json: expected a file in an existing folder
    """
    try:
        file = path.resolve()
    except RuntimeError as error:  # a link that leads to itself
        raise ValueError(f"{path}: cannot be written: {error}") from error
    if not file.parent.is_dir() or (file.exists() and not file.is_file()):
        raise ValueError(f"{path}: expected a file in an existing folder")
    draft = _draft(file)
    try:
        draft.touch()
        draft.unlink(missing_ok=True)  # whoever writes the file may have tidied it up
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error}") from error


def make_folder(path: Path) -> None:
    """Makes a folder for several files, and those above it; one file needs an existing folder.

    So a slip in the name of a file is told before the computation, and not hidden by a new folder.

    Raises:
        ValueError: it cannot be made, or nothing can be written there.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "new" / "folder"
        >>> make_folder(folder)
        >>> folder.is_dir()
        True
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: expected a folder, or room for a new one: {error}") from error
    check_writable(path / "file")


def read_json(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, or its content is not JSON.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> write_json(path, [1])
        >>> read_json(path)
        [1]
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, got a folder")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # of decoding the bytes, or the JSON
        raise ValueError(f"{path}: expected a file of JSON: {error}") from error


def write_json(path: Path, content: object) -> None:
    """Writes a JSON file of one line a number, whole or not at all.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> write_json(path, {"b": 1})
        >>> path.read_text()
        '{\\n "b": 1\\n}\\n'
    """
    with replaced(path) as draft:
        draft.write_text(json.dumps(content, indent=1) + "\n")


def update_json(path: Path, change: Callable[[object], object], empty: object) -> object:
    """Reads a JSON file, changes what it holds, and writes it, while no other process does.

    So nothing is lost when several processes add to one file, each what it computed.

    Args:
        path: the file.
        change: takes what the file holds to what it is to hold.
        empty: what it is taken to hold if it does not exist.

    Returns:
        The new content.

    Raises:
        ValueError: the file's content is not JSON.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> for key in "ab":
        ...     content = update_json(path, lambda known: known | {key: 1}, {})
        >>> content
        {'a': 1, 'b': 1}
    """
    with locked(path):
        content = change(read_json(path) if path.exists() else empty)
        write_json(path, content)
    return content


def merged(old: dict, new: dict, identity: tuple[str, ...] = ()) -> dict:
    """One dictionary put into another, and so on inside of them; else the new value counts.

    Args:
        old: of which all is kept that is not in `new`.
        new: what is put in.
        identity: where one of these keys differs, the two are about different things, and nothing
            of the old one is kept.

    Example:
        >>> merged({"a": {"x": 1}}, {"a": {"y": 2}})
        {'a': {'x': 1, 'y': 2}}
        >>> merged({"a": {"x": 1, "of": 1}}, {"a": {"y": 2, "of": 2}}, ("of",))
        {'a': {'y': 2, 'of': 2}}
    """
    if any(old.get(key) != new.get(key) for key in identity):
        return new
    return old | {
        key: merged(old[key], value, identity)
        if isinstance(value, dict) and isinstance(old.get(key), dict)
        else value
        for key, value in new.items()
    }
