"""Chapter numbers follow from _toc.yml: here, and in a small book where a chapter moves."""

import re
import subprocess

import pytest

from address import ROOT
from renumber_chapters import TEXT, make_plan, renumber, text_files

BOOK = {
    "_toc.yml": """\
root: intro
parts:
  - caption: One
    chapters:
      - file: notebooks/1-part/01-first
      - file: notebooks/1-part/between
      - file: notebooks/1-part/02-second
      - file: notebooks/1-part/03-third
""",
    "notebooks/1-part/01-first.ipynb": "then [chapter 3](03-third.ipynb), 0.2-second, between",
    "notebooks/1-part/between.ipynb": "a word between others, after chapter 1",
    "notebooks/1-part/02-second.ipynb": 'exercises.check(\\"2.1\\", f) in section 2.3, at 2.1',
    "notebooks/1-part/03-third.ipynb": "chapters [1](01-first.ipynb) and [2](02-second.ipynb), "
    "chapters 1 to 3, section 2.2 of a book, [new](between.ipynb)",
    "lemmse/exercises/chapter02.py": '@exercise("2.1", tolerance="2", rate=2.1)',
    "lemmse/exercises/chapter03.py": '"""Exercises of chapter 3."""\n@exercise("3.2")',
    "lemmse/experiments/some.py": 'CHAPTERS = "1, 3"',
    "README.md": "| I. One | 1 the first · 2 the second · 3 the third |\n"
    "`exercises 2.1 3.2`, 2 cores",
    "book/notation.md": "| $\\mu$ | 2 means | 1, 2, 3 |",
    "picture.svg": "chapter 2",
}


@pytest.fixture
def small_book(tmp_path):
    for name, text in BOOK.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def texts(root):
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in root.glob("**/*.*")
        if ".git" not in path.parts and path.is_file()
    }


def test_a_chapter_put_between_others_moves_those_behind(small_book):
    assert renumber(small_book) == []
    assert texts(small_book) == {
        "_toc.yml": BOOK["_toc.yml"]
        .replace("03-third", "04-third")
        .replace("02-second", "03-second")
        .replace("between", "02-between"),
        "notebooks/1-part/01-first.ipynb": "then [chapter 4](04-third.ipynb), 0.2-second, between",
        "notebooks/1-part/02-between.ipynb": "a word between others, after chapter 1",
        "notebooks/1-part/03-second.ipynb": 'exercises.check(\\"3.1\\", f) in section 3.3, at 2.1',
        "notebooks/1-part/04-third.ipynb": "chapters [1](01-first.ipynb) and [3](03-second.ipynb), "
        "chapters 1 to 4, section 2.2 of a book, [new](02-between.ipynb)",
        "lemmse/exercises/chapter03.py": '@exercise("3.1", tolerance="2", rate=2.1)',
        "lemmse/exercises/chapter04.py": '"""Exercises of chapter 4."""\n@exercise("4.2")',
        "lemmse/experiments/some.py": 'CHAPTERS = "1, 4"',
        "README.md": "| I. One | 1 the first · 3 the second · 4 the third |\n"
        "`exercises 3.1 4.2`, 2 cores",
        "book/notation.md": "| $\\mu$ | 2 means | 1, 3, 4 |",
        "picture.svg": "chapter 2",
    }


def test_a_second_call_changes_nothing(small_book):
    renumber(small_book)
    before = texts(small_book)
    assert renumber(small_book) == []
    assert texts(small_book) == before


def test_what_still_names_a_chapter_that_is_gone_is_listed(small_book):
    toc = small_book / "_toc.yml"
    lines = BOOK["_toc.yml"].splitlines(keepends=True)
    toc.write_text("".join(line for line in lines if not re.search("first|between", line)))
    (small_book / "notebooks/1-part/between.ipynb").unlink()
    assert renumber(small_book) == [
        "notebooks/1-part/03-third.ipynb:1: chapter 1 is not in the book any more",
        "notebooks/1-part/03-third.ipynb:1: chapter 1 is not in the book any more",
    ]
    assert (small_book / "notebooks/1-part/01-second.ipynb").exists()


def test_the_numbers_of_this_book_are_their_places():
    assert make_plan().moved == {}


def test_links_name_the_chapter_that_they_lead_to():
    link = re.compile(r"[Cc]hapters? \[?(\d+)\]\((?:[^)]*/)?(\d\d)-[a-z-]+\.ipynb")
    found = [
        (path.name, *map(int, numbers))
        for path in text_files(ROOT)
        if path.suffix in TEXT - {".py"}
        for numbers in link.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 100
    assert [wrong for wrong in found if wrong[1] != wrong[2]] == []
