"""Tests of lemmse.plots: the palette, the figures, glued numbers and explorers."""

import io
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from lemmse import plots

_MACHADO = {  # simulation of colour-blind vision in linear RGB, severity 1 (Machado et al. 2009)
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
_METHODS = [
    name for name in plots.COLORS if " " not in name and name not in ("truth", "measurement")
]


@pytest.fixture(autouse=True)
def _live(monkeypatch):
    monkeypatch.delenv("LEMMSE_BUILD", raising=False)


@pytest.fixture
def build(monkeypatch):
    monkeypatch.setenv("LEMMSE_BUILD", "1")


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def texts(figure: Figure) -> list[str]:
    """All non-empty texts of a figure."""
    found = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in found if text.get_text() and text.get_visible()]


# Style


def _linear_rgb(color):
    rgb = np.array(matplotlib.colors.to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _lab(linear):
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ np.clip(linear, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", _MACHADO)
def test_colours_differ_for_every_vision(vision):
    seen = {n: _lab(np.array(_MACHADO[vision]) @ _linear_rgb(plots.COLORS[n])) for n in _METHODS}
    smallest = min(np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2))
    assert smallest > 20


@pytest.mark.parametrize("name", _METHODS)
def test_colours_stand_out_on_white(name):
    luminance = _linear_rgb(plots.COLORS[name]) @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (luminance + 0.05) >= 3


def test_methods_can_be_told_apart_without_colour():
    markers = [plots.STYLES[name]["marker"] for name in _METHODS]
    assert len(set(markers)) == len(markers)
    for name in plots.STYLES:
        if name.endswith("agnostic"):
            aware = plots.STYLES[name.replace("agnostic", "aware")]
            assert plots.STYLES[name]["linestyle"] != aware["linestyle"]
            assert plots.STYLES[name]["color"] == aware["color"]


@pytest.mark.parametrize("table", [plots.COLORS, plots.STYLES])
def test_unknown_names_list_the_known_ones(table):
    with pytest.raises(ValueError, match="LE-MMSE, Tikhonov, Wiener.*got 'LMMSE'"):
        table["LMMSE"]


def test_use_style_needs_no_installed_font():
    with matplotlib.rc_context():
        plots.use_style()
        family = matplotlib.font_manager.FontProperties(family=["sans-serif"])
        font = matplotlib.font_manager.findfont(family, fallback_to_default=False)
    assert font.endswith("DejaVuSans.ttf")
    assert (Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf").exists()


# Images


def test_psnr_stands_under_each_image():
    truth = torch.full((2, 1, 6, 6), 0.5)
    figure = plots.show_images({"truth": truth, "off": truth + 0.1}, psnr_to=truth)
    assert texts(figure).count("exact") == 2
    assert texts(figure).count("20.0 dB") == 2
    assert [ax.get_title() for ax in figure.axes[:2]] == ["truth", "off"]


@pytest.mark.parametrize(("off", "label"), [(3e-8, "exact"), (1e-5, "100.0 dB")])
def test_what_differs_by_rounding_only_is_exact(off, label):
    truth = torch.full((1, 6, 6), 0.5, dtype=torch.float64)
    figure = plots.show_images([truth + off], psnr_to=[truth])
    assert [ax.get_xlabel() for ax in figure.axes] == [label]


def test_a_mapping_compares_row_by_row():
    truth = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    figure = plots.show_images({"a": truth, "b": truth.flip(0)}, psnr_to=truth)
    under = [ax.get_xlabel() for ax in figure.axes]
    assert under == ["exact", "0.0 dB", "exact", "0.0 dB"]


@pytest.mark.parametrize(
    ("rows", "shape"),
    [
        (images(3, 5, 5), (1, 1)),
        (images(4, 1, 5, 5), (1, 4)),
        ([images(1, 5, 5), images(3, 5, 5)], (1, 2)),
        ([images(3, 1, 5, 5), images(3, 1, 5, 5)], (2, 3)),
        ([[images(1, 5, 5), None], [images(1, 5, 5), images(1, 5, 5)]], (2, 2)),
        (images(2, 1, 5, 5).numpy(), (1, 2)),
    ],
)
def test_grids(rows, shape):
    grid = plots.show_images(rows).axes[0].get_gridspec().get_geometry()
    assert grid == shape


def test_pixels_are_not_smoothed_and_the_range_is_fixed():
    shown = plots.show_images(images(1, 5, 5) / 10).axes[0].images[0]
    assert shown.get_interpolation() in ("nearest", "auto", "antialiased")
    assert shown.get_clim() == (0, 1)


def test_another_range_is_noted():
    grey = plots.show_images(images(1, 5, 5), limits=(-1, 2))
    assert len(grey.axes) == 2
    assert "intensity" in texts(grey)
    colour = plots.show_images(images(3, 5, 5), limits=(-1, 2))
    assert "black to white: -1 to 2" in texts(colour)
    assert not any("black to white" in text for text in texts(plots.show_images(images(3, 5, 5))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": images(5)}, "shape"),
        ({"rows": images(2, 2, 5, 5)}, "C = 1 or 3"),
        ({"rows": images(1, 5, 5) * torch.nan}, "finite"),
        ({"rows": torch.zeros(1, 5, 5, dtype=torch.complex64)}, "real"),
        ({"rows": []}, "row of images"),
        ({"rows": {}}, "as many images"),
        ({"rows": [[None]]}, "empty cells"),
        ({"rows": [images(2, 1, 5, 5), images(3, 1, 5, 5)]}, r"one length.*\[2, 3\]"),
        ({"rows": {"a": images(2, 1, 5, 5), "b": images(3, 1, 5, 5)}}, "'a': 2, 'b': 3"),
        ({"rows": images(2, 1, 5, 5), "titles": ["a"]}, "one a column, 2 in all"),
        ({"rows": images(2, 1, 5, 5), "titles": "ab"}, "one a column"),
        ({"rows": images(2, 1, 5, 5), "row_labels": ["a", "b"]}, "one a row, 1 in all"),
        ({"rows": images(2, 1, 5, 5), "psnr_to": images(3, 1, 5, 5)}, "1 x 2 images"),
        ({"rows": images(2, 1, 5, 5), "psnr_to": images(1, 6, 6)}, "image's shape"),
        ({"rows": images(1, 5, 5), "limits": (1, 0)}, "low < high"),
        ({"rows": images(1, 5, 5), "limits": "full"}, "auto"),
        ({"rows": images(1, 5, 5), "size": 0}, "> 0"),
    ],
)
def test_show_images_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.show_images(**arguments)


def test_error_map_is_signed_and_symmetric():
    truth = torch.full((1, 4, 4), 0.5)
    estimate = truth.clone()
    estimate[0, 1, 2] = 0.2
    figure = plots.error_map(estimate, truth, titles=["P = 3"])
    shown = figure.axes[0].images[0]
    assert shown.get_array()[1, 2] == pytest.approx(-0.3)
    assert shown.get_clim() == pytest.approx((-0.3, 0.3))
    assert any("intensity, range 1" in text for text in texts(figure))


def test_error_map_of_an_exact_estimate():
    shown = plots.error_map(images(1, 4, 4), images(1, 4, 4)).axes[0].images[0]
    assert np.all(shown.get_array() == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((images(1, 4, 4), images(1, 5, 5)), "one shape"),
        ((images(1, 4, 4), images(1, 4, 4, seed=1), 0.0), "limit > 0"),
        ((images(2, 1, 4, 4), images(2, 1, 4, 4), 1.0, ["a"]), "one a map, 2 in all"),
    ],
)
def test_error_map_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.error_map(*arguments)


def test_heat_map_of_both_signs_is_centred_at_zero():
    shown = plots.heat_map(torch.tensor([[-1.0, 3.0]])).axes[0].images[0]
    assert shown.get_clim() == (-3, 3)
    assert shown.get_cmap().name == "RdBu_r"


def test_heat_map_is_labelled():
    figure = plots.heat_map(torch.eye(3), title="kernel", xlabel="x", ylabel="y", label="weight")
    assert {"kernel", "x", "y", "weight"} <= set(texts(figure))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": images(1, 3, 3)}, "matrix"),
        ({"matrix": torch.eye(3) / 0}, "finite"),
        ({"matrix": torch.eye(3), "log": True}, "values > 0"),
        ({"matrix": torch.eye(3), "limits": (1, 1)}, "low < high"),
        ({"matrix": torch.eye(3) * 1j}, "real"),
    ],
)
def test_heat_map_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.heat_map(**arguments)


