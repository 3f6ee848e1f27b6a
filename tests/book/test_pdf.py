"""The book on paper: what is printed, how the chapters are joined, and two of them printed."""

import base64
import re

import pytest
import yaml
from bs4 import BeautifulSoup
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject

import make_pdf
import paper_pages
from browser import MISSING, programs
from contents import read_toc
from join_pdf import join
from paper_pages import Document
from sync_notebooks import ROOT

PAGE = """
<article class="bd-article"><section id="a"><h1>A</h1><a class="headerlink" href="#a">#</a>
<a href="b.html#x">there</a><a href="../genindex.html">index</a><a href="#a">here</a>
<a href="https://example.org">out</a><img src="../_images/p.png" loading="lazy">
<div class="exercise admonition" id="ex"><p class="admonition-title">
<span class="caption-number">Exercise 1.1 </span> (Fields)</p>Do.</div>
<div class="solution admonition" id="sol"><p class="admonition-title">Solution</p>Done.</div>
<div class="cell a"><details class="hide above-input">code</details></div>
<div class="cell b"><img alt="b" src="../_images/p.png"></div>
<figure class="lemmse-explorer"><div class="controls">c</div><img src="1.webp">
<img hidden="" src="2.webp"><script>s</script></figure></section></article>
"""


@pytest.fixture
def pages(tmp_path):
    """A folder of built pages: one, and another that it links to."""
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.html").write_text(PAGE, encoding="utf-8")
    other = '<article class="bd-article"><section id="x"><h1>B &amp; C</h1></section></article>'
    (tmp_path / "part" / "b.html").write_text(other, encoding="utf-8")
    return tmp_path


def test_on_paper_nothing_moves_and_links_stay_in_the_book(pages):
    first, _, _ = paper_pages.documents(pages, ["part/a", "part/b"])
    body = BeautifulSoup(first.body, "html.parser")
    links = {tag.get_text(): tag["href"] for tag in body.find_all("a")}
    assert links == {
        "there": "lemmse:part-b--x",
        "here": "lemmse:part-a--a",
        "out": "https://example.org",
        paper_pages.ELSEWHERE: "lemmse:part-a--sol",
    }
    pictures = [tag["src"] for tag in body.find_all("img")]
    assert pictures == ["_images/p.png", "_images/p.png", "part/1.webp"]
    assert "index" in body.get_text()
    assert "code" not in body.get_text()
    assert [cell["class"][1] for cell in body.select(".cell")] == ["b"]
    assert paper_pages.INTERACTIVE in body.get_text()
    assert not body.select(".solution, script, .controls, .headerlink, [loading]")


def test_solutions_stand_at_the_end_and_say_whose_they_are(pages):
    first, second, last = paper_pages.documents(pages, ["part/a", "part/b"])
    assert (first.title, second.title, last.title) == ("A", "B & C", "Solutions")
    text = BeautifulSoup(last.body, "html.parser").get_text(" ", strip=True)
    assert text == "Solutions A Solution of Exercise 1.1 (Fields) Done."
    assert "part-a--sol" in last.ids
    assert "part-a--sol" not in first.ids
    assert second.headings == [(1, "part-b--x", "B & C")]


def test_the_contents_name_parts_chapters_and_pages(pages):
    made = paper_pages.documents(pages, ["part/a", "part/b"])
    toc = {"root": "intro", "parts": [{"caption": "P", "chapters": [{"file": "part/a"}]}]}
    config = {"title": "T", "author": "W", "copyright": "2026"}
    front = paper_pages.front(toc, config, made, {"part-a": 3, "solutions-part": 12})
    entries = [li.get_text() for li in BeautifulSoup(front.body, "html.parser").find_all("li")]
    assert entries == ["A3", "Solutions12"]
    unknown = paper_pages.front(toc, config, made, {})
    assert re.findall(r">(\d+)</li>", unknown.body) == ["888", "888"]


def test_formulas_are_typeset_without_their_copy_for_screen_readers():
    page = BeautifulSoup(
        '<head><link rel="stylesheet" href="../_static/a.css"><link rel="next" href="b.html">'
        '<script>window.MathJax = {"loader": {"load": ["core", "a11y/assistive-mml"]}}</script>'
        '<script defer src="../_static/mathjax/startup.js"></script><script src="c.js"></script>',
        "html.parser",
    )
    assert paper_pages.head_of(page, "book/intro", "../html/") == (
        '<meta charset="utf-8"/><link href="../html/_static/a.css" rel="stylesheet"/>'
        '<script>window.MathJax = {"loader": {"load": ["core"]}}</script>'
        '<script defer src="../html/_static/mathjax/startup.js"></script>'
    )


def chapter_pdf(path, name, links):
    """A PDF as Chromium prints it: its own id on its second page, links on its first."""
    writer = PdfWriter()
    for _ in range(2):
        writer.add_blank_page(200, 300)
    drawing = DecodedStreamObject()
    drawing.set_data(b"0 0 m 20 20 l S")
    writer.pages[0].replace_contents(drawing)
    writer.add_named_destination(name, 1)
    for address in links:
        writer.add_uri(0, address, [10, 10, 50, 20])
    writer.write(path)


