"""Give every notebook the current setup cell and the form in which notebooks are kept.

    python book/scripts/sync_notebooks.py [notebook ...]    default: all

The setup cell is the same in every chapter: it finds lemmse, or installs it from the address of the
project (also on Colab; see address.py). The form: no outputs, no execution counts, no metadata but
what the book uses, so that a change to a chapter shows as a change to its text and nothing else.
"""

import argparse
from pathlib import Path

import nbformat

from address import ROOT, citation, install_source, repository_url, wheel_name

NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = {"tags", "mystnb"}
SETUP_METADATA = {
    "mystnb": {
        "code_prompt_show": "Setup: find or install lemmse",
        "code_prompt_hide": "Setup",
    },
    "tags": ["setup", "hide-input"],
}
SETUP_CELL = """\
# In every chapter: find lemmse{or_install}; fix seed and style.
try:
    import lemmse
except ModuleNotFoundError{as_error}:
    {when_missing}

import matplotlib.pyplot as plt
import numpy as np
import torch

torch.manual_seed(0)
device = lemmse.device()
lemmse.plots.use_style()"""
INSTALL = """\
%pip install --quiet "{source}"
    import lemmse"""
EXPLAIN = """\
raise ImportError(
        "lemmse is not installed here. On your machine: run `make lab`.\\n"
        "On Colab: upload the file that `make wheel` writes, then run\\n"
        "    %pip install {wheel}"
    ) from error"""


def notebook_paths(root=ROOT):
    """The chapters, in the order of the book."""
    return sorted((root / "notebooks").glob("*/*.ipynb"))


def setup_source(url):
    """The source of the setup cell for a project published at `url` (empty: not published)."""
    if url:
        install = INSTALL.format(source=install_source(url))
        return SETUP_CELL.format(or_install=" or install it", as_error="", when_missing=install)
    explain = EXPLAIN.format(wheel=wheel_name())
    return SETUP_CELL.format(or_install="", as_error=" as error", when_missing=explain)


def is_setup(cell):
    """Whether a cell is the setup cell, told by its tag."""
    return "setup" in cell.metadata.get("tags", [])


def canonical(notebook, url):
    """A copy of the notebook in the form in which it is kept, with the setup cell for `url`."""
    cells = []
    for cell in notebook.cells:
        cell = nbformat.from_dict(cell)
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in CELL_METADATA}
        cell.source = cell.source.rstrip()
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    setup = next((cell for cell in cells if is_setup(cell)), None)
    if setup is None:
        setup = nbformat.v4.new_code_cell(id="setup")
        cells.insert(1, setup)
    setup.source = setup_source(url)
    setup.metadata = SETUP_METADATA
    metadata = NOTEBOOK_METADATA
    return nbformat.from_dict(
        {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    )


def canonical_text(text, url):
    """The text of the notebook file in its canonical form."""
    return nbformat.writes(canonical(nbformat.reads(text, as_version=4), url)) + "\n"


def main():
    """Rewrite the notebooks, and CITATION.cff, where they differ from what they should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    url = repository_url()
    for path in parser.parse_args().notebooks or notebook_paths():
        text = path.read_text(encoding="utf-8")
        wanted = canonical_text(text, url)
        if text != wanted:
            path.write_text(wanted, encoding="utf-8")
            print(f"rewritten: {path}")
    cff = ROOT / "CITATION.cff"
    cff.write_text(citation(cff.read_text(encoding="utf-8"), url), encoding="utf-8")


if __name__ == "__main__":
    main()