# Curves


def test_curves_take_the_methods_style():
    figure = plots.curves(
        [0.1, 0.2, 0.4],
        {
            "LE-MMSE agnostic": torch.tensor([30.0, 25, 20]),
            "P = 5": [29, 24, 19],
            "P = 7": [1, 2, 3],
        },
        "noise level σ",
        "PSNR (dB)",
        log="x",
        bands={"P = 5": ([28, 23, 18], [30, 25, 20])},
    )
    method, first, second = figure.axes[0].lines
    assert method.get_color() == plots.COLORS["LE-MMSE agnostic"]
    assert first.get_marker() != second.get_marker()
    assert first.get_linestyle() != second.get_linestyle()
    assert {"noise level σ", "PSNR (dB)", "LE-MMSE agnostic", "P = 5"} <= set(texts(figure))
    figure.canvas.draw()
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0.1", "0.2", "0.4"]


def test_panels_take_several_plots():
    figure, (left, right) = plots.panels(1, 2)
    assert plots.curves([0, 1], {"a": [0, 1]}, "x", "y", ax=left) is figure
    assert plots.heat_map(torch.eye(2), ax=right) is figure
    with pytest.raises(ValueError, match="positive"):
        plots.panels(0, 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ys": {"a": [1, 2, 3]}}, r"a: expected shape \(2,\), got \(3,\)"),
        ({"ys": {"a": [1, float("nan")]}}, "finite"),
        ({"ys": {"a": [1, 0]}, "log": "y"}, "logarithmic"),
        ({"ys": {}}, "mapping"),
        ({"ys": {"LEMMSE": [1, 2]}}, "'LE-MMSE', got 'LEMMSE'"),
        ({"bands": {"b": ([1, 2], [1, 2])}}, r"among \['a'\]"),
        ({"xlabel": ""}, "labels"),
        ({"log": "z"}, "log"),
        ({"x": []}, r"x: expected shape \(n,\)"),
    ],
)
def test_curves_rejects(changed, message):
    arguments = {"x": [1, 2], "ys": {"a": [1, 2]}, "xlabel": "x", "ylabel": "y"} | changed
    with pytest.raises(ValueError, match=message):
        plots.curves(**arguments)


