"""What the pages are cut to: styles, icons, pictures, ids; and the book on paper."""

import base64

import pytest
from bs4 import BeautifulSoup
from docutils import nodes

import make_pdf
from finished_pages import Files, description, finish_image, repair_ids
from light_assets import class_names, icons_in_use, pieces, purge
from make_site import write_site


@pytest.mark.parametrize(
    ("css", "kept"),
    [
        (".a{x:1}.b{y:2}", ".a{x:1}"),
        (".a,.b{x:1}", ".a{x:1}"),
        (".a .b{x:1}", ""),
        (".a:not(.b){x:1}", ".a:not(.b){x:1}"),
        (":is(.a,.b) p{x:1}", ":is(.a,.b) p{x:1}"),
        (".a:is(:not(.b)).b{x:1}", ""),
        ("p{x:1}", "p{x:1}"),
        ("@media print{.b{x:1}}", ""),
        ("@media print{.b{x:1}.a{y:2}}", "@media print{.a{y:2}}"),
        ("@font-face{src:url(b.woff)}", "@font-face{src:url(b.woff)}"),
        ("@keyframes b{from{x:1}to{x:2}}", "@keyframes b{from{x:1}to{x:2}}"),
        ('@charset "utf-8";.b{x:1}', '@charset "utf-8";'),
        ('.a{x:"}.b{"}', '.a{x:"}.b{"}'),
        (r'.a{x:"\"}"}', r'.a{x:"\"}"}'),
        (".a{x:url(data:b;c)}", ".a{x:url(data:b;c)}"),
        ("/* .a{} */.b{x:1}", ""),
        (r".a\:b{x:1}", ""),
    ],
)
def test_rules_that_nothing_can_match_go(css, kept):
    assert purge(css, {"a"}) == kept


def test_classes_come_from_pages_and_from_scripts():
    pages = ['<p class="one two">', "<script>document.write(`<i class='three'>`)</script>"]
    used = class_names(pages, ['element.classList.add("four-five")'])
    assert {"one", "two", "three", "four-five"} <= used


def test_pieces_keep_brackets_and_quotes_together():
    assert pieces("a, b(c, d), 'e, f',", ",") == ["a", "b(c, d)", "'e, f'"]


def test_icons_are_found_by_name_by_number_and_by_character():
    codes = {"fa-sun": 0xF185, "fa-moon": 0xF186}
    sheets = ['a::before{content:"\\f0f3"}', 'b{--icon:"\uf019"}', "c{color:#f0f3aa}"]
    assert icons_in_use(['<i class="fas fa-sun">'], sheets, codes) == {0xF185, 0xF0F3, 0xF019}


def soup(text):
    return BeautifulSoup(text, "html.parser")


def test_a_picture_in_the_page_becomes_a_file_that_comes_late(tmp_path):
    address = "data:image/webp;base64," + base64.b64encode(b"picture").decode()
    page = soup(f'<img src="{address}"><img class="atlas" src="{address}"><img src="a.png">')
    files = Files(tmp_path, "notebooks/part/chapter")
    first, atlas, plain = page.find_all("img")
    for image in (first, atlas, plain):
        finish_image(image, files)
    assert (first["loading"], atlas.get("loading"), plain["loading"]) == ("lazy", None, "lazy")
    assert first["src"].startswith("../../_images/")
    assert (tmp_path / "notebooks/part" / first["src"]).resolve().read_bytes() == b"picture"
    assert first["src"] == atlas["src"]
    assert plain["src"] == "a.png"


def test_every_id_is_left_once_and_a_proof_is_still_told_from_a_theorem():
    page = soup(
        '<div class="proof theorem" id="thm-a"><section id="proof-content"></section></div>'
        '<div class="proof admonition" id="proof"></div><p id="b"></p><p id="b"></p>'
    )
    repair_ids(page)
    assert [tag["id"] for tag in page.find_all(id=True)] == ["thm-a", "b"]
    (proof,) = page.select(".ends-with-square")
    assert proof["class"] == ["proof", "admonition", "ends-with-square"]


def test_a_page_is_described_by_its_first_paragraph_cut_at_a_word():
    text = 'A "long" sentence & ' + "word " * 60
    document = nodes.section("", nodes.paragraph("", "Short."), nodes.paragraph("", text))
    found = description(document)
    assert found.startswith("A &quot;long&quot; sentence &amp; word")
    assert found.endswith("word…")
    assert description(nodes.section()) is None


def test_the_site_has_what_github_pages_needs_and_nothing_of_sphinx(tmp_path):
    pages = tmp_path / "html"
    (pages / "_static").mkdir(parents=True)
    for name in ("index.html", ".buildinfo", "_static/a.js", "_static/a.js.map"):
        (pages / name).write_text("text", encoding="utf-8")
    (tmp_path / "site" / "old").mkdir(parents=True)
    assert write_site(pages, tmp_path / "site") == 8
    kept = sorted(
        p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site").rglob("*")
    )
    assert kept == [".nojekyll", "_static", "_static/a.js", "index.html"]


def test_on_paper_solutions_stand_apart_and_links_stay_inside():
    page = soup(
        '<article class="bd-article"><section id="a"><h1>A</h1>'
        '<a class="headerlink" href="#a">#</a>'
        '<a href="b.html#x">there</a><a href="../genindex.html">index</a><a href="#a">here</a>'
        '<a href="https://example.org">out</a><img src="../_images/p.png">'
        '<div class="solution">Solved.</div>'
        '<div class="cell a"><details class="hide above-input">code</details></div>'
        '<div class="cell b"><img alt="b" src="../_images/p.png"></div>'
        '<figure class="lemmse-explorer"><div class="controls">c</div><img src="1.webp">'
        '<img hidden="" src="2.webp"><script>s</script></figure></section></article>'
    )
    article, solutions = make_pdf.paper_article(page, "part/a", ["part/a", "part/b"])
    assert [tag.get_text() for tag in solutions] == ["Solved."]
    links = {tag.get_text(): tag["href"] for tag in article.find_all("a")}
    assert links == {
        "there": "#part-b--x",
        "here": "#part-a--a",
        "out": "https://example.org",
    }
    pictures = [tag["src"] for tag in article.find_all("img")]
    assert pictures == ["_images/p.png", "_images/p.png", "part/1.webp"]
    assert "index" in article.get_text()
    assert "code" not in article.get_text()
    assert [cell["class"][1] for cell in article.select(".cell")] == ["b"]
    assert make_pdf.INTERACTIVE in article.get_text()
    assert not article.select(".solution, script, .controls, .headerlink")


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
