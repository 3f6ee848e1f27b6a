"""Write a student copy and an instructor copy of the notebooks for a class.

    python book/scripts/make_course.py              write _build/course/student and .../instructor
    python book/scripts/make_course.py --execute    execute both copies, too, and judge the answers

The student copy is the book without its solutions, the instructor copy has them. Both keep every
other code cell and every check as they are and turn the text into plain Markdown, numbers included,
so that any notebook editor shows it. The numbers come from the executed copies of the notebooks.
"""

import argparse
import ast
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from address import repository_url, wheel_name
from course_pages import exercise_list, readme
from execute_notebooks import CELL_SECONDS, WORKERS, executed_copy, has_changed
from lemmse.exercises import EXERCISES
from plain_markdown import Bibliography, Book, Converter, Piece
from sync_notebooks import (
    NOTEBOOK_METADATA,
    ROOT,
    SETUP_CELL,
    notebook_paths,
    setup_source,
)
from write_files import write_changed

COURSE = ROOT / "_build" / "course"
COPIES = ("student", "instructor")
NOTATION = "book/notation.md"
WHEEL = wheel_name()
FIND_WHEEL = f"""\
from pathlib import Path

    wheels = [w for up in (".", "..") for w in Path(up).glob("lemmse-*.whl")]
    if not wheels:
        raise ImportError(
            "lemmse is not installed here. Its file {WHEEL} comes\\n"
            "with the notebooks: put it beside this one, and run this cell again.\\n"
            "On Colab: the folder symbol on the left, then the first button above\\n"
            "the list of files, uploads it."
        ) from error
    %pip install --quiet {{wheels[0]}}
    import lemmse"""
HIDDEN_SOURCE = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
HIDDEN_OUTPUTS = {"hide-output", "hide-cell", "remove-output", "remove-cell"}


@dataclass(frozen=True)
class Chapter:
    """A chapter of the course.

    Attributes:
        number: as the book counts, 7.
        title: in plain Markdown.
        path: of the notebook in the copies, "2-theory/07-le-mmse.ipynb".
        cells: (part, cell) in order; the part is "text", "exercise" or "solution".
        exercises: number "7.2" -> title.
    """

    number: int
    title: str
    path: str
    cells: tuple
    exercises: dict[str, str]

    def notebook(self, copy):
        """The notebook of a copy: without the solutions for the students."""
        cells = [cell for part, cell in self.cells if copy == "instructor" or part != "solution"]
        return nbformat.from_dict(
            {"cells": cells, "metadata": NOTEBOOK_METADATA, "nbformat": 4, "nbformat_minor": 5}
        )


def glued_values(paths):
    """The numbers that the executed notebooks computed for the text: name -> text."""
    values = {}
    for path in paths:
        notebook = nbformat.read(executed_copy(path), as_version=4)
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                scrap = output.get("metadata", {}).get("scrapbook")
                if scrap:
                    text = output.data[f"{scrap.mime_prefix}text/plain"]
                    values[scrap.name] = ast.literal_eval(text)
    return values


@dataclass(frozen=True)
class Course:
    """All that the copies are made from.

    Attributes:
        chapters: in the order of the book.
        notation: the page of symbols, in plain Markdown.
        labels: label -> what a reference to it says, "Theorem 7.1".
        unresolved: references, numbers and links that lead nowhere, in words.
    """

    chapters: list[Chapter]
    notation: str
    labels: dict[str, str]
    unresolved: list[str]


def student_setup(url):
    """The setup cell of the copies: without an address it installs the wheel that lies beside."""
    if url:
        return setup_source(url)
    find = {"or_install": " or install it", "as_error": " as error", "when_missing": FIND_WHEEL}
    return SETUP_CELL.format(**find)


def read_course(paths, values, notices=None):
    """The notebooks at `paths` as a course, with the glued numbers `values`.

    `notices` holds a text for a path, to stand below the title of that chapter.
    """
    notebooks = {path.relative_to(ROOT).as_posix(): path for path in paths}
    pages = {name: name.removeprefix("notebooks/") for name in notebooks}
    pages[NOTATION] = "notation.md"
    book = Book(pages, Bibliography(ROOT / "book" / "references.bib"), values)
    for _ in range(2):  # the first round finds the labels, the second one uses them
        book.unresolved.clear()
        chapters = [
            read_chapter(book, name, path, (notices or {}).get(path))
            for name, path in notebooks.items()
        ]
        notation = Converter(book, NOTATION)
        pieces = notation.convert((ROOT / NOTATION).read_text(encoding="utf-8"))
    text = "\n\n".join([*(piece.source for piece in pieces), notation.references()])
    return Course(chapters, text.rstrip() + "\n", book.labels, sorted(set(book.unresolved)))


