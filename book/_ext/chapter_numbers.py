"""Number a chapter by the name of its file: notebooks/2-theory/04-mmse.ipynb is chapter 4.

The name has its number from _toc.yml (book/scripts/renumber_chapters.py). Sphinx counts the
chapters that are present: in a book of a few of them, the exercise whose check is called "7.2"
would be printed under another number. Only parts that are `numbered` in
_toc.yml are concerned.
"""

import re

from docutils import nodes
from sphinx.environment.collectors.toctree import TocTreeCollector

CHAPTER = re.compile(r"notebooks/\d+-[^/]+/(\d+)-[^/]+")
count_sections = TocTreeCollector.assign_section_numbers


def assign_section_numbers(collector, env):
    """Let Sphinx count, then replace the first component of every section number."""
    before = env.toc_secnumbers
    count_sections(collector, env)
    for docname, numbers in env.toc_secnumbers.items():
        match = CHAPTER.fullmatch(docname)
        if not match:
            continue
        chapter = int(match.group(1))
        for anchor, number in numbers.items():
            numbers[anchor] = (chapter, *number[1:])
        for node in (env.titles[docname], *env.tocs[docname].findall(nodes.reference)):
            if node.get("secnumber"):
                node["secnumber"] = [chapter, *node["secnumber"][1:]]
    return [doc for doc, numbers in env.toc_secnumbers.items() if numbers != before.get(doc)]


def setup(app):
    """Take the place of Sphinx's own counting (it offers no other door)."""
    TocTreeCollector.assign_section_numbers = assign_section_numbers
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
