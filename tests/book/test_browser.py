"""The built pages in a browser: their weight, their width on a phone, and what axe says of them."""

import functools
import json
from importlib import resources

import pytest

from browser import MISSING, browser, programs, serve
from contents import all_pages, read_toc
from make_site import LARGEST, write_site
from sync_notebooks import ROOT

pytestmark = [
    pytest.mark.book,
    pytest.mark.skipif(programs() is None, reason=MISSING),
]

HTML = ROOT / "_build" / "html"
SUB_PATH = "/some/where/"
FIRST_VISIT = 1_500_000  # bytes before images, not compressed
PHONE = 375  # pixels
PICTURES = (".png", ".webp", ".svg", ".jpg", ".jpeg", ".gif")
INTRO = "book/intro.html"
HEAVIEST = "notebooks/2-theory/10-reading.html"  # with the explorer of all pixels
CHAPTER = "notebooks/2-theory/07-le-mmse.html"
# Of each kind a page. On the pages of the API, long texts, axe takes minutes.
KINDS = [INTRO, CHAPTER, "book/command-line.html", "book/models.html", "search.html?q=locality"]
SETTLED = """
const done = arguments[arguments.length - 1];
const typeset = () => window.MathJax?.startup?.promise ?? Promise.resolve();
const start = () => typeset().then(() => setTimeout(() => done(true), 200));
if (document.readyState === "complete") start(); else addEventListener("load", start);
"""
TRAFFIC = """
return performance.getEntriesByType("resource")
  .concat(performance.getEntriesByType("navigation")).map(e => [e.name, e.decodedBodySize])
"""
AXE = """
const done = arguments[arguments.length - 1];
// Not the inside of formulas: thousands of boxes that screen readers never see.
const page = {exclude: [["mjx-container"]]}, rules = {runOnly: ["wcag2a", "wcag2aa"]};
axe.run(page, rules).then(found => done(JSON.stringify(
  found.violations.filter(v => ["serious", "critical"].includes(v.impact)).map(
    v => ({rule: v.id, help: v.help, where: v.nodes.map(n => n.target.join(" ")).slice(0, 5)})))));
"""
WIDEST = """
const limit = document.documentElement.clientWidth;
const scrolls = e => e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
const wide = [...document.querySelectorAll("main *")].filter(
  e => e.getBoundingClientRect().right > limit + 1 && !scrolls(e.parentElement));
return [document.documentElement.scrollWidth, limit,
  wide.slice(0, 3).map(e => e.outerHTML.slice(0, 120))];
"""

LINE_OF_CODE = """
const block = document.querySelector("main .cell_input:not(details *) pre");
block.textContent = "x".repeat(arguments[0]);
return [block.scrollWidth, block.clientWidth];
"""


def pages():
    """All pages of the table of contents, the index and the search."""
    names = all_pages(read_toc())
    return [f"{name}.html" for name in [*names, "genindex", "py-modindex", "search"]]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site below a sub-path: its address."""
    folder = tmp_path_factory.mktemp("site") / "site"
    assert write_site(HTML, folder) <= LARGEST
    assert (folder / ".nojekyll").exists()
    with serve(folder, SUB_PATH) as address:
        yield address


@pytest.fixture(scope="module")
def desktop():
    with browser() as driver:
        yield driver


@pytest.fixture(scope="module")
def phone():
    with browser(PHONE, 812) as driver:
        yield driver


def visit(driver, address):
    """Open a page and wait until its formulas are typeset."""
    driver.get(address)
    driver.execute_async_script(SETTLED)


def failures(driver):
    """Answers other than a file, and errors of scripts, since the last call."""
    found = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.responseReceived":
            answer = message["params"]["response"]
            if answer["status"] >= 400:
                found.append(f"{answer['status']} {answer['url']}")
    return [text for text in found if "favicon" not in text]


def assert_light(page, site):
    """A first visit to a page fetches little before its images."""
    with browser() as driver:
        visit(driver, site + page)
        sizes = dict(driver.execute_script(TRAFFIC))
    text = {name: size for name, size in sizes.items() if not name.endswith(PICTURES)}
    assert len(text) > 10
    assert sum(text.values()) <= FIRST_VISIT, sorted(text.items(), key=lambda item: -item[1])[:8]


@pytest.mark.parametrize("page", [INTRO, CHAPTER, HEAVIEST])
def test_first_visit_is_light(page, site):
    assert_light(page, site)


def test_first_visit_to_the_longest_page_is_light(site):
    assert_light(max(pages(), key=lambda page: (HTML / page).stat().st_size), site)


@pytest.mark.parametrize("page", [INTRO, CHAPTER, "book/api.html", "genindex.html"])
def test_served_below_a_sub_path(page, site, desktop):
    failures(desktop)
    visit(desktop, site + page)
    assert failures(desktop) == []


@pytest.mark.parametrize("page", [INTRO, CHAPTER])
def test_formulas_and_icons_are_drawn(page, site, desktop):
    visit(desktop, site + page)
    assert desktop.execute_script("return document.querySelectorAll('mjx-math').length") > 5
    assert desktop.execute_script("return document.querySelectorAll('mjx-merror').length") == 0
    icon = "getComputedStyle(document.querySelector('.fa-magnifying-glass'), '::before').content"
    assert ord(desktop.execute_script(f"return {icon}").strip('"')) == 0xF002
    assert desktop.execute_script("return document.fonts.check('900 16px fa-solid')")


def test_search_finds_a_chapter_below_a_sub_path(site, desktop):
    visit(desktop, f"{site}search.html?q=locality")
    ready = """
    const done = arguments[0], started = performance.now();
    const look = () => {
      const found = [...document.querySelectorAll("#search-results li a")].map(a => a.href);
      if (found.length || performance.now() - started > 60000) done(found);
      else setTimeout(look, 20);
    };
    look();
    """
    found = desktop.execute_async_script(ready)
    assert any("06-locality.html" in address for address in found)


@pytest.mark.parametrize("page", pages())
def test_no_page_is_wider_than_a_phone(page, site, phone):
    visit(phone, site + page)
    width, limit, widest = phone.execute_script(WIDEST)
    assert limit == PHONE
    assert width <= limit, widest


@pytest.mark.parametrize("length", [80, 100])
def test_a_line_of_80_characters_fits_the_column(length, site, desktop):
    visit(desktop, site + CHAPTER)
    content, column = desktop.execute_script(LINE_OF_CODE, length)
    assert (content <= column) == (length == 80)


@functools.cache
def axe():
    return (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


def complaints(driver, address):
    """The serious and critical findings of axe-core on a page."""
    visit(driver, address)
    driver.execute_script(axe())
    return json.loads(driver.execute_async_script(AXE))


@pytest.mark.parametrize("page", KINDS)
def test_axe_finds_nothing_serious(page, site, desktop):
    assert complaints(desktop, site + page) == []


@pytest.mark.parametrize("page", [INTRO, CHAPTER])
def test_axe_finds_nothing_serious_in_the_dark(page, site):
    with browser(dark=True) as driver:
        found = complaints(driver, site + page)
        assert driver.execute_script("return document.documentElement.dataset.theme") == "dark"
    assert found == []
