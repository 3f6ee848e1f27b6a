"""Marking hand-ins: every kind of answer and of accident, in processes of their own."""

import csv
import json
import os
import re
import sys
import threading

import pytest

from lemmse.__main__ import main
from lemmse.exercises import EXERCISES
from lemmse.marking import folder as marking_folder
from lemmse.marking.folder import collect, mark_folder
from lemmse.marking.handin import Mark, mark_notebook
from lemmse.marking.limits import Limits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no resource limits on Windows")

IMPORT = "from lemmse import exercises\nfrom lemmse.exercises import EXERCISES\n"


def asked(number, body, before=""):
    """A cell with a function for an exercise, and its check."""
    function = f"def f(*a):\n    {body}\n"
    return f"{IMPORT}{before}\n{function}exercises.check({number!r}, f)"


def right(number):
    return asked(number, f"return EXERCISES[{number!r}].reference(*a)")


def wrong(number):
    return asked(number, f"return EXERCISES[{number!r}].wrong[0][0](*a)")


def notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]
    written.insert(0, {"cell_type": "markdown", "source": ["# Title"]})
    path.write_text(json.dumps({"cells": written, "nbformat": 4}), encoding="utf-8")
    return path


def marked(path, *wanted, seconds=60.0, secret=""):
    marks = mark_notebook(path, list(wanted), secret, Limits(seconds, 4), threading.Event())
    assert [mark.exercise for mark in marks] == list(wanted)
    return marks


ANSWERS = {
    "1.1": (right("1.1"), "right", "random inputs"),
    "1.2": (wrong("1.2"), "wrong", "Your function should"),
    "1.3": (asked("1.3", "..."), "unwritten", "not written yet"),
    "2.1": (asked("2.1", "return 1 / 0"), "error", "ZeroDivisionError"),
    "2.2": (asked("2.2", "return a[0]", before="undefined"), "error", "NameError"),
    "2.3": ("def f(:\n" + right("2.3"), "error", "SyntaxError"),
    "3.1": (asked("3.1", "return bytearray(10**11)"), "error", "MemoryError"),
    "3.2": ("print('no check')", "unwritten", "was not found"),
    "4.1": (right("4.1"), "right", "random inputs"),
}


def test_every_kind_of_answer_in_one_notebook(tmp_path):
    path = notebook(tmp_path / "a.ipynb", *(cell for cell, _, _ in ANSWERS.values()))
    for mark in marked(path, *ANSWERS):
        _, result, text = ANSWERS[mark.exercise]
        assert mark.result == result, mark.exercise
        assert text in mark.text


def test_a_cell_that_kills_or_keeps_its_process_costs_nothing_else(tmp_path):
    cells = [
        right("1.1"),
        asked("1.2", "import os; os.abort()"),
        asked("1.3", "return a[0]", before="while True:\n    pass"),
        right("2.1"),
    ]
    marks = marked(notebook(tmp_path / "a.ipynb", *cells), "1.1", "1.2", "1.3", "2.1", seconds=30)
    assert [mark.result for mark in marks] == ["right", "error", "timeout", "right"]
    assert [mark.failed for mark in marks[1:3]] == ["the process died", "the cell does not end"]


def test_a_wrong_answer_is_returned_with_all_hints(tmp_path):
    (mark,) = marked(notebook(tmp_path / "a.ipynb", wrong("1.2")), "1.2")
    assert f"Hint: {EXERCISES['1.2'].hint}" in mark.text
    assert "fails again" not in mark.text


def test_a_file_that_is_no_notebook_is_an_error(tmp_path):
    (tmp_path / "a.ipynb").write_text("{")
    (mark,) = marked(tmp_path / "a.ipynb", "1.1")
    assert (mark.result, mark.failed) == ("error", "is a notebook")


def test_a_secret_finds_who_learned_the_inputs_by_heart(tmp_path):
    learned = """
exercise = EXERCISES["1.1"]
seen = [(list(d.values()), exercise.reference(*d.values())) for d in map(exercise.drawn, range(5))]
def same(a, b):
    return a.shape == b.shape and bool((a == b).all())
"""
    body = "return next((y for x, y in seen if all(map(same, a, x))), a[0])"
    path = notebook(tmp_path / "a.ipynb", asked("1.1", body, learned), right("1.2"))
    assert [mark.result for mark in marked(path, "1.1", "1.2", secret="x")] == ["wrong", "right"]


@pytest.fixture
def handed_in(tmp_path):
    folder = tmp_path / "hand-ins"
    notebook(folder / "anna" / "01-forward-operators.ipynb", "a")
    notebook(folder / "anna" / ".ipynb_checkpoints" / "01-forward-operators.ipynb", "a")
    notebook(folder / "bert" / "week" / "01-forward-operators.ipynb", "b")
    notebook(folder / "carl 01-forward-operators.ipynb", "c")
    (folder / "dora").mkdir()
    return folder


