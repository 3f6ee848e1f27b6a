"""Pages of chapters that were not executed on this machine: their text, readable at once.

Figures are a sentence in their place, so that what refers to them still finds them. The numbers in
the text are those stored in book/numbers.json, or dots where the code is another by now.
"""

import re

import nbformat

GLUED = re.compile(r"\{glue:text\}`([^`]*)`")
NOTICE = """\
:::{{admonition}} This chapter was not executed here
:class: tip
Its figures are missing, and the numbers in the text were computed elsewhere; dots stand for those
that are not known. `make book CHAPTERS={number}` computes all of them and builds this page again.
:::"""
NO_FIGURE = "<p>(This figure was not computed here.)</p>"


def draft(text, number, values):
    """A notebook file without outputs as the pages can show it.

    Args:
        text: of the file.
        number: of the chapter.
        values: the numbers that are known, name -> text.
    """
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = GLUED.sub(lambda found: values.get(found[1], "…"), cell.source)
        elif "figure" in cell.metadata.get("mystnb", {}):
            cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": NO_FIGURE})]
    notice = nbformat.v4.new_markdown_cell(NOTICE.format(number=number), id="not-executed")
    notebook.cells.insert(1, notice)
    return nbformat.writes(notebook)
