"""The numbers in the text, kept in book/numbers.json for those who have not executed the book.

`make notebooks` writes down what the executed copies computed, beside a hash of the code that did.
Numbers of a chapter whose code has changed since are not used: nothing in a text is older than the
cell below it.
"""

import hashlib
import json

import nbformat

from execute_notebooks import has_changed
from make_course import glued_values
from sync_notebooks import ROOT, is_setup, notebook_paths

STORED = ROOT / "book" / "numbers.json"


def code_digest(path):
    """A hash of the code cells of a notebook, without the setup cell, which computes nothing."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if not is_setup(cell)]
    text = "\0".join(cell.source for cell in cells if cell.cell_type == "code")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stored_values(path, file=STORED):
    """The numbers of a chapter as they were stored, name -> text; None if its code is another."""
    kept = read(file).get(path.stem, {})
    return kept.get("numbers") if kept.get("code") == code_digest(path) else None


def store(paths, file=STORED):
    """Keep the numbers of the chapters that are executed, as their code and the package are now."""
    kept = read(file)
    for path in paths:
        if not has_changed(path):
            kept[path.stem] = {"code": code_digest(path), "numbers": glued_values([path])}
    known = {path.stem for path in notebook_paths()}
    kept = {name: kept[name] for name in sorted(kept) if name in known}
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def told(paths, file=STORED):
    """Which chapters have no numbers that belong to their code, and what to do; or nothing."""
    without = [str(int(path.name[:2])) for path in paths if stored_values(path, file) is None]
    if not without:
        return ""
    names = " ".join(without)
    return (
        f"no numbers stored for the text of chapters {names}; where they are not executed, dots "
        f'stand for them: `make book CHAPTERS="{names}"`, then `make notebooks`'
    )


def read(file):
    """What the file holds."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


if __name__ == "__main__":
    store(notebook_paths())
    print(told(notebook_paths()) or "the numbers of all chapters are stored")
