"""A headless Chromium, and a local server for the pages: for `make pdf` and the browser tests."""

import functools
import os
import shutil
import tempfile
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from selenium import webdriver

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = (
    "Chromium and its driver were not found: install them (Debian and Ubuntu: "
    "`apt-get install chromium chromium-driver`), or name them in the environment variables "
    "CHROMIUM and CHROMEDRIVER"
)
# It may run as root in a container, and it asks nobody outside for anything.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_SECONDS = 300
PHONE_BELOW = 600  # pixels: a narrower window behaves as a phone (viewport, scroll bars)


def programs():
    """The paths of Chromium and of its driver, or None where one is missing."""
    named = os.environ.get("CHROMIUM")
    browser = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def browser(width=1280, height=900, dark=False):
    """A Selenium driver of a Chromium with an empty profile and a page of this size.

    Raises:
        RuntimeError: Chromium or its driver is missing.
    """
    found = programs()
    if found is None:
        raise RuntimeError(MISSING)
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options, webdriver.ChromeService(found[1]))
        try:
            driver.command_executor.client_config.timeout = WAIT_SECONDS + 60
            driver.set_script_timeout(WAIT_SECONDS)
            driver.set_page_load_timeout(WAIT_SECONDS)
            size = {"width": width, "height": height, "deviceScaleFactor": 1}
            size["mobile"] = width < PHONE_BELOW
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            yield driver
        finally:
            driver.quit()


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder below a prefix of the path; any other path is not found."""

    def __init__(self, *arguments, prefix, **options):
        """See `serve`."""
        self.prefix = prefix
        super().__init__(*arguments, **options)

    def translate_path(self, path):
        """The file of a path, outside the prefix one that does not exist."""
        plain = unquote(urlsplit(path).path)
        inside = plain.startswith(self.prefix)
        return super().translate_path("/" + plain[len(self.prefix) :] if inside else "/\x7f/none")

    def log_message(self, *_):
        """Stay silent."""


@contextmanager
def serve(folder, prefix="/"):
    """Serve a folder on this machine below a path like "/sub/path/"; its address."""
    handler = functools.partial(Handler, directory=str(folder), prefix=prefix)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
