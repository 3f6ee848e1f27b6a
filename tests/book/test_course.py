"""The copies for a class: nothing of the solutions in one, all of the book in the other."""

import ast
import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from cell_names import reads_and_binds, statements

import make_course
from course_pages import escape
from lemmse.exercises import EXERCISES
from make_course import (
    COPIES,
    WHEEL,
    course_files,
    execute,
    judge,
    read_course,
    student_setup,
    write,
)
from plain_markdown import Bibliography, Book, Converter
from sync_notebooks import ROOT, is_setup, notebook_paths

PATHS = notebook_paths()
QUICKEST = "1-inverse-problems/02-regularisation.ipynb"
CHECK = re.compile(r"""exercises\.check\(\s*["']([\d.]+)["']""")
MYST = re.compile(r"\{[a-z][\w:-]*\}`|^:::|^\([\w-]+\)=|\$\$ *\(", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+\.\w+)(?:#[^)\s]*)?\)")


class AnyValue(dict):
    """Stands for the numbers that only an execution gives."""

    def __contains__(self, name):
        return True

    def get(self, name, default=None):
        return "1.0"


@pytest.fixture(scope="module")
def course():
    return read_course(PATHS, AnyValue())


@pytest.fixture(scope="module")
def copies(course):
    """copy -> relative path -> notebook"""
    return {
        copy: {
            name: nbformat.reads(text.decode(), as_version=4)
            for name, text in course_files(copy, course).items()
            if name.endswith(".ipynb")
        }
        for copy in COPIES
    }


def name_of(path):
    return path.relative_to(ROOT / "notebooks").as_posix()


every_chapter = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
every_copy = pytest.mark.parametrize("copy", COPIES)


def code(notebook):
    """The code cells but the setup cell, which is the copies' own."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and not is_setup(cell)]
    return [(cell.id, cell.source) for cell in cells]


def markdown(name, content):
    """The texts of a file of a copy."""
    if not name.endswith(".ipynb"):
        return [content.decode()]
    cells = nbformat.reads(content.decode(), as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


def parts(path):
    """(part, code cell) of a notebook of the book: read from the fences, without the converter."""
    found, part = [], "text"
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            found.append((part, cell))
        else:
            fences = re.findall(r"^:::\{(exercise|solution)-(start|end)\}", cell.source, re.M)
            for kind, end in fences:
                part = kind if end == "start" else "text"
    return found


# What is in the copies


@every_chapter
def test_the_instructor_copy_has_all_code_of_the_book(path, copies):
    book = nbformat.read(path, as_version=4)
    assert code(copies["instructor"][name_of(path)]) == code(book)


@every_chapter
def test_the_student_copy_lacks_the_code_of_the_solutions_and_no_other(path, copies):
    taken = [cell.id for part, cell in parts(path) if part == "solution"]
    kept = [c for c in code(nbformat.read(path, as_version=4)) if c[0] not in taken]
    assert code(copies["student"][name_of(path)]) == kept


@every_chapter
def test_the_student_copy_only_loses_cells(path, copies):
    student, instructor = (copies[copy][name_of(path)] for copy in COPIES)
    lost = [cell for cell in instructor.cells if cell not in student.cells]
    assert student.cells == [cell for cell in instructor.cells if cell not in lost]
    assert lost
    assert all("solution" in cell.metadata.tags for cell in lost)


@every_chapter
def test_no_solution_is_left_in_the_student_copy(path, copies):
    student = copies["student"][name_of(path)]
    text = "\n".join(cell.source for cell in student.cells)
    assert not re.search(r"^#+ Solution", text, re.MULTILINE)
    for part, cell in parts(path):
        if part == "solution":
            assert cell.source not in text
    assert not any("solution" in cell.metadata.get("tags", []) for cell in student.cells)


@every_copy
def test_every_registered_exercise_stands_under_its_number_with_its_check(copy, copies):
    found = {}
    for notebook in copies[copy].values():
        number = None
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                for heading in re.findall(r"^### Exercise ([\d.]+): \S", cell.source, re.M):
                    number = heading
            elif "exercise" in cell.metadata.get("tags", []):
                for checked in CHECK.findall(cell.source):
                    assert checked == number
                    found[checked] = found.get(checked, 0) + 1
    assert found == dict.fromkeys(EXERCISES, 1)


@every_chapter
def test_notebooks_are_valid_and_hold_no_outputs(path, copies):
    for copy in COPIES:
        notebook = copies[copy][name_of(path)]
        nbformat.validate(notebook)
        ids = [cell.id for cell in notebook.cells]
        assert len(ids) == len(set(ids))
        assert is_setup(next(cell for cell in notebook.cells if cell.cell_type == "code"))
        assert not any(cell.get("outputs") for cell in notebook.cells)
        assert all(cell.source.strip() for cell in notebook.cells)


def test_all_references_citations_and_links_lead_somewhere(course):
    assert course.unresolved == []


@every_copy
def test_texts_are_plain_markdown(copy, course):
    for name, content in course_files(copy, course).items():
        for text in markdown(name, content):
            assert not MYST.search(text), name
            assert text.count("<blockquote>") == text.count("</blockquote>"), name
            assert "\x00" not in text


@every_copy
def test_links_stay_inside_the_copy(copy, course, tmp_path):
    files = course_files(copy, course)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for name, content in files.items():
        for target in LINK.findall("\n".join(markdown(name, content))):
            if "://" not in target:
                assert (tmp_path / name).parent.joinpath(target).is_file(), name


@every_copy
def test_the_readme_lists_every_chapter(copy, course):
    readme = course_files(copy, course)["README.md"].decode()
    assert "{" not in readme
    for chapter in course.chapters:
        assert f"]({chapter.path})" in readme
        assert all(number in readme for number in chapter.exercises)


def test_students_are_told_what_students_can_do(course):
    files = course_files("student", course)
    readme = files["README.md"].decode()
    assert f"pip install {WHEEL} " in readme
    first = nbformat.reads(files[QUICKEST].decode(), as_version=4)
    (setup,) = [cell.source for cell in first.cells if is_setup(cell)]
    assert "lemmse-*.whl" in setup
    for text in (readme, setup):
        assert "make " not in text
        assert "<folder>" not in text


def test_with_an_address_the_copies_install_from_it(monkeypatch):
    url = "https://github.com/someone/something"
    assert f"git+{url}" in student_setup(url)
    assert "whl" not in student_setup(url)
    monkeypatch.setattr(make_course, "repository_url", lambda: url)
    readme = course_files("student", read_course(PATHS[:1], AnyValue()))["README.md"].decode()
    assert f"git+{url}" in readme
    assert "whl" not in readme


def test_a_notice_stands_below_the_title():
    course = read_course(PATHS[:1], AnyValue(), {PATHS[0]: "Mind this."})
    cells = course.chapters[0].notebook("student").cells
    assert cells[0].source.startswith("# 1. ")
    assert cells[1].source == "Mind this."


def test_the_list_of_exercises_tells_what_is_checked(course):
    assert "exercises.md" not in course_files("student", course)
    text = course_files("instructor", course)["exercises.md"].decode()
    for number, exercise in EXERCISES.items():
        section = text.partition(f"### {number} ")[2].partition("###")[0]
        for asked in exercise.properties:
            assert f"- {escape(asked.name)}." in section
            assert escape(asked.hint) in section


def test_the_same_notebooks_give_the_same_bytes(course):
    again = read_course(PATHS, AnyValue())
    for copy in COPIES:
        assert course_files(copy, again) == course_files(copy, course)


# The student copy runs: what remains needs nothing of what was taken


def borrowed(cells, lender, borrowers):
    """(name, source) wherever a later cell of the borrowing parts reads what a lending one bound.

    A name that is bound again before it is read, outside the lending part, is not borrowed. A
    function brings with it the names that its body reads. A random generator that the lending part
    draws from is lent, too: what is drawn from it later depends on that.
    """
    lent, needs, generators, found = set(), {}, set(), []
    for part, source in cells:
        for statement in statements(source):
            reads, binds = reads_and_binds(statement)
            for name in list(reads):
                reads |= needs.get(name, set())
            if part in borrowers:
                found += [(name, source) for name in sorted(reads & lent)]
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                needs[statement.name] = reads - {statement.name}
            if isinstance(statement, ast.Assign) and "Generator(" in ast.unparse(statement):
                generators |= binds
            else:
                generators -= binds
            lent = lent | binds | (reads & generators) if part == lender else lent - binds
    return found


@every_chapter
def test_nothing_needs_what_a_solution_defines(path):
    cells = [(part, cell.source) for part, cell in parts(path)]
    assert borrowed(cells, "solution", {"text", "exercise"}) == []


@every_chapter
def test_the_text_needs_no_exercise(path):
    cells = [(part, cell.source) for part, cell in parts(path)]
    assert borrowed(cells, "exercise", {"text"}) == []


@pytest.mark.parametrize(
    ("later", "names"),
    [
        ("print(a)", ["a"]),
        ("a = 2\nprint(a)", []),
        ("def f(a):\n    return a", []),
        ("def f():\n    return a", ["a"]),
        ("print(g(1))", ["a"]),
        ("[a for a in range(3)]", []),
        ("a.append(1)", ["a"]),
        ("import numpy as a\na", []),
        ("%pip install a", []),
        ("for a in range(3):\n    print(a)", []),
        ("for b in range(3):\n    print(a)", ["a"]),
        ("for a in a:\n    pass", ["a"]),
        ("with open(a) as f:\n    pass", ["a"]),
        ("with open('f') as a:\n    print(a)", []),
        ("if g:\n    b = a", ["a", "a"]),
    ],
)
def test_the_search_for_borrowed_names_finds_them(later, names):
    cells = [("text", "a = 1\ndef g(x):\n    return a + x"), ("solution", "a = 3"), ("text", later)]
    assert [name for name, _ in borrowed(cells, "solution", {"text"})] == names


@pytest.mark.parametrize(
    ("solution", "names"),
    [
        ("noise(2)", ["g"]),
        ("torch.rand(2, generator=g)", ["g"]),
        ("h = torch.Generator()\ntorch.rand(2, generator=h)", []),
        ("len([2])", []),
    ],
)
def test_a_generator_that_a_solution_draws_from_is_borrowed(solution, names):
    start = "g = torch.Generator()\ndef noise(n):\n    return torch.randn(n, generator=g)"
    cells = [("text", start), ("solution", solution), ("text", "noise(3)")]
    assert [name for name, _ in borrowed(cells, "solution", {"text"})] == names


# Plain Markdown


BIB = """\
@article{one, author = {Weiss, Ann}, title = {On Patches}, journal = {J}, year = {2001}}
@article{two, author = {B{\\'e}zout, E. and van der Berg, J.}, title = {T}, journal = {J},
    year = {1999}}
@article{many, author = {A, A. and B, B. and C, C.}, title = {T}, journal = {J}, year = {2020}}
"""


@pytest.fixture
def book(tmp_path):
    (tmp_path / "a.bib").write_text(BIB, encoding="utf-8")
    pages = {"notebooks/a/b.ipynb": "a/b.ipynb", "book/notation.md": "notation.md"}
    return Book(pages, Bibliography(tmp_path / "a.bib"), {"psnr": "31.2 dB"})


@pytest.fixture
def convert(book):
    def both_rounds(source):
        for _ in range(2):
            book.unresolved.clear()
            pieces = Converter(book, "notebooks/a/b.ipynb", 7).convert(source)
        return [(piece.part, piece.source) for piece in pieces]

    return both_rounds


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("See {eq}`eq-a`.\n\n$$\nx\n$$ (eq-a)", "See (7.1).\n\n$$\nx\n\\tag{7.1}\n$$"),
        ("$$ a $$ b $$ c $$ (eq-c)", "$$ a $$ b $$ c \\tag{7.1} $$"),
        ("We got {glue:text}`psnr`.", "We got 31.2 dB."),
        ("{cite:t}`one` and {cite:t}`many`", "Weiss (2001) and A et al. (2020)"),
        ("So it is {cite:p}`one, two`.", "So it is (Weiss, 2001; Bézout and van der Berg, 1999)."),
        ("{class}`~lemmse.estimators.LEMMSE`, {func}`lemmse.f`", "`LEMMSE`, `lemmse.f`"),
        ("(sec-a)=\n## On a\n\nas {ref}`sec-a`, {ref}`there <sec-a>`", "## On a\n\nas On a, there"),
        ("[symbols](../../book/notation.md#a)", "[symbols](../notation.md#a)"),
        ("[here](b.ipynb), [there](https://a.b/c)", "[here](../a/b.ipynb), [there](https://a.b/c)"),
        ("[the API](../../book/api.md)", "the API"),
        ("$f[n](z)$ and [n](#up)", "$f[n](z)$ and [n](#up)"),
        ("```python\n:::{note}\n$$ (eq-a)\n```", "```python\n:::{note}\n$$ (eq-a)\n```"),
        (":::{note}\nMind.\n:::", "<blockquote>\n\n**Note.**\n\nMind.\n\n</blockquote>"),
        (
            ":::{prf:lemma} Name\n:label: lem\nA.\n:::\n\n:::{prf:proof}\nBy {prf:ref}`lem`.\n:::",
            "<blockquote>\n\n**Lemma 7.1** (Name)**.**\n\nA.\n\n</blockquote>\n\n"
            "*Proof.* By Lemma 7.1. $\\square$",
        ),
        (
            ":::{prf:proof} of {eq}`eq-a`\n$$\na\n$$ (eq-a)\n:::",
            "*Proof of (7.1).*\n\n$$\na\n\\tag{7.1}\n$$\n\n$\\square$",
        ),
    ],
)
def test_plain_markdown(source, plain, convert, book):
    assert convert(source) == [("text", plain)]
    assert book.unresolved == []


def test_exercises_and_solutions_become_headings_and_parts(convert):
    source = (
        "Before.\n\n:::{exercise} First\n:label: ex-a\nDo.\n:::\n\n"
        ":::{solution-start} ex-a\n:class: dropdown\n:::\n\nDone.\n\n"
        ":::{solution-end}\n:::\n\nAfter."
    )
    assert convert(source) == [
        ("text", "Before."),
        ("exercise", "### Exercise 7.1: First\n\nDo.\n\n---"),
        ("solution", "#### Solution of exercise 7.1\n\nDone.\n\n---"),
        ("text", "After."),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "{eq}`eq-missing`",
        "{glue:text}`missing`",
        "{cite:p}`missing`",
        "{unknown}`a`",
        ":::{unknown}\n:::",
        "[a](missing.ipynb)",
    ],
)
def test_what_leads_nowhere_is_told(source, convert, book):
    convert(source)
    (complaint,) = book.unresolved
    assert complaint.startswith("notebooks/a/b.ipynb: ")


def test_references_are_listed_by_author(book):
    converter = Converter(book, "notebooks/a/b.ipynb", 7)
    assert converter.references() == ""
    converter.convert("{cite:t}`one` {cite:p}`two`")
    lines = converter.references().splitlines()
    assert lines[0] == "## Works cited"
    assert [line[:2] for line in lines[2:]] == ["- ", "- "]
    assert "Bézout" in lines[2]
    assert "On patches" in lines[3]


# Execution


def test_stale_notebooks_are_not_copied(monkeypatch, tmp_path):
    monkeypatch.setattr(make_course, "has_changed", lambda path: path == PATHS[0])
    complaints = write(tmp_path)
    assert complaints == [
        f"not executed, or changed since: {PATHS[0].relative_to(ROOT).as_posix()}"
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tags", "answer", "good"),
    [
        (["solution"], "✓ Exercise 7.2: right", True),
        (["solution"], "… Exercise 7.2: not written yet", False),
        (["exercise"], "… Exercise 7.2: not written yet", True),
        (["exercise"], "✓ Exercise 7.2: right", False),
        (["exercise"], "✗ Exercise 7.2: not right yet", True),
        (["solution"], "✗ Exercise 7.2: not right yet", False),
    ],
)
def test_answers_are_judged_by_the_part(tags, answer, good):
    output = nbformat.v4.new_output("execute_result", data={"text/plain": answer})
    cell = nbformat.v4.new_code_cell(
        'exercises.check("7.2", f)', metadata={"tags": tags}, outputs=[output]
    )
    assert (judge(cell) == []) == good
    cell.outputs = []
    assert judge(cell)


@pytest.mark.book
def test_copies_of_the_quickest_chapter_execute(tmp_path, course):
    """The others differ from the executed chapters by cells that nothing needs (tests above)."""
    for copy in COPIES:
        file = tmp_path / copy / QUICKEST
        file.parent.mkdir(parents=True)
        file.write_bytes(course_files(copy, course)[QUICKEST])
    assert execute(tmp_path) == []


def test_execution_reports_what_fails(tmp_path):
    cells = [nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    ((path, complaints),) = execute(tmp_path)
    assert path.name == "a.ipynb"
    assert "ZeroDivisionError" in complaints[0]


@pytest.mark.book
def test_the_copies_are_written_with_the_numbers_of_the_book(tmp_path):
    assert write(tmp_path) == []
    for copy in COPIES:
        assert len(list((tmp_path / copy).rglob("*.ipynb"))) == len(PATHS)


@pytest.mark.book
@every_chapter
def test_numbers_are_those_of_the_pages(path, course):
    page = ROOT / "_build" / "html" / path.relative_to(ROOT).with_suffix(".html")
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    compared, tags = 0, {tag["id"]: tag for tag in soup.find_all(id=True)}
    for label, text in course.labels.items():
        tag = tags.get(label) or tags.get(f"equation-{label}")
        number = tag and (tag.find(class_="caption-number") or tag.find(class_="eqno"))
        if number:
            assert number.get_text().strip().removesuffix("#") == text, label
            compared += 1
    assert compared > 5
