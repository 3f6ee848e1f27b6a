"""The script of the scenes, in a browser: its numbers are those of the package; hands move it."""

import json
import re
import time
from importlib.resources import files

import pytest
import torch
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import MISSING, browser, programs, serve
from lemmse import LEMMSE, MMSE, operators, plots
from lemmse.estimators import LinearMMSE
from lemmse.networks import PatchMLP, Skip
from lemmse.plots.scenes import network_data

pytestmark = [
    pytest.mark.book,
    pytest.mark.skipif(programs() is None, reason=MISSING),
]

SIZE = 12
EXACT = 1e-11


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6):
    return torch.rand(count, 1, SIZE, SIZE, generator=generator())


def small_network(size):
    torch.manual_seed(size)
    return PatchMLP(1, size, width=6, depth=2, skip=Skip((0.45, 0.5, 0.08, 0.09, 0.07, 0.01, 1.1)))


def pixel_scene(**changed):
    x = images()
    networks = {3: small_network(3), 5: small_network(5)}
    options = {"patch_sizes": (1, 3, 5), "patch_size": 3, "k": 4, "start": (2, 5)} | changed
    return plots.pixel_scene(x, {"one": x[0], "<two>": 1 - x[1]}, networks, **options)


SCENES = {
    "pixels": pixel_scene,
    "full": lambda: pixel_scene(full=True),
    "filter": lambda: plots.filter_scene(operators.Blur.gaussian(1.2, (SIZE, SIZE)), images()),
    "posterior": plots.posterior_scene,
    "plane": lambda: plots.plane_scene(torch.rand(5, 2, generator=generator())),
    "curve": lambda: plots.curve_scene(images()),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page for each scene, and an empty one with all scripts."""
    made = tmp_path_factory.mktemp("scenes")
    head = '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>t</title>'
    head += '<meta name="viewport" content="width=device-width"><main>'
    for name, make in SCENES.items():
        (made / f"{name}.html").write_text(head + make().html() + "</main>", encoding="utf-8")
    kinds = ["common", "pixels", "filter", "posterior", "plane", "curve"]
    source = files("lemmse.plots.scenes")
    for kind in kinds:
        (made / f"{kind}.js").write_text(source.joinpath(f"{kind}.js").read_text("utf-8"), "utf-8")
    scripts = "".join(f'<script src="{kind}.js"></script>' for kind in kinds)
    (made / "scripts.html").write_text(head + scripts, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def address(folder):
    with serve(folder) as found:
        yield found


@pytest.fixture(scope="module")
def driver(address):
    with browser() as found:
        yield found


@pytest.fixture
def compute(driver, address):
    """compute("name", data, ...): what the script answers."""
    driver.get(f"{address}scripts.html")

    def call(name, *arguments):
        script = f"return window.lemmseScenes.compute.{name}(...arguments)"
        return driver.execute_script(script, *(json.loads(json.dumps(a)) for a in arguments))

    return call


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("sigma", [0.03, 0.2, 0.6])
def test_the_script_answers_what_lemmse_answers(driver, compute, size, sigma):
    made = pixel_scene()
    for picture, row, column in [(0, 2, 5), (1, 0, 0), (1, SIZE - 1, 3)]:
        state = {"picture": picture, "row": row, "column": column, "sigma": sigma, "size": size}
        script = """
        const {readPixels, pixel, measured, networkPlane} = window.lemmseScenes.compute;
        const scene = readPixels(arguments[0]), state = arguments[1];
        return [pixel(scene, state), networkPlane(scene, state, measured(scene, state))]
        """
        data = json.loads(json.dumps(made.data))
        found, plane = driver.execute_script(script, data, state)
        wanted = made.answer(state | {"planes": True})
        for name in ("measured", "truth", "estimate"):
            assert abs(found[name] - wanted[name]) < EXACT
        # The package takes the variance as a difference of moments where it is small.
        assert abs(found["deviation"] ** 2 - wanted["deviation"] ** 2) < 1e-9
        assert abs(found["effective"] / wanted["effective"] - 1) < 1e-9
        for mine, theirs in zip(found["voters"], wanted["voters"], strict=True):
            assert abs(mine["weight"] - theirs["weight"]) < EXACT
            if size > 1 and theirs["weight"] > 1e-15:  # many pixels have the same grey level
                assert [mine[k] for k in ("image", "row", "column")] == [
                    theirs[k] for k in ("image", "row", "column")
                ]
        if size == 1:
            assert found["network"] is None
            assert plane is None
        else:
            assert abs(found["network"] - wanted["network"]) < EXACT
            difference = torch.tensor(plane, dtype=torch.float64) - torch.tensor(
                wanted["networks"], dtype=torch.float64
            )
            assert difference.abs().max() < EXACT


def test_the_rounded_network_is_the_network():
    network = small_network(5)
    made = plots.pixel_scene(images(), {"x": images()[0]}, {5: network}, patch_sizes=(5,))
    rounded = made._networks[5]
    y = images()
    assert (rounded(y.double(), 0.2) - network(y, 0.2)).abs().max() < 1e-3
    assert network_data(rounded) == made.data["networks"][5]


def test_the_answer_is_lemmse_with_the_scenes_grey_levels():
    made, x = pixel_scene(), (255 * images()).round().double() / 255
    state = {"picture": 0, "row": 3, "column": 4, "sigma": 0.1, "size": 5, "planes": True}
    answer = made.answer(state)
    noise = made._measured(0, 1.0) - made._measured(0, 0.0)
    assert 0.7 < noise.std() < 1.3
    estimate = LEMMSE(x, patch_size=5, dtype=torch.float64)(x[:1] + 0.1 * noise, 0.1)
    assert (
        torch.tensor(answer["estimates"], dtype=torch.float64) - estimate.flatten()
    ).abs().max() < EXACT
    assert abs(answer["estimate"] - estimate[0, 0, 3, 4].item()) < EXACT


@pytest.mark.parametrize("regularisation", [1e-4, 0.01, 1.0])
@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_the_filter_is_the_tikhonov_inverse(compute, regularisation, sigma):
    x, blur = images().double(), operators.Blur.gaussian(1.2, (SIZE, SIZE))
    data = plots.filter_scene(blur, images()).data
    found = compute("filter", data, {"lambda": regularisation, "sigma": sigma})
    inverse = blur.preinverse("tikhonov", (1, SIZE, SIZE), regularisation)
    centred = x - x.mean()
    lost = (inverse.apply(blur.A(centred)) - centred).square().mean().item()
    noise = sigma**2 * inverse.noise.spectrum.mean().item()
    assert abs(found["meanLost"] / lost - 1) < 1e-4  # the power is written with six digits
    assert abs(found["meanNoise"] / noise - 1) < 1e-9


def test_the_best_lambda_is_the_best(compute):
    data = plots.filter_scene(operators.Blur.gaussian(1.2, (SIZE, SIZE)), images()).data
    best = compute("bestLambda", data, 0.1)

    def error(regularisation):
        found = compute("filter", data, {"lambda": regularisation, "sigma": 0.1})
        return found["meanLost"] + found["meanNoise"]

    assert error(best) < min(error(best * 1.05), error(best / 1.05))


@pytest.mark.parametrize(("y", "sigma"), [(0.2, 0.6), (-1.4, 0.2), (2.0, 1.5)])
def test_the_posterior_has_the_answers_in_closed_form(compute, y, sigma):
    found = compute("bayes", {}, {"prior": "Gaussian", "y": y, "sigma": sigma})
    # A number with variance 0.49 and mean 0, as an image of one pixel.
    sample = torch.tensor([-0.7, 0.7]).double().view(2, 1, 1, 1)
    linear = LinearMMSE(sample)
    mean = linear(torch.full((1, 1, 1, 1), y, dtype=torch.float64), sigma).item()
    assert abs(found["MMSE"] - mean) < 1e-6
    assert max(abs(found[name] - mean) for name in ("MAP", "median")) < 0.006  # the grid's step

    found = compute("bayes", {}, {"prior": "two modes", "y": y, "sigma": sigma})
    centres, variance = torch.tensor([-1.0, 1.0]).double(), 0.25**2 + sigma**2
    weights = torch.softmax(-((y - centres) ** 2) / (2 * variance), 0)
    mean = (weights * (centres + 0.25**2 / variance * (y - centres))).sum().item()
    assert abs(found["MMSE"] - mean) < 1e-6

    found = compute("bayes", {}, {"prior": "sparse", "y": y, "sigma": sigma})
    soft = max(abs(y) - sigma**2 / 0.5, 0) * (1 if y > 0 else -1)
    assert abs(found["MAP"] - soft) < 0.006


@pytest.mark.parametrize("sigma", [0.02, 0.3])
def test_the_plane_is_the_mmse_estimator(compute, sigma):
    points, y = torch.rand(5, 2, generator=generator()).double(), [0.3, 0.8]
    found = compute("plane", {"points": points.tolist()}, {"y": y, "sigma": sigma})
    estimator = MMSE(points.view(5, 1, 1, 2), dtype=torch.float64)
    wanted = estimator(torch.tensor(y, dtype=torch.float64).view(1, 1, 1, 2), sigma)
    assert (
        torch.tensor(found["estimate"], dtype=torch.float64) - wanted.flatten()
    ).abs().max() < EXACT
    assert abs(sum(found["weights"]) - 1) < EXACT


@pytest.mark.parametrize("sigma", [0.02, 0.3])
def test_the_curve_is_lemmse_with_patches_of_one_pixel(compute, sigma):
    data = plots.curve_scene(images()).data
    estimator = LEMMSE((255 * images()).round().double() / 255, patch_size=1, dtype=torch.float64)
    for v in (-0.4, 0.31, 1.2):
        found = compute("curve", data, {"v": v, "sigma": sigma})
        y = torch.full((1, 1, SIZE, SIZE), v, dtype=torch.float64)
        posterior = estimator.posterior(y, sigma)
        assert abs(found["estimate"] - posterior.mean[0, 0, 0, 0].item()) < EXACT
        assert abs(found["deviation"] ** 2 - posterior.variance[0, 0, 0, 0].item()) < 1e-9


def shown(driver):
    return driver.find_element(By.CSS_SELECTOR, ".lemmse-scene .readout").text


def said(driver):
    script = "return document.querySelector('.lemmse-scene .said').textContent"
    return driver.execute_script(script)


def waits(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def errors(driver):
    return [e["message"] for e in driver.get_log("browser") if "favicon" not in e["message"]]


@pytest.mark.parametrize("name", list(SCENES))
def test_every_control_moves_the_scene_and_the_screen_reader_hears(driver, address, name):
    errors(driver)
    driver.get(f"{address}{name}.html")
    waits(lambda: said(driver) and said(driver) == shown(driver))
    for control in driver.find_elements(By.CSS_SELECTOR, ".lemmse-scene input"):
        before = shown(driver)
        identifier = control.get_attribute("id")
        if control.get_attribute("type") == "range":
            assert driver.find_element(By.CSS_SELECTOR, f"label[for={identifier}]").text
            control.send_keys(Keys.ARROW_RIGHT * 3)
        elif control.get_attribute("checked"):
            continue
        else:
            driver.execute_script("arguments[0].click()", control)
        assert shown(driver) != before
    assert errors(driver) == []


@pytest.mark.parametrize("name", ["pixels", "posterior", "plane", "curve"])
def test_a_pointer_and_the_arrow_keys_move_it(driver, address, name):
    driver.get(f"{address}{name}.html")
    area = driver.find_element(By.CSS_SELECTOR, ".lemmse-scene [tabindex='0']")
    assert area.get_attribute("role") == "application"
    assert "Arrow keys" in area.get_attribute("aria-label")
    before = shown(driver)
    area.send_keys(Keys.ARROW_RIGHT)
    assert shown(driver) != before
    before = shown(driver)
    drag = """
    const area = arguments[0], box = area.getBoundingClientRect();
    const send = (kind, x, y) => area.dispatchEvent(new PointerEvent(kind, {bubbles: true,
      pointerId: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
    area.setPointerCapture = () => { area.hasPointerCapture = () => true; };
    send("pointerdown", 0.5, 0.5);
    const between = document.querySelector(".readout").textContent;
    send("pointermove", 0.7, 0.3);
    return between;
    """
    between = driver.execute_script(drag, area)
    assert before != between != shown(driver)


def test_the_whole_picture_is_computed_in_the_background(driver, address):
    driver.get(f"{address}pixels.html")

    def notes():
        return [e.text for e in driver.find_elements(By.CSS_SELECTOR, ".views span")]

    waits(lambda: "dB" in notes()[1])
    made = pixel_scene()
    answer = made.answer(made.data["start"] | {"planes": True})
    estimate = torch.tensor(answer["estimates"], dtype=torch.float64)
    error = (estimate - made._truths[0].flatten()).square().mean()
    assert notes()[1] == f"{-10 * error.log10():.1f} dB"
    assert re.fullmatch(r"-?\d+\.\d dB; to the formula -?\d+\.\d dB", notes()[2])


@pytest.mark.parametrize("name", list(SCENES))
def test_it_fits_on_a_phone(address, name):
    with browser(375, 812) as phone:
        phone.get(f"{address}{name}.html")
        widths = "return [document.documentElement.scrollWidth, innerWidth]"
        width, limit = phone.execute_script(widths)
        assert width <= limit == 375


def test_a_full_scene_says_where_the_voters_come_from(driver, address):
    driver.get(f"{address}full.html")
    assert len(driver.find_elements(By.CSS_SELECTOR, ".lemmse-scene li")) == 4
    assert len(driver.find_elements(By.CSS_SELECTOR, ".lemmse-scene li canvas")) == 8
    assert len(driver.find_elements(By.CSS_SELECTOR, ".lemmse-scene .views canvas")) == 4
