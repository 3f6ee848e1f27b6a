"""The diagrams: vector graphics that can be read, whole and inside their frame."""

import xml.etree.ElementTree as ET

import pytest

from lemmse import plots
from lemmse.plots.diagrams import _DIAGRAMS, _MAP, WIDTH

EVERY = [(name, None) for name in _DIAGRAMS] + [("map", here) for here in _MAP]


@pytest.mark.parametrize(("name", "here"), EVERY)
def test_a_diagram_is_whole_and_inside_its_frame(name, here):
    made = plots.diagram(name, here)
    root = ET.fromstring(made._repr_svg_())
    width, height = (float(v) for v in root.get("viewBox").split()[2:])
    assert (width, root.get("role")) == (WIDTH, "img")
    assert len(root.get("aria-label")) > 20
    assert repr(made) == f"Diagram: {root.get('aria-label')}"
    background = root.find("{*}rect")
    assert (background.get("fill"), background.get("height")) == ("#fff", f"{height:g}")
    texts = root.findall(".//{*}text")
    for text in texts:
        # A letter is at most 0.65 of its size wide in the fonts named.
        long = 0.6 * float(text.get("font-size")) * len(text.text)
        start = {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor")]
        left = float(text.get("x")) - start * long
        assert left > -12
        assert left + long < width + 12
        assert 8 < float(text.get("y")) < height
        assert float(text.get("font-size")) >= 11
    for box in root.findall(".//{*}rect"):
        assert float(box.get("y", 0)) + float(box.get("height")) <= height


def test_the_map_marks_one_place():
    plain, marked = (plots.diagram("map", here)._repr_svg_() for here in (None, "LE-MMSE"))
    assert plain.count("#ffe9d2") == 0
    assert marked.count("#ffe9d2") == 1


@pytest.mark.parametrize(
    ("name", "here", "message"),
    [
        ("maps", None, "name: expected one of problem, patches.*got 'maps'"),
        ("map", "UNet", "here: expected, on the map, one of MMSE.*got 'UNet'"),
        ("svd", "MMSE", "here: expected, on the map"),
    ],
)
def test_a_diagram_rejects(name, here, message):
    with pytest.raises(ValueError, match=message):
        plots.diagram(name, here)
