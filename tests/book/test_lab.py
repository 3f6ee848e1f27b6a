"""Jupyter Lab as `make lab` opens it, in a headless Chromium: what a student does in an hour."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from urllib.request import urlopen

import nbformat
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser import MISSING, browser, programs
from lab_copies import lab_files
from open_lab import command
from sync_notebooks import ROOT, notebook_paths
from write_files import write_unchanged

pytestmark = [pytest.mark.book, pytest.mark.skipif(programs() is None, reason=MISSING)]

SLIDERS = "1-inverse-problems/01-forward-operators.ipynb"
PIXELS = "2-theory/10-reading.ipynb"
SECONDS = 480
ANSWER = """\
def blur_adjoint(y, h):
    b = torch.fft.fft2(h)
    return torch.fft.ifft2(b.conj() * torch.fft.fft2(y)).real


exercises.check("1.1", blur_adjoint)"""
# In the page: the notebook that is open, and the cell that checks an exercise.
NOTEBOOK = "const panel = jupyterapp.shell.currentWidget, notebook = panel.content;"
CELL = (
    NOTEBOOK + "const cell = notebook.widgets.find(w => w.model.type === 'code' && "
    'w.model.sharedModel.getSource().includes(`exercises.check("1.1"`));'
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """(address, folder) of a running Jupyter Lab over fresh copies."""
    folder = tmp_path_factory.mktemp("lab")
    files, _ = lab_files("student", notebook_paths())
    write_unchanged(files, folder)
    settings = tmp_path_factory.mktemp("settings")
    tracker = settings / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    # All cells stay in the document, where the test looks for them.
    tracker.write_text(json.dumps({"windowingMode": "none"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--no-browser"]
    options += ["--IdentityProvider.token=student", "--LabApp.expose_app_in_browser=True"]
    environ = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(settings / "config"),
    }
    environ.pop("LEMMSE_BUILD", None)
    address = f"http://127.0.0.1:{port}"
    with (folder.parent / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command(folder, *options), env=environ, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            until(lambda: answers(f"{address}/api?token=student"), "Jupyter Lab answers")
            yield address, folder
        finally:
            server.terminate()
            server.wait(30)


def answers(url):
    with contextlib.suppress(OSError), urlopen(url, timeout=5):
        return True
    return False


def until(condition, what):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"waited {SECONDS} s in vain until {what}")


@contextlib.contextmanager
def opened(lab, name, last=None):
    """The driver of a window with a notebook that was run, all of it or to the cell with `last`."""
    with browser(width=1400, height=1000) as driver:
        driver.get(f"{lab[0]}/doc/tree/{name}?token=student")
        ready = "return !!window.jupyterapp && !!jupyterapp.shell.currentWidget?.content?.model"
        until(lambda: driver.execute_script(ready), "the notebook is open")
        attempt(
            driver,
            NOTEBOOK + "return Promise.all([panel.context.ready, panel.sessionContext.ready])",
        )
        if last:
            found = "w => w.model.sharedModel.getSource().includes(arguments[0])"
            place = f"notebook.widgets.findIndex({found}) + 1"
            driver.execute_script(f"{NOTEBOOK} notebook.activeCellIndex = {place}", last)
        run(driver, "notebook:run-all-above" if last else "notebook:run-all-cells")
        yield driver


def run(driver, name):
    """Run a command of Jupyter Lab to its end."""
    attempt(driver, f"return jupyterapp.commands.execute({name!r})")


def attempt(driver, script):
    """Wait until what a script promises has come; the driver itself would not wait that long."""
    driver.execute_script(
        "window.attempt = 'waiting'; (() => {" + script + "})()"
        ".then(() => { window.attempt = 'done'; }, error => { window.attempt = String(error); });"
    )
    come = "return window.attempt !== 'waiting' && window.attempt"
    assert until(lambda: driver.execute_script(come), script) == "done"


def saved(driver, lab, name):
    """The notebook as Jupyter Lab saves it."""
    run(driver, "docmanager:save")
    return nbformat.read(lab[1] / name, as_version=4)


def outputs(notebook):
    return [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]


def test_nobody_is_asked_about_news(lab):
    name = "@jupyterlab/apputils-extension:notification"
    with urlopen(f"{lab[0]}/lab/api/settings/{name}?token=student", timeout=60) as answer:
        properties = json.load(answer)["schema"]["properties"]
    assert properties["fetchNews"]["default"] == "false"
    assert properties["checkForUpdates"]["default"] is False


def test_run_all_then_every_slider_then_an_exercise_wrong_and_right(lab):
    with opened(lab, SLIDERS) as driver:
        assert not [o for o in outputs(saved(driver, lab, SLIDERS)) if o.output_type == "error"]
        text = driver.execute_script("return document.body.textContent")
        assert "Exercise 1.1" in text
        assert "{glue" not in text
        assert "{numref" not in text
        move_every_slider(driver)
        answer_the_exercise(driver)


def move_every_slider(driver):
    """By keyboard, one step each: another picture, with another alternative text."""
    handles = driver.find_elements(By.CSS_SELECTOR, ".widget-slider .noUi-handle")
    assert len(handles) == 2
    for handle in handles:
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", handle)
        before = picture(driver)
        handle.send_keys(Keys.ARROW_RIGHT)
        until(lambda before=before: picture(driver) != before, "the slider shows another picture")
        alt, source = picture(driver)
        assert alt != before[0]
        assert source.startswith("data:image/png")


def picture(driver):
    """The alternative text and the beginning of the data of the explorer's picture."""
    return driver.execute_script(
        "const shown = document.querySelector('.widget-vbox .widget-html-content img');"
        "return [shown.alt, shown.src.slice(0, 5000)];"
    )


