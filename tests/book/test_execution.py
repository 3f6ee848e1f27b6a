"""Executing chapters: nothing done is lost, and a page is readable before it is computed."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

import execute_notebooks
from draft_pages import draft
from execute_notebooks import Keeper, chapter, execute, in_words
from sync_notebooks import notebook_paths


@pytest.fixture
def small_book(tmp_path, monkeypatch):
    """A folder with two chapters in the place of the repository: one works, one fails."""
    monkeypatch.setattr(execute_notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(execute_notebooks, "EXECUTED", tmp_path / "_build" / "executed")
    (tmp_path / "requirements.txt").write_text("", encoding="utf-8")
    paths = [tmp_path / "notebooks" / "1-part" / f"{name}.ipynb" for name in ("01-a", "02-b")]
    paths[0].parent.mkdir(parents=True)
    for path, source in zip(paths, ("print(6 * 7)", "1 / 0"), strict=True):
        write(path, source)
    return paths


def write(path, source):
    cells = [nbformat.v4.new_code_cell(source)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


def outputs(path):
    notebook = nbformat.read(execute_notebooks.executed_copy(path), as_version=4)
    return [output["text"] for cell in notebook.cells for output in cell.outputs]


def test_what_is_done_is_kept_and_only_the_rest_is_executed_again(small_book, capsys):
    works, fails = small_book
    assert execute(small_book) == [fails]
    assert outputs(works) == ["42\n"]
    assert not execute_notebooks.executed_copy(fails).exists()
    assert "ZeroDivisionError" in capsys.readouterr().err
    write(fails, "print(1)")
    assert execute(small_book) == []
    assert outputs(fails) == ["1\n"]
    said = capsys.readouterr().out
    assert "1 of 2 chapters to execute: about" in said
    assert "02-b" in said
    assert "01-a" not in said
    assert execute(small_book) == []
    assert capsys.readouterr().out == "0 of 2 chapters to execute\n"


STOPPABLE = """
import sys
from pathlib import Path
import execute_notebooks
execute_notebooks.ROOT = Path(sys.argv.pop(1))
execute_notebooks.EXECUTED = execute_notebooks.ROOT / "_build" / "executed"
execute_notebooks.notebook_paths = lambda: sorted(execute_notebooks.ROOT.glob("notebooks/*/*"))
sys.exit(execute_notebooks.main())
"""
"""`make notebooks` of a small book, as a process of its own."""


def waited_for(condition, seconds=120):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def runs(process):
    """Whether a process is there and no zombie."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at processes in /proc")
def test_an_interrupt_keeps_what_is_done_and_leaves_no_kernel(small_book, tmp_path):
    works, waits = small_book
    began = tmp_path / "began"
    note = f"open({str(began)!r}, 'w').write(str(os.getpid()))"
    write(waits, f"import os, time\n{note}\ntime.sleep(600)")
    command = [sys.executable, "-c", STOPPABLE, str(tmp_path)]
    scripts = str(Path(execute_notebooks.__file__).parent)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=scripts, start_new_session=True
    ) as process:
        done = execute_notebooks.stamp(works).exists
        assert waited_for(lambda: done() and began.exists() and began.read_text())
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does in a terminal
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped: what is done is kept" in said
    assert waited_for(lambda: not runs(began.read_text()))
    write(waits, "print(1)")
    assert execute(small_book) == []
    assert outputs(works) == ["42\n"]
    assert outputs(waits) == ["1\n"]


def test_progress_says_what_is_left(monkeypatch, tmp_path):
    keeper = Keeper(tmp_path, dict.fromkeys("abcd"))
    keeper.kept = {"a"}
    monkeypatch.setattr(execute_notebooks.time, "monotonic", lambda: keeper.start + 120)
    assert keeper.progress() == "1 of 4, about 6 min left"
    keeper.kept = set("abcd")
    assert keeper.progress() == "4 of 4"


@pytest.mark.parametrize(("seconds", "words"), [(8, "10 s"), (61, "60 s"), (200, "3 min")])
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


def test_chapters_are_named_by_number_or_path():
    paths = notebook_paths()
    assert chapter("7") == next(path for path in paths if path.name.startswith("07-"))
    assert chapter(str(paths[0])) == paths[0]
    for wrong in ("0", "99", "seven", "README.md"):
        with pytest.raises(argparse.ArgumentTypeError, match=wrong):
            chapter(wrong)


def test_a_draft_shows_the_text_and_a_place_for_every_figure_and_number():
    figure = {"mystnb": {"figure": {"name": "fig-a", "caption": "A picture."}}}
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_markdown_cell(
            "It is {glue:text}`psnr`, not {glue:text}`a`, in {numref}`fig-a`."
        ),
        nbformat.v4.new_code_cell("draw()", metadata=figure),
        nbformat.v4.new_code_cell("print()"),
    ]
    text = draft(nbformat.writes(nbformat.v4.new_notebook(cells=cells)), 7, {"psnr": "31 dB"})
    title, notice, prose, drawn, other = nbformat.reads(text, as_version=4).cells
    assert title.source == "# Title"
    assert "CHAPTERS=7" in notice.source
    assert prose.source == "It is 31 dB, not …, in {numref}`fig-a`."
    assert "not computed" in drawn.outputs[0].data["text/html"]
    assert other.outputs == []
