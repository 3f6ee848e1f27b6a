"""Print the built book as one PDF, _build/lemmse.pdf, with headless Chromium.

    python book/scripts/make_pdf.py

The pages are joined into one, in the order of the table of contents; the solutions of the
exercises move to the end. `book/_static/lemmse.css` holds the print style, which also serves a
single chapter from the browser.
"""

import base64
import posixpath
import sys

import yaml
from bs4 import BeautifulSoup

from browser import MISSING, browser, programs, serve
from build_book import BUILD, INDEX, ROOT, unready
from contents import all_pages, part_pages, read_toc
from sync_notebooks import notebook_paths

PDF = BUILD / "lemmse.pdf"
PAGES = INDEX.parent
JOINED = "book-on-paper.html"
# References to look things up in: thousands of lines that nobody reads on paper.
ONLINE_ONLY = ("book/api", "book/models")
INTERACTIVE = "On the page of this chapter, controls choose what this figure shows."
GONE = "script, style, .headerlink, .copybtn, details.above-input, .controls, .live"
PAPER = {  # inches: A4
    "paperWidth": 8.27,
    "paperHeight": 11.69,
    "marginTop": 0.7,
    "marginBottom": 0.8,
    "marginLeft": 0.8,
    "marginRight": 0.8,
}
PLAIN = "font: 8pt sans-serif; width: 100%; text-align: center; color: #333"
TYPESET = """
const done = arguments[0];
const images = [...document.images].map(image => new Promise(loaded => {
  image.loading = "eager";
  if (image.complete) loaded();
  image.onload = image.onerror = loaded;
}));
// A display that is wider than the paper becomes smaller.
const fit = () => document.querySelectorAll("mjx-container[display]").forEach(formula => {
  const width = formula.firstElementChild.getBoundingClientRect().width;
  const room = formula.parentElement.clientWidth;
  if (width > room) formula.style.fontSize = `${90 * room / width}%`;
});
MathJax.startup.promise.then(() => Promise.all(images)).then(fit).then(() => done(true));
"""


