"""What the pages are cut to: styles, icons, pictures, ids."""

import base64

import pytest
from bs4 import BeautifulSoup
from docutils import nodes

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


def test_the_site_leaves_pictures_of_earlier_builds_behind(tmp_path):
    (tmp_path / "html" / "_images").mkdir(parents=True)
    for name in ("old.png", "shown.png", "data.js"):
        (tmp_path / "html" / "_images" / name).write_bytes(b"12345")
    page = '<img src="../_images/shown.png"><script data-src="_images/data.js"></script>'
    (tmp_path / "html" / "index.html").write_text(page, encoding="utf-8")
    assert write_site(tmp_path / "html", tmp_path / "site") == len(page) + 10
    assert not (tmp_path / "site" / "_images" / "old.png").exists()
    assert (tmp_path / "html" / "_images" / "old.png").exists()
