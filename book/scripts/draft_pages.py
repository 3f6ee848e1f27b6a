"""Pages of chapters that were not executed on this machine: their text, readable at once.

Numbers that the computation would give are shown as dots, figures as a sentence in their place, so
that what refers to them still finds them.
"""

import re

import nbformat

GLUED = re.compile(r"\{glue:text\}`[^`]*`")
NOTICE = """\
:::{{admonition}} This chapter was not executed here
:class: tip
Its figures and numbers are missing. `make book CHAPTERS={number}` computes them and builds this
page again.
:::"""
NO_FIGURE = "<p>(This figure was not computed here.)</p>"


def draft(text, number):
    """A notebook file without outputs as the pages can show it; `number` is that of the chapter."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = GLUED.sub("…", cell.source)
        elif "figure" in cell.metadata.get("mystnb", {}):
            cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": NO_FIGURE})]
    notice = nbformat.v4.new_markdown_cell(NOTICE.format(number=number), id="not-executed")
    notebook.cells.insert(1, notice)
    return nbformat.writes(notebook)