def read_chapter(book, name, path, notice=None):
    """One notebook of the book as a chapter of the course."""
    number = int(path.name[:2])
    converter, cells = Converter(book, name, number), []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            cells += code_cells(cell, converter)
        else:
            pieces = converter.convert(cell.source)
            ids = [cell.id, *(f"{cell.id}-{i}" for i in range(1, len(pieces)))]
            cells += [markdown_cell(*arguments) for arguments in zip(ids, pieces, strict=True)]
    start = cells[0][1].source.removeprefix("# ")
    cells[0][1].source, title = f"# {number}. {start}", start.partition("\n")[0]
    if notice:
        cells.insert(1, markdown_cell("notice", Piece("text", notice)))
    if converter.cited:
        cells.append(markdown_cell("references", Piece("text", converter.references())))
    return Chapter(number, title, book.pages[name], tuple(cells), converter.exercises)


def code_cells(cell, converter):
    """A code cell with what Jupyter knows of hiding, and the caption of its figure below it."""
    tags, part = set(cell.metadata.get("tags", [])), converter.part
    hidden = {"source_hidden": HIDDEN_SOURCE, "outputs_hidden": HIDDEN_OUTPUTS}
    jupyter = {name: True for name, those in hidden.items() if tags & those}
    metadata = ({"jupyter": jupyter} if jupyter else {}) | part_metadata(part, tags & {"setup"})
    source = student_setup(repository_url()) if "setup" in tags else cell.source
    cells = [(part, nbformat.v4.new_code_cell(source, id=cell.id, metadata=metadata))]
    figure = cell.metadata.get("mystnb", {}).get("figure")
    if figure:
        caption = Piece(part, converter.caption(figure))
        cells.append(markdown_cell(f"{cell.id}-caption", caption))
    return cells


def markdown_cell(identifier, piece):
    """A piece of text as a cell, with the part that it belongs to."""
    metadata = part_metadata(piece.part)
    cell = nbformat.v4.new_markdown_cell(piece.source, id=identifier[-64:], metadata=metadata)
    return piece.part, cell


def part_metadata(part, tags=()):
    """The metadata that say which part of the chapter a cell belongs to."""
    tags = [*tags] if part == "text" else [*tags, part]
    return {"tags": tags} if tags else {}


def course_files(copy, course):
    """The files of a copy: relative path -> bytes."""
    readme_text = readme(copy, course.chapters, repository_url(), WHEEL)
    texts = {"README.md": readme_text, "notation.md": course.notation}
    if copy == "instructor":
        texts["exercises.md"] = exercise_list(course.chapters, EXERCISES)
    for chapter in course.chapters:
        texts[chapter.path] = nbformat.writes(chapter.notebook(copy)) + "\n"
    return {name: text.encode() for name, text in texts.items()}


def package_file():
    """The wheel that goes with the copies of a project without an address, as {name: bytes}."""
    wheel = ROOT / "_build" / WHEEL
    return {} if repository_url() or not wheel.exists() else {WHEEL: wheel.read_bytes()}


def run(notebook, environment):
    """Execute a notebook in an empty folder, as a student would; what is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="lemmse-") as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],
        )
        try:
            client.execute(env=environment)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            return [str(error)]
    return [complaint for cell in notebook.cells for complaint in judge(cell)]


def judge(cell):
    """Whether the answers to the checks of an executed cell are those that its part promises."""
    tags = cell.metadata.get("tags", [])
    if cell.cell_type != "code" or "exercises.check(" not in cell.source:
        return []
    answers = [output.data.get("text/plain", "") for output in cell.outputs if "data" in output]
    signs = ("✓",) if "solution" in tags else ("…", "✗")  # unfinished, or wrong and to be mended
    if any(answer.startswith(signs) for answer in answers):
        return []
    return [f"cell {cell.id}: expected an answer with {' or '.join(signs)}, got {answers}"]


def execute(folder):
    """Execute all notebooks below a folder; those with complaints, with the complaints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("LEMMSE_BUILD", None)

    def run_one(path):
        complaints = run(nbformat.read(path, as_version=4), environment)
        print(f"{'failed' if complaints else 'passed'}: {path.relative_to(folder)}", flush=True)
        return path, complaints

    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(run_one, sorted(folder.rglob("*.ipynb"))))
    return [result for result in results if result[1]]


def write(folder):
    """Write both copies into a folder; what stands in the way, in words."""
    paths = notebook_paths()
    stale = [path.relative_to(ROOT).as_posix() for path in paths if has_changed(path)]
    if stale:
        return [f"not executed, or changed since: {name}" for name in stale]
    course = read_course(paths, glued_values(paths))
    if not course.unresolved:
        for copy in COPIES:
            write_changed(course_files(copy, course) | package_file(), folder / copy)
            print(f"{copy} copy: {folder / copy}")
    return course.unresolved


def main():
    """Write both copies, and execute them if that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--execute", action="store_true", help="execute both copies (minutes)")
    wanted = parser.parse_args().execute
    complaints = write(COURSE)
    if wanted and not complaints:
        for path, found in execute(COURSE):
            complaints += [f"{path.relative_to(COURSE)}: {complaint}" for complaint in found]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
