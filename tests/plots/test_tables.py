"""Tables of chapters: what a page shows, what a terminal prints, and what is refused."""

import xml.etree.ElementTree as ET

import pytest

from lemmse import plots


def test_a_table_shows_its_heading_and_every_entry():
    made = plots.table(["a", "b"], ("x", 1.5), (text for text in ("<b>y</b>", 2)))
    root = ET.fromstring(made._repr_html_())
    rows = [["".join(cell.itertext()) for cell in row] for row in root.findall("tr")]
    assert rows == [["a", "b"], ["x", "1.5"], ["y", "2"]]
    assert [cell.tag for cell in root.find("tr")] == ["th", "th"]
    assert root.findall("tr")[2][0].find("b").text == "y"
    assert root.get("class") == "table"


def test_a_table_prints_without_tags():
    made = plots.table(["name", "dB"], ["<b>best</b>", "9"])
    assert repr(made) == "name  dB\nbest  9"


@pytest.mark.parametrize("rows", [[], [["a", "b"], ["x"]]])
def test_a_table_rejects_rows_that_do_not_fit(rows):
    with pytest.raises(ValueError, match="rows: expected a heading and rows of one length, got"):
        plots.table(*rows)
