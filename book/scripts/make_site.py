"""Write _build/site: the pages as any web server, sub-path or GitHub Pages can serve them.

    python book/scripts/make_site.py

All addresses inside are relative, so that the folder may be put anywhere. The pages must have been
built from executed chapters (`make book`).
"""

import re
import shutil
import sys

from build_book import BUILD, INDEX, unready
from sync_notebooks import notebook_paths

SITE = BUILD / "site"
# What Sphinx keeps for itself.
LEFT_OUT = shutil.ignore_patterns(".buildinfo", ".doctrees", "*.map")
LARGEST = 60_000_000  # bytes


def write_site(pages, site):
    """Copy the pages into a new folder `site`, with what GitHub Pages needs; its size in bytes."""
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(pages, site, ignore=LEFT_OUT)
    # The buttons lead to the plain copies in lab/; these would be a third of the weight.
    shutil.rmtree(site / "_sources" / "notebooks", ignore_errors=True)
    remove_left_pictures(site)
    # Without this file GitHub Pages leaves out folders whose names start with "_".
    (site / ".nojekyll").touch()
    return sum(file.stat().st_size for file in site.rglob("*") if file.is_file())


def remove_left_pictures(site):
    """Remove the pictures that no page shows: those of earlier builds, under their old hashes."""
    pages = "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    shown = set(re.findall(r"_images/([\w.-]+)", pages))
    for file in (site / "_images").glob("*"):
        if file.name not in shown:
            file.unlink()


def main():
    """Write the folder; complain if the pages are not ready or too large."""
    if not INDEX.exists() or unready(notebook_paths()):
        print("the pages are not ready: run `make book` first", file=sys.stderr)
        return 1
    size = write_site(INDEX.parent, SITE)
    print(f"The site: {SITE}, {size / 1e6:.1f} MB; put the folder on any web server")
    if size > LARGEST:
        print(f"that is more than {LARGEST / 1e6:.0f} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