def test_students_are_folders_and_files(handed_in):
    found = {student.name: len(student.notebooks) for student in collect(handed_in)}
    assert found == {"anna": 1, "bert": 1, "carl 01-forward-operators": 1, "dora": 0}


@pytest.fixture
def runs(monkeypatch):
    """Stands for the processes: which notebooks ran, and what they came to."""
    ran = []

    def fake(path, wanted, secret, limits, stop):
        ran.append(path)
        if path.read_text().count('"b"'):
            return [Mark(n, "wrong", "no", EXERCISES[n].properties[0].name) for n in wanted]
        return [Mark(n, "right", "yes") for n in wanted]

    monkeypatch.setattr(marking_folder, "mark_notebook", fake)
    return ran


def table(out):
    with (out / "marks.csv").open(encoding="utf-8") as file:
        return list(csv.reader(file))


def test_results_are_written_and_nothing_is_run_twice(handed_in, runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["mark", str(handed_in), "--out", str(out), "--exercises", "1.2", "1.1"]) == 0
    rows = table(out)
    assert rows[0] == ["student", "exercise", "result"]
    assert rows[1:5] == [
        ["anna", "1.1", "right"],
        ["anna", "1.2", "right"],
        ["bert", "1.1", "wrong"],
        ["bert", "1.2", "wrong"],
    ]
    assert ["dora", "1.1", "unwritten"] in rows
    summary = (out / "summary.md").read_text(encoding="utf-8")
    assert "4 of 4 hand-ins are marked" in summary
    assert re.search(r"^\| 1.1 \| 2 \| 1 \| 0 \| 0 \| 1 \|$", summary, re.M)
    assert f"not one that {EXERCISES['1.1'].properties[0].name} (bert)" in summary
    assert "0 of 2 exercises right" in (out / "feedback" / "bert.md").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "dora: 2 unwritten" in said
    assert "4/4 " in said
    assert len(runs) == 3
    mark_folder(handed_in, out, ["1.1", "1.2"])
    assert len(runs) == 3
    notebook(handed_in / "bert" / "week" / "01-forward-operators.ipynb", "better")
    mark_folder(handed_in, out, ["1.1", "1.2"])
    assert len(runs) == 4
    assert ["bert", "1.1", "right"] in table(out)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"print": 1, "marks": [3]}'])
def test_marks_that_cannot_be_read_are_made_again(handed_in, runs, tmp_path, content):
    mark_folder(handed_in, tmp_path / "out", ["1.1"])
    table_before = table(tmp_path / "out")
    runs.clear()
    (tmp_path / "out" / "students" / "anna.json").write_text(content)
    mark_folder(handed_in, tmp_path / "out", ["1.1"])
    assert [path.parent.name for path in runs] == ["anna"]
    assert table(tmp_path / "out") == table_before


def test_a_name_of_another_encoding_is_marked(handed_in, runs, tmp_path, capsys):
    name = os.fsdecode(b"M\xfcller")  # as it comes out of some archives
    notebook(handed_in / name / "01-forward-operators.ipynb", "a")
    assert main(["mark", str(handed_in), "--out", str(tmp_path / "out"), "--exercises", "1.1"]) == 0
    assert ["M\\udcfcller", "1.1", "right"] in table(tmp_path / "out")
    assert "M\\udcfcller" in (tmp_path / "out" / "feedback" / f"{name}.md").read_text()


def test_without_a_list_the_chapters_tell_the_exercises(handed_in, runs, tmp_path):
    marks = mark_folder(handed_in, tmp_path / "out")
    expected = sorted(number for number in EXERCISES if number.startswith("1."))
    assert [mark.exercise for mark in marks["anna"]] == expected


def test_an_interrupted_run_keeps_what_it_has(handed_in, runs, tmp_path, monkeypatch):
    def tell(line):
        if line.startswith("2/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mark_folder(handed_in, tmp_path / "out", ["1.1"], tell=tell)
    kept = {student for student, _, _ in table(tmp_path / "out")[1:]}
    assert len(kept) == 2
    runs.clear()
    mark_folder(handed_in, tmp_path / "out", ["1.1"])
    assert len(table(tmp_path / "out")) == 5
    assert not kept & {path.relative_to(handed_in).parts[0] for path in runs}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "expected a folder"),
        (["hand-ins", "--exercises", "0.1"], "unknown exercises: 0.1"),
        (["hand-ins", "--out", "hand-ins/out"], "outside of"),
        (["hand-ins", "--seconds", "0"], "expected limits above zero"),
        (["hand-ins", "--seconds", "nan"], "expected limits above zero"),
        (["hand-ins", "--memory", "inf"], "of the memory at most 1e+09 GB"),
        (["hand-ins", "--jobs", "0"], "--jobs: expected a positive number"),
        (["hand-ins/dora"], "found no notebook"),
    ],
)
def test_mark_rejects(arguments, message, handed_in, monkeypatch, capsys):
    monkeypatch.chdir(handed_in.parent)
    assert main(["mark", *arguments]) == 2
    assert message in capsys.readouterr().err
