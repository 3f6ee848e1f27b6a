"""The explorer of pixels: the live control, and the page without a kernel."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from lemmse import LEMMSE, operators, plots
from lemmse.plots import pixels

SIZE, K = (6, 7), 4


@pytest.fixture(autouse=True)
def _live(monkeypatch):
    monkeypatch.delenv("LEMMSE_BUILD", raising=False)


@pytest.fixture
def build(monkeypatch):
    monkeypatch.setenv("LEMMSE_BUILD", "1")


def images(count=5, channels=1):
    return torch.rand(count, channels, *SIZE, generator=torch.Generator().manual_seed(0))


class Counting(LEMMSE):
    """Counts for which pixels voters were searched."""

    asked = ()

    def voters(self, y, sigma, pixels=None, k=10):
        self.asked = [*self.asked, pixels]
        return super().voters(y, sigma, pixels, k)


def explorer(channels=1, **changed):
    x = images(channels=channels)
    arguments = {
        "estimator": Counting(x, patch_size=3),
        "y": x[:2] + 0.1,
        "sigma": torch.tensor([0.1, 0.3]),
        "truth": x[:2],
        "names": ["one", "<two>"],
        "k": K,
        "start": (2, 5),
    } | changed
    return plots.explore_pixels(**arguments)


def data_of(html):
    """The data that the page's script reads."""
    return json.loads(re.search(r"data = (\{.*\});\n", html).group(1))


def decoded(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def picture(html, name):
    source = re.search(rf'class="{name}"[^>]*src="data:image/webp;base64,([^"]*)"', html).group(1)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))


def test_live_kernel_searches_voters_on_demand_and_once():
    made = explorer()
    estimator = made._estimator
    assert estimator.asked == [[(2, 5)]]
    assert [made.sliders[name].value for name in ("image", "row", "column")] == ["one", 2, 5]
    first = made.picture.value
    made.sliders["column"].value = 0
    made.sliders["image"].value = "<two>"
    assert estimator.asked == [[(2, 5)], [(2, 0)], [(2, 0)]]
    assert made.picture.value != first
    made.sliders["image"].value = "one"
    made.sliders["column"].value = 5
    assert made.picture.value == first
    assert len(estimator.asked) == 3


def test_live_kernel_shows_the_page_that_takes_clicks(monkeypatch):
    made = explorer()
    assert set(made._repr_mimebundle_()) == {"text/plain", "text/html"}
    monkeypatch.setattr(pixels, "MOST_BYTES", 1000)
    assert set(made._repr_mimebundle_()) == {
        "text/plain",
        "application/vnd.jupyter.widget-view+json",
    }


def test_busy_while_voters_are_searched():
    seen = []

    class Watched(Counting):
        def voters(self, *arguments):
            seen.append(made.status.value if made else None)
            return super().voters(*arguments)

    made = None
    made = explorer(estimator=Watched(images(), patch_size=3))
    made.sliders["row"].value = 0
    assert seen[0] is None
    assert "computing" in seen[1]
    assert made.status.value == ""


def test_one_image_needs_no_name_and_starts_in_the_middle():
    x = images()
    made = plots.explore_pixels(LEMMSE(x, patch_size=3), x[:1], 0.1, k=2)
    assert {name: slider.value for name, slider in made.sliders.items()} == {"row": 3, "column": 3}


