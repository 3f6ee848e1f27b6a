"""The notebooks as they are kept: their form, their setup cell, and what every chapter has."""

import re

import nbformat
import pytest

from address import ROOT, install_source, repository_url, wheel_name
from contents import all_pages, read_toc
from sync_notebooks import canonical_text, is_setup, notebook_paths, setup_source

NOTEBOOKS = notebook_paths()
TAGS = {
    "setup",
    "hide-input",
    "hide-output",
    "hide-cell",
    "remove-input",
    "remove-output",
    "remove-cell",
    "scroll-output",
}
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(home|root|tmp|Users|content|work|mnt)/|\b[A-Z]:\\")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def read(path):
    return nbformat.read(path, as_version=4)


def directives(notebook, name):
    """(argument, label) of every directive of that name in the markdown cells."""
    pattern = re.compile(rf"^(?::::+|```+)\{{{name}\}} *(.*)\n((?::[\w-]+:.*\n?)*)", re.MULTILINE)
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for argument, options in pattern.findall(cell.source):
                label = re.search(r"^:label: *(\S+)", options, re.MULTILINE)
                found.append((argument.strip(), label and label.group(1)))
    return found


def test_table_of_contents_has_every_notebook_in_order():
    kept = [path.relative_to(ROOT).with_suffix("").as_posix() for path in NOTEBOOKS]
    named = [file for file in all_pages(read_toc()) if file.startswith("notebooks/")]
    assert named == kept, "run `make notebooks`"


@every_notebook
def test_name_gives_part_and_chapter(path):
    name = path.relative_to(ROOT / "notebooks").as_posix()
    assert re.fullmatch(r"\d-[a-z-]+/\d\d-[a-z-]+\.ipynb", name)


@every_notebook
def test_kept_in_canonical_form(path):
    nbformat.validate(read(path))
    text = path.read_text(encoding="utf-8")
    assert text == canonical_text(text, repository_url()), "run `make notebooks`"


@every_notebook
def test_setup_cell_is_the_first_code_cell_and_the_only_one(path):
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [is_setup(cell) for cell in code] == [True] + [False] * (len(code) - 1)
    assert code[0].source == setup_source(repository_url())


@every_notebook
def test_starts_with_a_title_without_number(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# [^\W\d]", first.source)


@every_notebook
def test_tags_hide_no_error(path):
    for cell in read(path).cells:
        assert set(cell.metadata.get("tags", [])) <= TAGS


@every_notebook
def test_figures_have_caption_name_and_alt_text(path):
    for cell in read(path).cells:
        mystnb = cell.metadata.get("mystnb", {})
        if "figure" in mystnb:
            assert mystnb["figure"].get("name", "").startswith("fig-")
            assert len(mystnb["figure"].get("caption", "")) > 20
            assert len(mystnb.get("image", {}).get("alt", "")) > 20


@every_notebook
def test_every_exercise_is_labelled_and_has_a_solution(path):
    notebook = read(path)
    exercises = directives(notebook, "exercise") + directives(notebook, "exercise-start")
    solutions = directives(notebook, "solution") + directives(notebook, "solution-start")
    assert exercises, "a chapter has exercises"
    assert all(label for _, label in exercises)
    assert {label for _, label in exercises} == {target for target, _ in solutions}


@every_notebook
def test_no_absolute_paths(path):
    for cell in read(path).cells:
        assert not ABSOLUTE_PATH.search(cell.source)


@pytest.mark.parametrize("url", ["", "https://github.com/someone/something"])
def test_setup_cell_installs_from_the_repository_url_only(url):
    source = setup_source(url)
    compile(source.replace("%pip", "pass  #"), "setup", "exec")
    assert bool(re.search(r"^ *%pip", source, re.MULTILINE)) == bool(url)
    assert (f'"{install_source(url)}"' in source) == bool(url)
    assert (wheel_name() in source) == (not url)
    assert ("raise ImportError" in source) == (not url)


def test_canonical_form_adds_the_setup_cell_and_removes_what_is_not_kept():
    v4 = nbformat.v4
    output = v4.new_output("stream", text="3")
    notebook = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Title\n\n", metadata={"slideshow": {}}),
            v4.new_code_cell(
                "1 + 2", outputs=[output], execution_count=7, metadata={"tags": ["hide-input"]}
            ),
        ],
        metadata={"widgets": {}, "kernelspec": {"name": "other", "display_name": "Other"}},
    )
    text = canonical_text(nbformat.writes(notebook), "")
    kept = nbformat.reads(text, as_version=4)
    title, setup, code = kept.cells
    assert title.source == "# Title"
    assert title.metadata == {}
    assert setup.source == setup_source("")
    assert (code.outputs, code.execution_count) == ([], None)
    assert code.metadata == {"tags": ["hide-input"]}
    assert kept.metadata.kernelspec.name == "python3"
    assert "widgets" not in kept.metadata
    assert canonical_text(text, "") == text


def test_canonical_form_renews_an_old_setup_cell_in_its_place():
    old = nbformat.v4.new_code_cell("import lemmse", metadata={"tags": ["setup"]})
    cells = [nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_markdown_cell("B"), old]
    notebook = nbformat.v4.new_notebook(cells=cells)
    url = "https://github.com/someone/something"
    kept = nbformat.reads(canonical_text(nbformat.writes(notebook), url), as_version=4)
    assert len(kept.cells) == 3
    assert kept.cells[2].source == setup_source(url)
