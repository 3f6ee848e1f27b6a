"""The last hand on every page before it is written.

Pictures become files that a browser fetches when they come near; every id stands once; a sentence
describes the page to search engines.
"""

import base64
import hashlib
import posixpath
import re
from pathlib import Path

from bs4 import BeautifulSoup
from docutils import nodes

DATA_URI = re.compile(r"data:image/([a-z]+)(?:\+xml)?;base64,(.*)", re.DOTALL)
BOXES = {"proof", "proof-content", "exercise-content", "solution-content"}
LARGE_SCRIPT = 20_000  # characters: that much data of an explorer is fetched when it comes near
DESCRIPTION = 160  # characters that search engines show
DESCRIPTIONS = {
    "genindex": "All functions, classes and terms of the book and of the package lemmse.",
    "py-modindex": "The modules of the package lemmse.",
    "prf-prf": "All theorems, propositions, lemmas and definitions of the book.",
    "search": "Search all chapters of the book and the reference of the package.",
}


def finish(app, page, template, context, doctree):
    """Change what goes into the template of one page."""
    if app.builder.format != "html":
        return
    text = description(doctree) if doctree else DESCRIPTIONS.get(page)
    text = text or f"Source code of {page.removeprefix('_modules/')} in the package lemmse."
    context["metatags"] = f'{context.get("metatags", "")}<meta name="description" content="{text}">'
    if not context.get("body"):
        return
    soup = BeautifulSoup(context["body"], "html.parser")
    files = Files(Path(app.outdir), page)
    for image in soup.find_all("img"):
        finish_image(image, files)
    for script in soup.select("figure.lemmse-explorer script"):
        # The scripts of a scene run one after the other: all of them come as files.
        if script.find_parent(class_="lemmse-scene") or len(script.string or "") > LARGE_SCRIPT:
            script["data-src"] = files.write("js", script.string.encode())
            script.string = ""
    repair_ids(soup)
    context["body"] = str(soup)


class Files:
    """Files beside the pages that hold what stood inside one."""

    def __init__(self, folder, page):
        """`page` is the name of the page below the folder of the built book."""
        self.folder, self.page = folder, page

    def write(self, kind, content):
        """Write a file under the hash of its content; its address as the page sees it."""
        name = f"_images/{hashlib.sha256(content).hexdigest()[:32]}.{kind}"
        (self.folder / "_images").mkdir(exist_ok=True)
        (self.folder / name).write_bytes(content)
        return posixpath.relpath(name, posixpath.dirname(self.page) or ".")


def finish_image(image, files):
    """Fetched when it comes near; a picture inside the page becomes a file."""
    match = DATA_URI.fullmatch(image.get("src", ""))
    if match:
        kind, content = match.groups()
        image["src"] = files.write(kind, base64.b64decode(content))
    # The atlas of an explorer is never near: a script draws from it.
    if "atlas" not in image.get("class", []):
        image["loading"] = "lazy"


def repair_ids(soup):
    """Every id once: sphinx-proof and sphinx-exercise give all their boxes the same ones."""
    seen = set()
    for tag in soup.find_all(id=True):
        if tag["id"] == "proof":  # a proof, not a theorem: the style sheet ends it with a square
            tag["class"] = [*tag.get("class", []), "ends-with-square"]
        if tag["id"] in BOXES or tag["id"] in seen:
            del tag["id"]
        else:
            seen.add(tag["id"])


def description(doctree):
    """The first paragraph that says something, cut at a word, with quotes escaped."""
    for paragraph in doctree.findall(nodes.paragraph):
        if not isinstance(paragraph.parent, nodes.section | nodes.document | nodes.container):
            continue
        text = " ".join(paragraph.astext().split())
        if len(text) > 40:
            if len(text) > DESCRIPTION:
                text = text[: DESCRIPTION - 1].rsplit(" ", 1)[0].rstrip(",;:.") + "…"
            return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return None


def setup(app):
    """Join Sphinx after the theme has filled in its part."""
    app.connect("html-page-context", finish, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
