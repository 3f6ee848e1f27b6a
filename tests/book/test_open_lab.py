"""The copies that `make lab` opens: the reader's own once the reader has changed them."""

import json
import os

import nbformat

import lab_copies
import stored_numbers
from lab_copies import Dots, lab_files
from open_lab import command
from stored_numbers import store, stored_values, told
from sync_notebooks import notebook_paths
from write_files import write_unchanged


def test_files_that_were_changed_are_kept_and_the_others_renewed(tmp_path):
    first = {"a/one.ipynb": b"1", "a/two.ipynb": b"2"}
    assert write_unchanged(first, tmp_path) == []
    (tmp_path / "a/one.ipynb").write_bytes(b"mine")
    (tmp_path / "a/own.ipynb").write_bytes(b"own")
    second = {"a/one.ipynb": b"1+", "a/two.ipynb": b"2+"}
    for _ in range(2):
        assert write_unchanged(second, tmp_path) == ["a/one.ipynb"]
        contents = {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()}
        assert contents == {"one.ipynb": b"mine", "two.ipynb": b"2+", "own.ipynb": b"own"}
    (tmp_path / "a/one.ipynb").rename(tmp_path / "a/my-one.ipynb")
    assert write_unchanged(second, tmp_path) == []
    assert (tmp_path / "a/one.ipynb").read_bytes() == b"1+"
    assert (tmp_path / "a/my-one.ipynb").read_bytes() == b"mine"


def test_a_file_that_was_there_before_the_first_call_is_kept(tmp_path):
    (tmp_path / "one.ipynb").write_bytes(b"mine")
    assert write_unchanged({"one.ipynb": b"1"}, tmp_path) == ["one.ipynb"]


def test_chapters_that_were_not_executed_have_dots_and_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr(lab_copies, "executed_copy", lambda path: tmp_path / path.name)
    monkeypatch.setattr(lab_copies, "stored_values", lambda path: None)
    paths = notebook_paths()
    files, waiting = lab_files("student", paths)
    assert waiting == paths
    notebook = nbformat.reads(files["2-theory/07-le-mmse.ipynb"].decode(), as_version=4)
    assert "make book CHAPTERS=7" in notebook.cells[1].source
    text = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "…" in text
    assert "{glue" not in text


def test_stored_numbers_serve_where_nothing_was_executed(monkeypatch, tmp_path):
    monkeypatch.setattr(lab_copies, "executed_copy", lambda path: tmp_path / path.name)
    monkeypatch.setattr(lab_copies, "stored_values", lambda path: {"le-train-psnr": "12.34 dB"})
    _, waiting = lab_files("student", notebook_paths()[:1])
    assert waiting == []


def test_numbers_are_stored_with_their_code_and_not_used_with_another(monkeypatch, tmp_path):
    path, file = notebook_paths()[0], tmp_path / "numbers.json"
    monkeypatch.setattr(stored_numbers, "has_changed", lambda other: other != path)
    monkeypatch.setattr(stored_numbers, "glued_values", lambda paths: {"a": "1.0"})
    assert stored_values(path, file) is None
    store(notebook_paths(), file)
    assert list(json.loads(file.read_text())) == [path.stem]
    assert stored_values(path, file) == {"a": "1.0"}
    assert told([path], file) == ""
    monkeypatch.setattr(stored_numbers, "code_digest", lambda path: "another")
    assert stored_values(path, file) is None
    assert 'make book CHAPTERS="1"`, then `make notebooks' in told([path], file)


def test_known_numbers_stand_in_their_places():
    assert (Dots({"a": "1.0"}).get("a"), Dots().get("b"), "b" in Dots()) == ("1.0", "…", True)


def test_root_may_start_it_and_nobody_else_is_told_to(monkeypatch, tmp_path):
    for user, allowed in ((0, True), (1000, False)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert ("--allow-root" in command(tmp_path)) == allowed
