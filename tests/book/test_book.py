"""The built pages: complete, self-contained, without dead ends. `make book` builds them."""

import functools
import json
import re
import tempfile
from collections import Counter
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from address import repository_url
from build_book import book_config, gather, jupyter_book
from contents import all_pages, read_toc
from lemmse.exercises import EXERCISES
from sync_notebooks import NOTEBOOK_METADATA, ROOT, notebook_paths

pytestmark = pytest.mark.book

HTML = ROOT / "_build" / "html"
PAGES = sorted(p for p in HTML.rglob("*.html") if "_static" not in p.relative_to(HTML).parts)
# What a browser fetches by itself when it opens a page: (element, attribute).
FETCHED = [
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("embed", "src"),
    ("object", "data"),
]
LINK_RELS = {"stylesheet", "preload", "prefetch", "modulepreload", "icon", "shortcut"}
IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""")
UNRENDERED = re.compile(r"\{[a-z][\w:-]*\}`|^:::|\$\$|(?<!\\)\\begin\{", re.MULTILINE)
# The one warning that a page may show: the notice that a data set was not to be had.
FALLBACK = re.compile(r"UserWarning: using .* in the place of '")
ADDRESS = "https://github.com/someone/something"

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[p.relative_to(HTML).as_posix() for p in PAGES]
)


@functools.cache
def soup(page):
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


@functools.cache
def anchors(page):
    return {tag["id"] for tag in soup(page).find_all(id=True)} | {
        tag["name"] for tag in soup(page).find_all("a", attrs={"name": True})
    }


def fetched(page):
    """The addresses of everything that the page makes a browser fetch."""
    for element, attribute in FETCHED:
        for tag in soup(page).find_all(element, attrs={attribute: True}):
            yield tag[attribute]
    for tag in soup(page).find_all("link", href=True):
        if LINK_RELS & set(tag.get("rel", [])):
            yield tag["href"]


def is_outside(address):
    return bool(re.match(r"(?:[a-z]+:)?//", address))


def target(page, address):
    """The file that a relative address on a page means."""
    return (page.parent / unquote(urlsplit(address).path)).resolve()


def test_every_entry_of_the_table_of_contents_is_a_page():
    missing = [f for f in all_pages(read_toc()) if not (HTML / f"{f}.html").exists()]
    assert not missing, "run `make book` first"
    assert (HTML / "index.html").exists()


@every_page
def test_fetches_nothing_from_outside(page):
    assert [address for address in fetched(page) if is_outside(address)] == []
    styles = [tag.get_text() for tag in soup(page).find_all("style")]
    styles += [tag["style"] for tag in soup(page).find_all(style=True)]
    assert [found for style in styles for found in IN_STYLE.findall(style)] == []


@every_page
def test_scripts_in_the_page_name_no_server(page):
    for script in soup(page).find_all("script", src=False):
        assert not re.search(r"https?://", script.get_text())


def test_style_sheets_fetch_nothing_from_outside():
    sheets = list((HTML / "_static").rglob("*.css"))
    assert sheets
    found = {s.name: IN_STYLE.findall(s.read_text(encoding="utf-8")) for s in sheets}
    assert {name: outside for name, outside in found.items() if outside} == {}


@every_page
def test_local_resources_exist(page):
    for address in fetched(page):
        if not address.startswith("data:"):
            assert target(page, address).is_file(), address


@every_page
def test_pictures_have_alt_text(page):
    for image in soup(page).find_all("img"):
        alt = image.get("alt", "").strip()
        assert alt, image.get("src", "")[:80]
        assert not re.search(r"\.(png|jpe?g|svg)$", alt), f"a file name is no description: {alt}"


@every_page
def test_links_inside_the_book_resolve(page):
    for tag in soup(page).find_all("a", href=True):
        parts = urlsplit(tag["href"])
        if parts.scheme or parts.netloc:
            continue
        file = target(page, tag["href"]) if parts.path else page
        assert file.is_file(), tag["href"]
        if parts.fragment and file.suffix == ".html":
            assert unquote(parts.fragment) in anchors(file), tag["href"]


@every_page
def test_no_error_and_no_warning_in_the_outputs(page):
    assert soup(page).select(".output.traceback") == []
    warnings = [tag.get_text() for tag in soup(page).select(".output.stderr")]
    assert [text for text in warnings if not FALLBACK.search(text)] == []
    # The reference may show in an example how a function fails.
    whole = BeautifulSoup(str(soup(page)), "html.parser")
    for example in whole.select(".doctest, pre .sd"):
        example.decompose()
    text = whole.get_text()
    assert "Traceback (most recent call last)" not in text
    for warning in warnings:
        text = text.replace(warning, "")
    assert str(ROOT) not in text
    assert f"{tempfile.gettempdir()}/" not in text


def test_every_solution_of_the_book_is_accepted():
    # They often take another way than the reference of the checker.
    answers = [
        re.match(r"([✓✗…]) Exercise (\d+\.\d+):", tag.parent.get_text())
        for page in PAGES
        for tag in soup(page).find_all("b")
    ]
    found = {}
    for answer in filter(None, answers):
        found.setdefault(answer[2], set()).add(answer[1])
    assert found.keys() == EXERCISES.keys()
    # What is to be written, or mended, does not pass.
    assert all(len(signs) == 2 and "✓" in signs for signs in found.values()), found


@every_page
def test_no_markup_is_left_unrendered(page):
    article = soup(page).find("article")
    if article is None:
        return
    text = BeautifulSoup(str(article), "html.parser")
    for tag in text.select("pre, code, script, style, .math"):
        tag.decompose()
    assert not UNRENDERED.search(text.get_text())
    assert text.select(".system-message, .problematic") == []


@every_page
def test_mathematics_is_rendered_by_a_local_script(page):
    if not soup(page).select(".math"):
        return
    (script,) = [address for address in fetched(page) if "mathjax" in address.lower()]
    folder = target(page, script).parent
    config = next(t.string for t in soup(page).select("script:not([src])") if "loader" in t.text)
    parts = json.loads(config.partition("=")[2])["loader"]["load"]
    assert "output/chtml" in parts
    assert all((folder / f"{part}.js").is_file() for part in parts)
    assert list((folder / "output" / "chtml" / "fonts").rglob("MathJax_Main-Regular.woff"))


@every_page
def test_every_id_stands_once_and_one_heading_is_the_title(page):
    ids = Counter(tag["id"] for tag in soup(page).find_all(id=True))
    assert [name for name, count in ids.items() if count > 1] == []
    if page != HTML / "index.html":
        assert len(soup(page).find_all("h1")) == 1


@every_page
def test_every_page_is_described(page):
    if page != HTML / "index.html":
        (tag,) = soup(page).select("meta[name=description]")
        assert 20 < len(tag["content"]) <= 170


@every_page
def test_pictures_come_when_they_are_near_and_in_files_of_their_own(page):
    for image in soup(page).select("article img:not(.atlas, .toggler)"):
        assert image["loading"] == "lazy"
        assert not image["src"].startswith("data:")
    for script in soup(page).select("script:not([src])"):
        assert len(script.get_text()) < 25_000


def test_search_knows_every_page_and_needs_no_server():
    index = (HTML / "searchindex.js").read_text(encoding="utf-8")
    assert [name for name in all_pages(read_toc()) if f'"{name}"' not in index] == []
    assert any("searchindex.js" in address for address in fetched(HTML / "search.html"))


def header_links(page):
    header = soup(page).select_one(".article-header-buttons")
    return [tag["href"] for tag in header.find_all("a", href=True)] if header else []


@every_page
def test_buttons_agree_with_the_repository_url(page):
    url = repository_url()
    outside = [link for link in header_links(page) if is_outside(link)]
    assert all(url and url.removeprefix("https://github.com") in link for link in outside)
    assert not soup(page).select("[onclick*=Thebe], .thebe-launch-button")
    if not url:
        assert outside == []


def test_the_download_button_gives_the_plain_copy():
    for path in notebook_paths():
        name = path.relative_to(ROOT / "notebooks").as_posix()
        page = HTML / "notebooks" / path.relative_to(ROOT / "notebooks").with_suffix(".html")
        (button,) = soup(page).select(".btn-download-source-button")
        copy = target(page, button["href"])
        assert copy == (HTML / "lab" / name).resolve()
        assert "{glue" not in copy.read_text(encoding="utf-8")


def test_with_an_address_the_buttons_lead_to_the_plain_copy(tmp_path):
    name = "notebooks/1-part/01-chapter"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# A chapter")], metadata=NOTEBOOK_METADATA
    )
    part = {"caption": "Part", "numbered": True, "chapters": [{"file": name}]}
    toc = {"format": "jb-book", "root": "book/bibliography", "parts": [part]}
    config, copy = book_config(ADDRESS), "1-part/01-chapter.ipynb"
    config["sphinx"]["config"]["html_extra_path"] = ["copies"]
    sources = gather(config, toc, [])
    sources[f"{name}.ipynb"] = nbformat.writes(notebook).encode()
    sources[f"copies/lab/{copy}"] = sources[f"{name}.ipynb"]
    assert jupyter_book(sources, tmp_path) == 0
    links = header_links(tmp_path / "_build" / "html" / f"{name}.html")
    colab = "https://colab.research.google.com/github/someone/something/blob/notebooks/"
    assert f"{colab}{copy}" in links
    assert f"../../lab/{copy}" in links
    assert (tmp_path / "_build" / "html" / "lab" / copy).is_file()
    assert ADDRESS in links
    assert any(link.startswith(f"{ADDRESS}/issues/new") for link in links)


def test_an_address_elsewhere_gets_no_colab_button():
    assert book_config("https://gitlab.com/someone/something")["launch_buttons"] == {}