def read(name):
    """The built page of that name."""
    return BeautifulSoup((PAGES / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def slug(name):
    """What the ids of a page start with in the joined one."""
    return name.replace("/", "-")


def paper_article(page, name, names):
    """The text of a page as it stands on paper, and its solutions apart."""
    article = page.select_one("article.bd-article")
    for tag in article.select(GONE):
        tag.decompose()
    for explorer in article.select("figure.lemmse-explorer"):
        unfold(explorer)
    for cell in article.select("div.cell"):  # only folded code was in it
        if not cell.get_text(strip=True) and not cell.find(["img", "svg", "table"]):
            cell.decompose()
    for details in article.select("details"):
        details["open"] = ""
    for tag in article.find_all(id=True):
        tag["id"] = f"{slug(name)}--{tag['id']}"
    for link in article.find_all("a", href=True):
        redirect(link, name, names)
    for image in article.find_all("img", src=True):
        image["src"] = here(name, image["src"])
    article["id"] = slug(name)
    return article, [solution.extract() for solution in article.select(".solution")]


def unfold(explorer):
    """An explorer on paper: its first picture, which also those without JavaScript would see."""
    for hidden in explorer.find_all(hidden=True):
        hidden.decompose()
    for tag in explorer.select("noscript"):
        still = tag.find("img")
        if still:
            tag.insert_before(still.extract())
        tag.decompose()
    note = BeautifulSoup(f"<p><em>{INTERACTIVE}</em></p>", "html.parser")
    explorer.append(note)


def here(name, address):
    """An address on a page, as seen from the folder of the pages."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), address))


def redirect(link, name, names):
    """Let a link lead into the joined page; where that is impossible it becomes plain text."""
    path, _, anchor = link["href"].partition("#")
    if "://" in path or path.startswith("mailto:"):
        return
    target = here(name, path).removesuffix(".html") if path else name
    if target in names:
        link["href"] = f"#{slug(target)}" + (f"--{anchor}" if anchor else "")
    else:
        link.unwrap()


def contents(toc, titles):
    """The table of contents."""
    lines = ["<nav class='paper-contents'><h2>Contents</h2>"]
    for part in toc["parts"]:
        entries = [name for name in part_pages(part) if name in titles]
        lines.append(f"<p><strong>{part['caption']}</strong></p><ul>")
        lines += [f"<li><a href='#{slug(name)}'>{titles[name]}</a></li>" for name in entries]
        lines.append("</ul>")
    return "\n".join([*lines, "<ul><li><a href='#solutions'>Solutions</a></li></ul></nav>"])


def join(toc, config):
    """The joined page, as HTML."""
    names = [name for name in all_pages(toc) if not name.startswith(ONLINE_ONLY)]
    articles, solutions, titles = [], [], {}
    for name in names:
        page = read(name)
        article, solved = paper_article(page, name, names)
        titles[name] = article.find("h1").get_text().strip()
        articles.append(str(article))
        if solved:
            solutions.append(f"<h2>{titles[name]}</h2>")
            solutions += map(str, solved)
    head = read(toc["root"]).head
    for link in head.select("link[href], script[src]"):
        attribute = "href" if link.name == "link" else "src"
        link[attribute] = here(toc["root"], link[attribute])
    for tag in head.select("link[rel=prev], link[rel=next], script[src*=lemmse], title"):
        tag.decompose()
    title = f"<h1>{config['title']}</h1><p>{config['author']}, {config['copyright']}</p>"
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{head.decode_contents()}'
        f"<title>{config['title']}</title></head><body class='on-paper'>"
        f"<header class='paper-title'>{title}</header>{contents(toc, titles)}"
        f"<main>{''.join(articles)}<article class='bd-article' id='solutions'>"
        f"<h1>Solutions</h1>{''.join(solutions)}</article></main></body></html>"
    )


def print_pdf(address):
    """The bytes of the PDF of a page whose formulas are typeset."""
    with browser(width=794, height=1123) as driver:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        driver.set_page_load_timeout(1800)
        driver.set_script_timeout(1800)
        driver.command_executor.client_config.timeout = 1800
        driver.get(address)
        driver.execute_async_script(TYPESET)
        options = PAPER | {
            "printBackground": True,
            "displayHeaderFooter": True,
            "headerTemplate": "<span></span>",
            "footerTemplate": f'<div style="{PLAIN}"><span class="pageNumber"></span></div>',
            "generateDocumentOutline": True,
            "generateTaggedPDF": True,
        }
        # In pieces: the connection to the browser breaks over a message of the whole book.
        options["transferMode"] = "ReturnAsStream"
        stream = driver.execute_cdp_cmd("Page.printToPDF", options)["stream"]
        return b"".join(pieces(driver, stream))


def pieces(driver, stream):
    """The bytes of a stream of the browser, piece by piece."""
    piece = {"eof": False}
    while not piece["eof"]:
        piece = driver.execute_cdp_cmd("IO.read", {"handle": stream, "size": 1_000_000})
        yield base64.b64decode(piece["data"]) if piece["base64Encoded"] else piece["data"].encode()


def main():
    """Write the PDF."""
    if programs() is None:
        print(MISSING, file=sys.stderr)
        return 1
    if not INDEX.exists() or unready(notebook_paths()):
        print("the pages are not ready: run `make book` first", file=sys.stderr)
        return 1
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    joined = PAGES / JOINED
    joined.write_text(join(read_toc(), config), encoding="utf-8")
    print("printing the book, which takes some minutes", flush=True)
    try:
        with serve(PAGES) as address:
            PDF.write_bytes(print_pdf(address + JOINED))
    finally:
        joined.unlink()
    print(f"The PDF: {PDF.as_uri()}, {PDF.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
