"""Print the built book as one PDF, _build/lemmse.pdf, with headless Chromium.

    python book/scripts/make_pdf.py            the whole book
    python book/scripts/make_pdf.py 7 10       these chapters only, in _build/lemmse-7-10.pdf

Each chapter is printed by itself and kept in _build/pdf: when the run is stopped, or the book
changes, only what is missing is printed at the next call. The solutions of the exercises move to
the end. `book/_static/lemmse.css` holds the print style, which also serves a single chapter from
the browser.
"""

import argparse
import base64
import hashlib
import re
import sys
import time
from pathlib import Path

import yaml
from pypdf import PdfReader

import paper_pages
from browser import MISSING, browser, programs, serve
from build_book import BUILD, INDEX, ROOT, unready
from contents import all_pages, read_toc
from execute_notebooks import chapter, in_words
from join_pdf import join
from lemmse.files import replaced
from sync_notebooks import notebook_paths

PDF = BUILD / "lemmse.pdf"
PAGES = INDEX.parent
PRINTED = BUILD / "pdf"
PREFIX = f"../{PAGES.name}/"  # from the documents to the pages
PAPER = {  # inches: A4
    "paperWidth": 8.27,
    "paperHeight": 11.69,
    "marginTop": 0.8,
    "marginBottom": 0.8,
    "marginLeft": 0.8,
    "marginRight": 0.8,
}
# References to look things up in: thousands of lines that nobody reads on paper.
ONLINE_ONLY = ("book/api", "book/models")
COLUMN = 640  # pixels between the margins
PLAIN = "font: 8pt sans-serif; width: 100%; text-align: center; color: #333"
OPTIONS = PAPER | {
    "printBackground": True,
    "displayHeaderFooter": True,
    "headerTemplate": f'<div style="{PLAIN}"><span class="title"></span></div>',
    "footerTemplate": "<span></span>",  # join_pdf numbers the pages
    "generateTaggedPDF": False,  # joined PDFs could not share the structure anyway
    # In pieces: the connection to the browser breaks over a large message.
    "transferMode": "ReturnAsStream",
}
TYPESET = """
const done = arguments[0];
const images = [...document.images].map(image => new Promise(loaded => {
  if (image.complete) loaded();
  image.onload = image.onerror = loaded;
}));
// A display that is wider than the paper becomes smaller.
const fit = () => document.querySelectorAll("mjx-container[display]").forEach(formula => {
  const width = formula.firstElementChild.getBoundingClientRect().width;
  const room = formula.parentElement.clientWidth;
  if (width > room) formula.style.fontSize = `${90 * room / width}%`;
});
const wide = () => [...document.querySelectorAll("main *")]
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .slice(0, 3).map(e => e.outerHTML.slice(0, 80));
MathJax.startup.promise.then(() => Promise.all(images)).then(fit).then(() => done(wide()));
"""


def say(text):
    """Print a line at once, into a file as well."""
    print(text, flush=True)


def open_page(driver, address):
    """Open a page and typeset its formulas; what is wider than the paper all the same."""
    driver.get(address)
    return driver.execute_async_script(TYPESET)


def print_pdf(driver):
    """The bytes of the PDF of the page that is open."""
    stream = driver.execute_cdp_cmd("Page.printToPDF", OPTIONS)["stream"]
    return b"".join(pieces(driver, stream))


def pieces(driver, stream):
    """The bytes of a stream of the browser, piece by piece."""
    piece = {"eof": False}
    while not piece["eof"]:
        piece = driver.execute_cdp_cmd("IO.read", {"handle": stream, "size": 1_000_000})
        yield base64.b64decode(piece["data"]) if piece["base64Encoded"] else piece["data"].encode()


def fingerprint(html):
    """Everything that the print of a document depends on, as one hash."""
    digest = hashlib.sha256(repr((OPTIONS, TYPESET)).encode() + html.encode())
    for address in sorted(set(re.findall(r'(?:src|href)="(\.\./[^"?]+)', html))):
        digest.update((PRINTED / address).read_bytes())
    return digest.hexdigest()[:16]


