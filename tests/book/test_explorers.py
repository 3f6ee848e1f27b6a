"""Explorers hold to the end of their chapter: no later cell takes a name from under them."""

import ast

import nbformat
import pytest
import torch
from cell_names import reads_and_binds, statements

from lemmse import plots
from move_controls import move_every_control, with_moves, without_moves
from sync_notebooks import notebook_paths

PATHS = notebook_paths()


def taken(sources):
    """(name, source) wherever a later statement binds what an explorer's functions read.

    A function brings with it the names that its body reads. An import binds what was there.
    """
    needs, watched, found = {}, set(), []
    for source in sources:
        for statement in statements(source):
            reads, binds = reads_and_binds(statement)
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                found += [(name, source) for name in sorted(binds & watched)]
            open_names, known = list(reads), set()
            while open_names:
                name = open_names.pop()
                if name not in known:
                    known.add(name)
                    open_names += needs.get(name, ())
            if "plots.explore" in ast.unparse(statement):
                watched |= known
            callable_ = isinstance(statement, ast.FunctionDef | ast.ClassDef) or any(
                isinstance(node, ast.Lambda) for node in ast.walk(statement)
            )
            for name in binds:
                needs[name] = reads - {name} if callable_ else set()
    return found


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_no_later_cell_binds_a_name_of_an_explorer(path):
    cells = nbformat.read(path, as_version=4).cells
    assert taken([cell.source for cell in cells if cell.cell_type == "code"]) == []


@pytest.mark.parametrize(
    ("later", "names"),
    [
        ("table = 2", ["table"]),
        ("for scale in range(3):\n    pass", ["scale"]),
        ("def helper():\n    pass", ["helper"]),
        ("other = 2", []),
        ("sigma = 2", []),
        ("def f(table):\n    table = 1", []),
        ("import table", []),
        ("table += 1", ["table"]),
    ],
)
def test_the_search_for_taken_names_finds_them(later, names):
    cells = [
        "table, scale, other = {}, 1, 3",
        "def helper(n):\n    return table[n]",
        "def look(sigma):\n    return scale * helper(sigma)\nplots.explore(look, sigma=[1, 2])",
        later,
    ]
    assert [name for name, _ in taken(cells)] == names


@pytest.fixture
def shown():
    """What an explorer's function reads, and the explorer."""
    world = {"level": 0.5}

    def look(sigma, n):
        return torch.full((1, 4, 4), world["level"] * sigma * n)

    return world, plots.explore(look, title="t", sigma=[0.1, 0.9], n=[1, 2])


def test_controls_of_a_healthy_explorer_move(shown, capsys):
    move_every_control([shown[1]])
    assert "t: (1, 1) took 0.0" in capsys.readouterr().out


def test_a_function_that_fails_after_the_last_cell_is_told(shown):
    world, explorer = shown
    del world["level"]
    with pytest.raises(AssertionError, match="sigma = 0.9: .*KeyError"):
        move_every_control([explorer])


def test_another_picture_after_the_last_cell_is_told(shown):
    world, explorer = shown
    explorer.sliders["sigma"].value = 0.9
    explorer.sliders["n"].value = 2
    world["level"] = 0.3
    with pytest.raises(AssertionError, match="is another picture"):
        move_every_control([explorer])


def test_the_cell_is_added_at_the_end_and_taken_away_again():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    text = nbformat.writes(notebook)
    added = nbformat.reads(with_moves(text), as_version=4)
    assert [cell.source for cell in added.cells][0] == "1 + 1"
    assert "move_living" in added.cells[-1].source
    assert without_moves(nbformat.writes(added)) == text