# Numbers in prose


def test_glue_prints_and_returns(capsys):
    assert plots.glue("psnr", torch.tensor(24.567), "{:.1f} dB") == "24.6 dB"
    assert capsys.readouterr().out == "psnr: 24.6 dB\n"
    assert plots.glue("name", "text") == "text"


@pytest.mark.parametrize(
    ("value", "format", "text"),
    [
        (0.00213, "{:.0e}", "2 × 10⁻³"),
        (-1.5e7, "{:.1e} dB", "−1.5 × 10⁷ dB"),
        (-0.41, "{:.2f} dB", "−0.41 dB"),
        (1024, "{:,d}-fold", "1,024-fold"),
        ("-0.3 ± 0.1 dB", "{}", "−0.3 ± 0.1 dB"),
        ("photos-grey at 16-bit, 1-2", "{}", "photos-grey at 16-bit, 1-2"),
    ],
)
def test_glued_numbers_are_typeset(value, format, text):
    assert plots.glue("name", value, format) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 1.0), "name"),
        (("a", torch.ones(2)), "got 2 of them"),
        (("a", 1.0, "{:d}"), "does not fit"),
        (("a", 1.0, "{} {}"), "does not fit"),
    ],
)
def test_glue_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.glue(*arguments)


# Explorers


class Page(HTMLParser):
    """Start tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text, self._raw = [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._raw = False

    def handle_data(self, data):
        self.text += "" if self._raw else data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


class Counting:
    """A grey level that counts how often it is asked for."""

    def __init__(self):
        self.calls = []

    def __call__(self, sigma, patch_size=3):
        self.calls.append((sigma, patch_size))
        return torch.full((1, 8, 8), sigma / patch_size)


def explorer(function=None, **changed):
    arguments = {"title": "grey <levels>", "sigma": [0.1, 0.25], "patch_size": [3, 5, 7]} | changed
    return plots.explore(function or Counting(), **arguments)


def test_page_carries_all_frames_and_native_labelled_controls(build):
    page = Page(explorer(alt="a grey square").html())
    frames, inputs = page.all("img"), page.all("input")
    assert len(frames) == 6
    assert len({frame["src"] for frame in frames}) == 6
    assert [("hidden" in frame) for frame in frames] == [False] + 5 * [True]
    assert frames[1]["alt"] == "a grey square (noise level σ = 0.1, patch size P = 5)"
    assert [item["type"] for item in inputs] == ["range", "range"]
    assert [item["max"] for item in inputs] == ["1", "2"]
    assert [item["aria-valuetext"] for item in inputs] == ["0.1", "3"]
    identifiers = [item["id"] for item in inputs]
    assert [item["for"] for item in page.all("label")] == identifiers
    assert [item["for"] for item in page.all("output")] == identifiers
    assert "grey <levels>" in page.text
    assert "Shown: noise level σ = 0.1, patch size P = 3." in page.text


def test_page_needs_no_network(build):
    html = explorer().html()
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r'src="data:[^"]*"', "", html))
    assert all(
        frame["src"].startswith("data:image/webp;base64,") for frame in Page(html).all("img")
    )


def test_two_explorers_share_no_id(build):
    one = explorer()
    page = Page(one.html() + one.html() + explorer().html())
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == 9
    assert len(set(identifiers)) == 9


def test_texts_of_axes_cannot_break_the_page(build):
    bad = "</script><b>"
    html = plots.explore(lambda t: images(1, 4, 4), title="t", t=["plain", bad]).html()
    assert bad not in html
    assert html.count("</script>") == 1


def test_alt_may_be_a_function(build):
    page = Page(explorer(alt=lambda sigma, patch_size: f"<{sigma}, {patch_size}>").html())
    assert page.all("img")[-1]["alt"] == "<0.25, 7>"


def test_build_computes_every_frame_once(build):
    function = Counting()
    made = explorer(function)
    assert sorted(function.calls) == sorted(itertools.product([0.1, 0.25], [3, 5, 7]))
    bundle = made._repr_mimebundle_()
    made.sliders["sigma"].value = 0.25
    assert len(function.calls) == 6
    assert {"text/html", "application/vnd.jupyter.widget-view+json", "text/plain"} <= set(bundle)


def test_live_kernel_computes_on_demand_and_once():
    function = Counting()
    made = explorer(function)
    assert function.calls == [(0.1, 3)]
    first = made.picture.value
    made.sliders["patch_size"].value = 7
    assert function.calls == [(0.1, 3), (0.1, 7)]
    assert made.picture.value != first
    made.sliders["patch_size"].value = 3
    assert made.picture.value == first
    assert len(function.calls) == 2
    assert "text/html" not in made._repr_mimebundle_()


def test_live_pictures_have_their_alternative_text():
    made = explorer(alt=lambda sigma, patch_size: f'<{sigma}> "{patch_size}"')
    assert Page(made.picture.value).all("img")[0]["alt"] == '<0.1> "3"'
    made.sliders["patch_size"].value = 7
    assert Page(made.picture.value).all("img")[0]["alt"] == '<0.1> "7"'


def test_busy_while_computing_and_quiet_after():
    made, seen = {}, []

    def function(sigma):
        seen.extend(explorer.status.value for explorer in made.values())
        return images(1, 4, 4)

    made["one"] = plots.explore(function, title="t", sigma=[0.1, 0.2])
    made["one"].sliders["sigma"].value = 0.2
    assert len(seen) == 1
    assert "computing" in seen[0]
    assert made["one"].status.value == ""


def test_a_failing_function_is_reported_and_does_not_stop_the_explorer():
    def function(sigma):
        if sigma > 0.5:
            raise RuntimeError("too <noisy>")
        return images(1, 4, 4)

    made = plots.explore(function, title="t", sigma=[0.1, 0.9])
    made.sliders["sigma"].value = 0.9
    assert "RuntimeError: too &lt;noisy&gt;" in made.status.value
    assert made.picture.layout.visibility == "hidden"
    made.sliders["sigma"].value = 0.1
    assert made.status.value == ""
    assert made.picture.layout.visibility == "visible"


@pytest.mark.parametrize(
    "picture",
    [
        lambda: plots.show_images(images(1, 4, 4)),
        lambda: images(3, 4, 4),
        lambda: images(1, 3, 4, 4),
        lambda: images(4, 4).numpy(),
        lambda: images(4, 4, 3).numpy(),
        lambda: np.zeros((4, 4, 3), dtype=np.uint8),
    ],
)
def test_pictures_of_every_kind(picture):
    made = plots.explore(lambda n: picture(), title="t", n=[1])
    assert 'src="data:image/png;base64,iVBORw0KGgo' in made.picture.value


def test_pixels_are_enlarged_exactly():
    frame = plots.explore(lambda n: torch.eye(4), title="t", n=[1]).frame((0,))
    pixels = np.asarray(frame.image)
    assert np.array_equal(pixels[::90, ::90, 0], 255 * np.eye(4))
    assert np.array_equal(pixels, pixels[::90, ::90].repeat(90, 0).repeat(90, 1))


def test_pyplot_figures_are_closed():
    from matplotlib import pyplot

    plots.explore(lambda n: pyplot.figure(), title="t", n=[1])
    assert pyplot.get_fignums() == []


def test_a_figure_becomes_the_pixels_that_savefig_writes():
    def draw(n):
        figure, (left, right) = plots.panels(1, 2, width=4.0, height=2.5)
        left.plot([1, 2], [1e-3, n], label="σ")
        left.set(yscale="log", xlabel=r"noise $\sigma$")
        right.imshow(np.eye(8))
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center")
        return figure

    written = io.BytesIO()
    draw(2).savefig(written, format="png", dpi=150, facecolor="white")
    frame = plots.explore(draw, title="t", n=[2]).frame((0,))
    assert np.array_equal(np.asarray(frame.image), np.asarray(Image.open(written).convert("RGB")))
    assert frame.width == 400


def test_at_most_forty_frames_in_the_book(build):
    with pytest.raises(ValueError, match="at most 40 frames in the book, got 7 x 6 = 42"):
        plots.explore(Counting(), title="t", sigma=list(range(7)), patch_size=list(range(6)))


def test_many_positions_in_a_live_kernel():
    function = Counting()
    plots.explore(function, title="t", sigma=list(range(100)))
    assert len(function.calls) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"function": 3}, "function"),
        ({"sigma": 0.1}, "sigma: expected a list"),
        ({"sigma": "0.1"}, "sigma: expected a list"),
        ({"sigma": []}, "at least one"),
        ({"sigma": [0.1, 0.1]}, "distinct"),
        ({"sigma": [[0.1]]}, "numbers, texts"),
        ({"title": None}, "title or an alt"),
        ({"function": lambda sigma, patch_size: "text"}, r"sigma=0.1, patch_size=3\).*got str"),
        ({"function": lambda sigma, patch_size: images(2, 4, 4)}, "one image"),
        ({"function": lambda sigma, patch_size: images(4, 4, 2).numpy()}, r"\(H, W, 3\)"),
        ({"function": lambda sigma, patch_size: images(4, 4) / 0}, "finite"),
    ],
)
def test_explore_rejects(changed, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changed)


def test_explore_needs_an_axis():
    with pytest.raises(ValueError, match="at least one axis"):
        plots.explore(Counting(), title="t")


# In a kernel


def test_in_the_kernel_of_a_build(build, tmp_path):
    """One execution: figures show once, glue stores, the explorer carries both representations."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("myst_nb")
    cells = [
        "import torch\nfrom lemmse import plots\nplots.use_style()\nx = torch.rand(2, 1, 8, 8)",
        "plots.show_images(x, psnr_to=x)",
        "plots.glue('answer', 42.0)",
        "plots.explore(lambda sigma: x[:1] * sigma, title='t', sigma=[0.1, 1.0])",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    setup, figure, glued, explored = (cell.outputs for cell in book.cells)
    assert setup == []
    assert [list(output.data) for output in figure] == [["text/plain", "image/png"]]
    (record,) = glued
    assert record.data == {"application/papermill.record/text/plain": "'42.00'"}
    (output,) = explored
    assert {"text/html", "application/vnd.jupyter.widget-view+json"} <= set(output.data)