def print_all(files, tell=say):
    """Print the files, name -> HTML, that are not printed yet; name -> the PDF of each."""
    pdfs = {name: PRINTED / f"{name}.{fingerprint(html)}.pdf" for name, html in files.items()}
    missing = [name for name in files if not pdfs[name].exists()]
    if missing:
        tell(f"{len(missing)} of {len(files)} documents to print")
        print_files({name: files[name] for name in missing}, pdfs, tell)
    return pdfs


def print_files(files, pdfs, tell):
    """Print files, name -> HTML, into `pdfs`; say after each how far it is."""
    start = time.monotonic()
    with serve(BUILD) as address, browser(width=COLUMN, height=905) as driver:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        for done, (name, html) in enumerate(files.items(), start=1):
            began = time.monotonic()
            page = pdfs[name].with_suffix(".html")
            page.write_text(html, encoding="utf-8")
            wide = open_page(driver, f"{address}{PRINTED.name}/{page.name}")
            with replaced(pdfs[name]) as draft:
                draft.write_bytes(print_pdf(driver))
            for old in {page, *PRINTED.glob(f"{name}.*.pdf")} - {pdfs[name]}:  # earlier prints
                old.unlink()
            now = time.monotonic()
            left = (now - start) / done * (len(files) - done)
            more = f", about {in_words(left)} left" if done < len(files) else ""
            tell(f"{now - began:7.1f} s  {name:45} {done} of {len(files)}{more}")
            if wide:
                tell(f"          wider than the paper: {wide}")


def write_book(names, toc, config, path, tell=say):
    """Write the PDF of the pages of these names.

    Returns:
        The number of pages and the ids that links look for in vain.
    """
    PRINTED.mkdir(exist_ok=True)
    head = paper_pages.head_of(paper_pages.read(PAGES, toc["root"]), toc["root"], PREFIX)
    made = paper_pages.documents(PAGES, names)
    wanted = paper_pages.wanted_ids(made)
    files = {one.name: paper_pages.as_html(one, head, PREFIX, wanted) for one in made}
    pdfs = print_all(files, tell)

    def printed_front(pages_of):
        one = paper_pages.front(toc, config, made, pages_of)
        html = paper_pages.as_html(one, head, PREFIX, wanted)
        return one, print_all({one.name: html}, lambda _: None)[one.name]

    # The contents take the same room whatever the numbers: printed first for their length.
    page, pages_of = 1 + length(printed_front({})[1]), {}
    for one in made:
        pages_of[one.name] = page
        page += length(pdfs[one.name])
    front, front_pdf = printed_front(pages_of)
    tell("joining the chapters")
    every = [(front, front_pdf), *((one, pdfs[one.name]) for one in made)]
    return join(every, path, config["title"], config["author"])


def length(pdf):
    """The number of pages of a PDF."""
    return len(PdfReader(pdf).pages)


def main():
    """Write the PDF."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="*", type=chapter, help="numbers or paths; default: all")
    chapters = parser.parse_args().chapters
    if programs() is None:
        print(MISSING, file=sys.stderr)
        return 1
    if not INDEX.exists() or unready(chapters or notebook_paths()):
        print("the pages are not ready: run `make book` first", file=sys.stderr)
        return 1
    toc, config = read_toc(), yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    names, path = [name for name in all_pages(toc) if not name.startswith(ONLINE_ONLY)], PDF
    if chapters:
        names = [p.relative_to(ROOT).with_suffix("").as_posix() for p in sorted(chapters)]
        path = BUILD / f"lemmse-{'-'.join(str(int(Path(name).name[:2])) for name in names)}.pdf"
    try:
        pages, lost = write_book(names, toc, config, path)
    except KeyboardInterrupt:
        print("stopped: what is printed is kept, and the same command goes on from there")
        return 130
    if lost:
        print(f"links without a place: {', '.join(sorted(lost))}", file=sys.stderr)
    print(f"The PDF: {path.as_uri()}, {pages} pages, {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
