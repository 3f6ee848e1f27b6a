"""Execute one notebook and build a small book around it, for whoever writes a chapter.

    python book/scripts/preview_chapter.py notebooks/2-theory/04-mmse.ipynb

The pages go to _build/preview/<chapter>/_build/html. References to other chapters stay unresolved
there; everything else is as in the book.
"""

import argparse
import sys
from pathlib import Path

from address import repository_url
from build_book import BUILD, book_config, gather, jupyter_book
from execute_notebooks import execute
from sync_notebooks import ROOT


def preview_toc(path):
    """A table of contents with the chapter and the pages that it may refer to."""
    part = {
        "caption": "Preview",
        "numbered": True,
        "chapters": [{"file": path.relative_to(ROOT).with_suffix("").as_posix()}],
    }
    pages = [{"file": f"book/{name}"} for name in ("how-to-run", "notation", "bibliography")]
    parts = [part, {"caption": "Other pages", "chapters": pages}]
    return {"format": "jb-book", "root": "book/intro", "parts": parts}


def main():
    """Preview the notebook named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebook", type=Path)
    path = parser.parse_args().notebook.resolve()
    if execute([path]):
        return 1
    output = BUILD / "preview" / path.stem
    status = jupyter_book(gather(book_config(repository_url()), preview_toc(path), [path]), output)
    page = output / "_build" / "html" / path.relative_to(ROOT).with_suffix(".html")
    print(f"The page: {page.as_uri()}")
    return status


if __name__ == "__main__":
    sys.exit(main())