def test_joined_chapters_are_numbered_linked_and_in_the_outline(tmp_path):
    chapter_pdf(tmp_path / "1.pdf", "one--a", ["lemmse:two--a", "lemmse:nowhere"])
    chapter_pdf(tmp_path / "2.pdf", "two--a", ["lemmse:one--a", "https://example.org"])
    one = Document("one", "One", "", [(1, "one", "One"), (2, "one--a", "Section")])
    two = Document("two", "Two", "", [(1, "two--a", "Two")])
    every = [(one, tmp_path / "1.pdf"), (two, tmp_path / "2.pdf")]
    pages, lost = join(every, tmp_path / "all.pdf", "Title", "Authors")
    assert (pages, lost) == (4, {"nowhere"})
    book = PdfReader(tmp_path / "all.pdf")
    assert [page.extract_text().strip() for page in book.pages] == ["1", "2", "3", "4"]
    assert targets(book) == [(1, 4), (3, 2), (3, "https://example.org")]
    assert titles(book.outline) == ["One", ["Section"], "Two"]
    numbers = [book.get_destination_page_number(entry) for entry in flat(book.outline)]
    assert numbers == [0, 1, 3]
    assert book.metadata.title == "Title"
    drawn = [b"20 20 l S" in page.get_contents().get_data() for page in book.pages]
    assert drawn == [True, False, True, False]


def targets(book):
    """(page, page or address) of all links of a PDF, pages counted from one."""
    found = []
    numbers = {page.indirect_reference.idnum: n for n, page in enumerate(book.pages, start=1)}
    for number, page in enumerate(book.pages, start=1):
        for reference in page.get("/Annots", ()):
            link = reference.get_object()
            target = link["/A"]["/URI"] if "/A" in link else numbers[link["/Dest"][0].idnum]
            found.append((number, target))
    return found


def titles(outline):
    return [titles(entry) if isinstance(entry, list) else entry.title for entry in outline]


def flat(outline):
    for entry in outline:
        yield from flat(entry) if isinstance(entry, list) else [entry]


def test_only_what_is_missing_is_printed(tmp_path, monkeypatch):
    asked = []

    def print_files(files, pdfs, tell):
        asked.append(sorted(files))
        for name in files:
            pdfs[name].write_bytes(b"printed")

    monkeypatch.setattr(make_pdf, "PRINTED", tmp_path)
    monkeypatch.setattr(make_pdf, "print_files", print_files)
    told = []
    make_pdf.print_all({"a": "text", "b": "text 2"}, told.append)
    make_pdf.print_all({"a": "text", "b": "text 3"}, told.append)
    make_pdf.print_all({"a": "text", "b": "text 3"}, told.append)
    assert asked == [["a", "b"], ["b"]]
    assert told == ["2 of 2 documents to print", "1 of 2 documents to print"]


def test_a_changed_picture_is_printed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(make_pdf, "PRINTED", tmp_path / "pdf")
    (tmp_path / "pdf").mkdir()
    (tmp_path / "a.png").write_bytes(b"old")
    html = '<img alt="a" src="../a.png">'
    before = make_pdf.fingerprint(html)
    assert make_pdf.fingerprint(html) == before
    (tmp_path / "a.png").write_bytes(b"new")
    assert make_pdf.fingerprint(html) != before


def test_without_a_browser_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(make_pdf, "programs", lambda: None)
    monkeypatch.setattr("sys.argv", ["make_pdf.py"])
    assert make_pdf.main() == 1
    assert "apt-get install chromium chromium-driver" in capsys.readouterr().err


def test_a_stream_of_the_browser_is_read_to_its_end():
    answers = [
        {"data": base64.b64encode(b"%PDF\xff").decode(), "base64Encoded": True, "eof": False},
        {"data": "", "base64Encoded": False, "eof": False},
        {"data": base64.b64encode(b"\x00end").decode(), "base64Encoded": True, "eof": True},
    ]

    class Browser:
        def execute_cdp_cmd(self, name, options):
            assert (name, options["handle"]) == ("IO.read", "7")
            return answers.pop(0)

    assert b"".join(make_pdf.pieces(Browser(), "7")) == b"%PDF\xff\x00end"
    assert answers == []


@pytest.mark.book
@pytest.mark.skipif(programs() is None, reason=MISSING)
def test_two_chapters_are_printed_from_end_to_end(tmp_path):
    names = [f"notebooks/{name}" for name in ("2-theory/05-equivariance", "2-theory/06-locality")]
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    told = []
    path = tmp_path / "book.pdf"
    pages, lost = make_pdf.write_book(names, read_toc(), config, path, told.append)
    assert lost == set()
    assert not [line for line in told if "wider" in line]
    book = PdfReader(path)
    text = [page.extract_text() for page in book.pages]
    assert [page.splitlines()[-1].strip() for page in text] == [str(n + 1) for n in range(pages)]
    assert all(len(page.splitlines()) > 2 for page in text)  # more than a header and a number
    starts = {entry.title: book.get_destination_page_number(entry) + 1 for entry in chapters(book)}
    assert [title[:2] for title in starts] == ["5.", "6.", "So"]
    assert starts[next(iter(starts))] == 3  # after the title and the contents
    for title, page in starts.items():  # in the header, and above the text
        assert "".join(text[page - 1].split()).count("".join(title.split())) >= 2
    contents = "".join(text[1].split())
    for title, page in starts.items():
        assert f"{title}{page}".replace(" ", "") in contents
    solved = starts["Solutions"] - 1
    assert re.search(r"Solution of Exercise 5\.1", "".join(text[solved:]))
    assert "Solution of" not in "".join(text[:solved])
    assert "Exercise 5.1" in "".join(text[:solved])
    inside = [target for _, target in targets(book) if isinstance(target, int)]
    assert len(inside) > 20
    assert {"/Image"} <= kinds(book)


def chapters(book):
    return [entry for entry in book.outline if not isinstance(entry, list)]


def kinds(book):
    """The kinds of objects that the pages draw."""
    drawn = [page["/Resources"].get("/XObject") for page in book.pages]
    found = [item for things in drawn if things for item in things.get_object().values()]
    return {item.get_object()["/Subtype"] for item in found}
