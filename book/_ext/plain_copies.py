"""The buttons of a chapter lead to its plain copy, the one that reads well in any editor.

build_book.py puts the copies beside the pages, in lab/. Colab opens notebooks from a branch and
from nowhere else: the workflow that publishes the pages keeps the same copies on the branch
`notebooks`.
"""

import re
from pathlib import Path

CHAPTER = re.compile(r"notebooks/(\d+-[^/]+/\d+-[^/]+)")
IN_REPOSITORY = re.compile(r"/blob/[^/]+/notebooks/")
AFTER_THEME = 900


def lead_to_copies(app, pagename, templatename, context, doctree):
    """Change where the buttons of the theme lead, on a chapter that has a copy."""
    chapter = CHAPTER.fullmatch(pagename)
    copy = chapter and f"lab/{chapter.group(1)}.ipynb"
    if not copy or not (Path(app.srcdir) / "copies" / copy).exists():
        return
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("label") == "download-source-button":
                button["url"] = context["pathto"](copy, 1)
                button["tooltip"] = "Download this notebook"
            elif button.get("text") == "Colab":
                button["url"] = IN_REPOSITORY.sub("/blob/notebooks/", button["url"])


def setup(app):
    """Come after the theme has made its buttons."""
    app.connect("html-page-context", lead_to_copies, priority=AFTER_THEME)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