def answer_the_exercise(driver):
    for source, sign in [
        (None, "…"),
        (ANSWER.replace("b.conj()", "b"), "✗"),
        (ANSWER, "✓"),
    ]:
        if source:
            driver.execute_script(
                CELL + "notebook.activeCellIndex = notebook.widgets.indexOf(cell);"
                "cell.model.sharedModel.setSource(arguments[0]);",
                source,
            )
            run(driver, "notebook:run-cell")
        shown = driver.execute_script(CELL + "return cell.outputArea.node.textContent")
        assert f"{sign} Exercise 1.1" in shown


def test_a_click_on_a_pixel_is_answered_by_the_kernel(lab):
    with opened(lab, PIXELS, last="plots.core_scene(") as driver:
        screen = driver.find_element(By.CSS_SELECTOR, ".lemmse-scene canvas.screen")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", screen)
        until(lambda: "in the notebook's kernel" in text_of(driver, ".note"), "the kernel answers")
        assert pixel(driver) == (9, 8)
        screen.click()  # in the middle, where four pixels meet
        until(lambda: pixel(driver) != (9, 8), "the click is answered")
        row, column = pixel(driver)
        assert row in (15, 16)
        assert column in (15, 16)
        screen.send_keys(Keys.ARROW_DOWN)
        until(lambda: pixel(driver) == (row + 1, column), "the arrow key is answered")
        sigma, _ = driver.find_elements(By.CSS_SELECTOR, ".lemmse-scene input[type=range]")
        before = text_of(driver, ".readout")
        sigma.send_keys(Keys.ARROW_RIGHT)
        until(lambda: text_of(driver, ".readout") != before, "the slider is answered")
        assert "in the notebook's kernel" in text_of(driver, ".note")


def text_of(driver, selector):
    """The text of a part of the scene."""
    script = "return document.querySelector(`.lemmse-scene ${arguments[0]}`)?.textContent ?? ''"
    return driver.execute_script(script, selector)


def pixel(driver):
    """The row and the column that the scene speaks of."""
    found = re.match(r"Row (\d+), column (\d+): ", text_of(driver, ".readout"))
    return int(found[1]), int(found[2])
