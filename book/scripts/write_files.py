"""Writing many files into a folder that is ours, or a reader's."""

import hashlib
import json

WRITTEN = ".written.json"


def write_changed(sources, folder):
    """Make `folder` hold exactly `sources`; return the names of the files that differed."""
    changed = []
    for name, content in sources.items():
        file = folder / name
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            changed.append(name)
    for file in folder.rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() not in sources:
            file.unlink()
    return changed


def write_unchanged(files, folder):
    """Write the files, but none over a file that someone has changed; the names of those.

    A list in the folder remembers what was written.
    """
    memory = folder / WRITTEN
    before = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
    written, kept = {}, []
    for name, content in files.items():
        file = folder / name
        there = digest(file.read_bytes()) if file.exists() else None
        if there not in (None, before.get(name), digest(content)):
            kept.append(name)
            written[name] = before.get(name)
            continue
        if there != digest(content):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        written[name] = digest(content)
    memory.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return kept


def digest(content):
    """A hash of bytes."""
    return hashlib.sha256(content).hexdigest()
