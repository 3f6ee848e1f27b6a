"""The table of contents of the book, _toc.yml, as data."""

import yaml

from address import ROOT


def read_toc(root=ROOT):
    """What _toc.yml holds."""
    return yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))


def part_pages(part):
    """The names of the pages of a part, with those below others, in the order of the book."""
    pages = []
    for chapter in part["chapters"]:
        pages.append(chapter["file"])
        pages += [section["file"] for section in chapter.get("sections", [])]
    return pages


def all_pages(toc):
    """The names of all pages, the first one being the start of the book."""
    return [toc["root"], *(name for part in toc["parts"] for name in part_pages(part))]