@pytest.mark.parametrize("channels", [1, 3])
def test_the_page_holds_the_voters_of_every_pixel(build, channels):
    made = explorer(channels)
    html = made._repr_mimebundle_()["text/html"]
    data = data_of(html)
    x = images(channels=channels)
    estimate = LEMMSE(x, patch_size=3)
    found = estimate.voters(x[:2] + 0.1, torch.tensor([0.1, 0.3]), k=K)
    atlas = picture(html, "atlas") / 255
    for i, case in enumerate(data["cases"]):
        weight = decoded(case["weight"], "<u2").reshape(-1, K) / data["full"]
        assert abs(weight - found.weight[i].numpy()).max() < 1e-4
        place = decoded(case["source"], "<u4").reshape(-1, K)
        image = np.array(data["images"])[place // (SIZE[0] * SIZE[1])]
        row, column = place // SIZE[1] % SIZE[0], place % SIZE[1]
        assert np.array_equal(np.stack([image, row, column], -1), found.source[i].numpy())
    # The atlas has the training pixel where the script looks for it.
    across, down = place // 42 % data["columns"], place // 42 // data["columns"]
    shown = atlas[down * SIZE[0] + row, across * SIZE[1] + column]
    truth = x[image, :, row, column].numpy()
    assert abs(shown - truth).max() < 0.01


def test_the_page_holds_what_the_posterior_says(build):
    made = explorer()
    case = data_of(made.html())["cases"][1]
    y = images()[1:2] + 0.1
    posterior = LEMMSE(images(), patch_size=3).posterior(y, 0.3)
    for name, wanted in (
        ("measurement", y),
        ("truth", images()[1:2]),
        ("estimate", posterior.mean),
        ("deviation", posterior.variance.sqrt()),
    ):
        assert abs(np.array(case[name]) - wanted.flatten().numpy()).max() < 1e-3
    effective = posterior.effective_samples.flatten().numpy()
    assert np.allclose(case["effective"], effective, rtol=1e-2)


def test_the_measurement_is_what_the_estimator_sees(build):
    blur = operators.Blur.gaussian(1.0, SIZE)
    estimate = LEMMSE(images(), blur, "tikhonov", patch_size=3)
    y = blur.A(images()[:1])
    made = explorer(estimator=estimate, y=y, sigma=0.1, truth=None, names=None)
    case = data_of(made.html())["cases"][0]
    seen = estimate.preinverse.apply(y.double()).flatten().numpy()
    assert abs(np.array(case["measurement"]) - seen).max() < 1e-3
    assert "truth" not in case


def test_the_page_needs_no_network_and_no_names_break_it(build):
    html = explorer(title="</script><b>").html()
    without = re.sub(r'src="data:[^"]*"|"(weight|source)":"[^"]*"', "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without)
    assert html.count("</script>") == 1
    assert "<two>" not in html
    assert "</script><b>" not in html


def test_the_page_can_be_used_without_a_mouse_or_eyes(build):
    html = explorer(alt="a face").html()
    screen = re.search(r'<canvas class="screen"[^>]*>', html).group(0)
    assert 'tabindex="0"' in screen
    assert 'aria-label="a face. Arrow keys move the pixel."' in screen
    readout = re.search(r'aria-describedby="([^"]*)"', screen).group(1)
    assert f'id="{readout}" role="status"' in html
    for key in ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"):
        assert key in html
    for name in ("image", "plane"):
        identifier = re.search(rf'<select class="{name}" id="([^"]*)"', html).group(1)
        assert f'<label for="{identifier}">' in html
    assert re.search(r"<noscript><img [^>]*alt=\"a face\"", html)


def test_two_explorers_share_no_id(build):
    identifiers = re.findall(r' id="([^"]*)"', explorer().html() + explorer().html())
    assert len(set(identifiers)) == len(identifiers) == 8


def test_a_page_that_is_too_large_is_refused(build, monkeypatch):
    monkeypatch.setattr(pixels, "MOST_BYTES", 5000)
    with pytest.raises(ValueError, match="at most 5000 bytes, got"):
        explorer().html()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"estimator": images()}, "such as LEMMSE, got Tensor"),
        ({"truth": images(3)}, r"truth: expected shape \(2, 1, 6, 7\), got \(3, 1, 6, 7\)"),
        ({"sigma": torch.ones(3)}, "sigma: expected a number or 2"),
        ({"names": None}, "names: expected 2"),
        ({"names": ["a", "a"]}, "names: expected 2 different"),
        ({"start": (6, 0)}, r"start: expected a pixel inside 6 x 7, got \(6, 0\)"),
        ({"k": 6}, "k to be an integer from 1 to 5"),
        ({"y": images(2)[:, :, :4], "truth": None}, r"expected y to be .* shape \(B, 1, 6, 7\)"),
    ],
)
def test_explore_pixels_rejects(changed, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changed)
