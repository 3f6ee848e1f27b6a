"""The scenes: their HTML, and what they reject. Their script: tests/book/test_scene_script.py."""

import json
import re

import pytest
import torch

from lemmse import operators, plots
from lemmse.networks import PatchMLP, ResNet
from lemmse.plots.scenes import network_data, network_of, shipped_networks


@pytest.fixture(autouse=True)
def _live(monkeypatch):
    monkeypatch.delenv("LEMMSE_BUILD", raising=False)


def images(count=4, channels=1, side=8):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def scene(**changed):
    x = images()
    arguments = {
        "images": x,
        "pictures": {"</script><b>": x[0]},
        "patch_sizes": (3, 5),
        "k": 4,
    } | changed
    return plots.pixel_scene(**arguments)


def made():
    blur = operators.Blur.gaussian(1.0, (8, 8))
    return [
        scene(title="</script><i>", alt='a "face"'),
        plots.filter_scene(blur, images()),
        plots.posterior_scene(),
        plots.plane_scene(images().view(-1, 2)[:5]),
        plots.curve_scene(images()),
    ]


def test_the_html_needs_no_network_and_no_name_breaks_it():
    for one in made():
        html = one.html()
        without = re.sub(r'src="data:[^"]*"', "", html)
        assert not re.search(r"https?:|//[a-z]|@import|url\(", without)
        assert html.count("</script>") == 3
        assert "</script><b>" not in html
        assert "</script><i>" not in html
        assert re.search(r'<noscript><img [^>]*alt="[^"]{6,}" src="data:image/webp', html)


def test_the_data_of_a_scene_are_json():
    for one in made():
        assert json.loads(json.dumps(one.data))["kind"] == one.data["kind"]


def test_two_scenes_share_no_id():
    html = "".join(one.html() for one in made())
    identifiers = re.findall(r' id="([^"]*)"', html)
    assert len(set(identifiers)) == len(identifiers) == 5


def test_a_live_kernel_answers_through_two_widgets(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda item, raw=False: shown.append(item))
    one = scene()
    one._ipython_display_()
    bundle, box = shown
    name = re.search(r'"engine":"([\w-]+)"', bundle["text/html"]).group(1)
    question, reply = box.children
    assert f"{name}-question" in question._dom_classes
    assert f"{name}-reply" in reply._dom_classes
    state = one.data["start"]
    question.value = json.dumps(state | {"count": 7, "planes": True})
    answer = json.loads(reply.value)
    assert answer["count"] == 7
    assert len(answer["estimates"]) == 64
    assert {k: answer[k] for k in one.answer(state)} == one.answer(state)


def test_the_books_build_shows_the_page_alone(monkeypatch):
    monkeypatch.setenv("LEMMSE_BUILD", "1")
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda item, raw=False: shown.append(item))
    scene()._ipython_display_()
    (bundle,) = shown
    assert set(bundle) == {"text/plain", "text/html"}
    assert '"engine"' not in bundle["text/html"]


def test_a_scene_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("lemmse.plots.scenes.pixels.MOST_BYTES", 5000)
    with pytest.raises(ValueError, match="at most 5000 bytes, got"):
        scene().html()


@pytest.mark.parametrize("n", [24, 100])
def test_the_shipped_networks_are_small_and_near_the_formula(n):
    core = plots.core_scene(n)
    assert sum(p.numel() for p in shipped_networks(n)[5].parameters()) < 5000
    # A large patch is remembered by the formula, and not by so few weights.
    for size, least in ((3, 30), (5, 25), (7, 23)):
        state = core.data["start"] | {"size": size, "planes": True}
        answer = core.answer(state)
        gap = torch.tensor(answer["estimates"]) - torch.tensor(answer["networks"])
        assert -10 * gap.square().mean().log10() > least


def test_the_core_scene_costs_less_than_100_kilobytes():
    without = re.sub(r"<noscript>.*?</noscript>", "", plots.core_scene().html(), flags=re.DOTALL)
    assert len(without) <= 100 * 1024  # the picture for paper comes with the paper


def test_a_network_comes_back_from_its_numbers():
    data = network_data(PatchMLP(1, 3, width=4, depth=2))
    assert network_data(network_of(data)) == data


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": images(channels=3)}, r"images: expected shape \(N, 1, H, W\), got \(4, 3"),
        ({"pictures": {}}, "at least one"),
        ({"pictures": {"a": images(side=9)[0]}}, r"a: expected shape \(1, 8, 8\)"),
        ({"patch_size": 7}, r"patch_size: expected one of \(3, 5\), got 7"),
        ({"networks": {3: PatchMLP(1, 5)}}, "networks: expected patch sizes"),
        ({"networks": {3: ResNet(1, 3)}}, "PatchMLP for grey images.* got ResNet"),
        ({"sigma": 2.0}, "sigma: expected a number in"),
        ({"start": (8, 0)}, r"start: expected a pixel inside \(8, 8\), got \(8, 0\)"),
    ],
)
def test_a_scene_of_pixels_rejects(changed, message):
    with pytest.raises(ValueError, match=message):
        scene(**changed)


def test_the_small_scenes_reject():
    blur = operators.Blur.gaussian(1.0, (8, 8))
    with pytest.raises(ValueError, match=r"images: expected shape \(N, 1, 8, 8\)"):
        plots.filter_scene(blur, images(side=9))
    shifted = operators.Blur(torch.tensor([[0.0, 0.0, 1.0]]), (8, 8))
    with pytest.raises(ValueError, match="real and even"):
        plots.filter_scene(shifted, images())
    with pytest.raises(ValueError, match="prior: expected one of two modes"):
        plots.posterior_scene("flat")
    with pytest.raises(ValueError, match=r"points: expected shape \(N, 2\), got \(3,\)"):
        plots.plane_scene(torch.zeros(3))
    with pytest.raises(ValueError, match="expected one of 24, 100 training images, got 50"):
        plots.core_scene(50)
