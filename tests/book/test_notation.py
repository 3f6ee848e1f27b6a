"""One notation: a Greek letter means what the notation page says, in the chapters it names."""

import re
from collections import defaultdict
from functools import cache

import nbformat
import pytest

from address import ROOT
from sync_notebooks import notebook_paths

LETTERS = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "rho sigma tau upsilon phi varphi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)  # not pi, which is the number
FORMULAS = re.compile(r"\$\$.+?\$\$|\$[^$]+?\$", re.DOTALL)
LOANS = "## Greek letters on loan"


def letters(text):
    """The Greek letters in the formulas of a text."""
    names = re.findall(r"\\([A-Za-z]+)", " ".join(FORMULAS.findall(text)))
    return set(names) & set(LETTERS.split())


@cache
def page():
    """The notation page: what holds everywhere, and the rows of the table of loans."""
    everywhere, _, loans = (ROOT / "book" / "notation.md").read_text("utf-8").partition(LOANS)
    rows = [row for row in loans.splitlines() if row.startswith("|")][2:]
    assert rows
    return everywhere, rows


@cache
def lent():
    """Letter -> numbers of the chapters that the table names, over all its meanings."""
    found, last = defaultdict(list), None
    for row in page()[1]:
        letter, _, chapters = (cell.strip() for cell in row.strip("|").split("|"))
        last = letters(letter).pop() if letter else last
        found[last] += [int(number) for number in chapters.split(",")]
    return found


def borrowed(path):
    """The letters to which the table gives a meaning in a chapter."""
    return {letter for letter, chapters in lent().items() if int(path.stem[:2]) in chapters}


def used(path):
    """The letters in the text of a chapter."""
    cells = nbformat.read(path, as_version=4).cells
    return letters("\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))


@pytest.mark.parametrize("path", notebook_paths(), ids=lambda path: path.stem)
def test_every_greek_letter_has_its_meaning_on_the_notation_page(path):
    assert used(path) - letters(page()[0]) - borrowed(path) == set()


@pytest.mark.parametrize("path", notebook_paths(), ids=lambda path: path.stem)
def test_the_table_names_no_chapter_without_the_letter(path):
    assert borrowed(path) - used(path) == set()


def test_a_letter_has_one_meaning_in_a_chapter():
    for letter, chapters in lent().items():
        assert len(set(chapters)) == len(chapters), letter
