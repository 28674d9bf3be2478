"""Takes the pictures of docs/screenshots: starts the live demo, waits for data, and looks at each page in Chromium.

Which pages there are is asked of the demo's own URLs, so that a page that is added has its picture next time.
"""

import argparse
import base64
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = {1280: 900, 390: 844}
MOST_BYTES = 150_000
_TALLEST = 2400
_COLOURS = 128
_SHORTER = 0.85
_START_SECONDS = 60.0
# A picture of one message shows most where its story is the longest.
_INTERESTING = ("unknown", "parked", "rejected")
# Asks to hold everything, which leads to the page that asks why.
_ASK = """
    document.querySelector('#act').value = 'hold';
    [...document.querySelectorAll('main button')].find((one) => one.textContent.includes('whole outbox')).click();
"""


def main() -> int:
    """Take all of them; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=130.0, help="let the demo run so long first (130)")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "screenshots", help="the folder")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with _live() as (site, username, password), _chromium() as browser:
        print(f"{site}: waiting {options.seconds:g} s for data")
        time.sleep(options.seconds)
        _log_in(browser, site, username, password)
        pages = _pages(browser, site)
        for name, path in pages.items():
            for width in WIDTHS:
                _take(browser, site + path, options.to / f"{name}-{width}.png", width=width)
        for name in [one for one in ("home", "overview") if one in pages]:
            _take(browser, site + pages[name], options.to / f"{name}-1280-dark.png", width=1280, is_dark=True)
    return 0


@contextlib.contextmanager
def _live() -> Iterator[tuple[str, str, str]]:
    """The demo: its address, its login."""
    with tempfile.NamedTemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.live", "--port", "0"], cwd=ROOT, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            until = time.monotonic() + _START_SECONDS
            while "Ctrl-C ends it." not in (text := Path(said.name).read_text()):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"demo-live did not start:\n{text}")
                time.sleep(0.2)
            found = re.search(r"(http://[\d.]+:\d+)/.*login: (\S+)\s+password: (\S+)", text, re.DOTALL)
            assert found is not None
            yield found[1], found[2], found[3]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


@contextlib.contextmanager
def _chromium() -> Iterator[Chrome]:
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        options = ChromeOptions()
        options.binary_location = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={profile}")
        driver = Chrome(options=options, service=Service(os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def _log_in(browser: Chrome, site: str, username: str, password: str) -> None:
    browser.get(f"{site}/admin/login/?next=/admin/")
    browser.find_element(By.NAME, "username").send_keys(username)
    browser.find_element(By.NAME, "password").send_keys(password, "\n")
    WebDriverWait(browser, 20).until(lambda driver: driver.current_url.endswith("/admin/"))


def _pages(browser: Chrome, site: str) -> dict[str, str]:
    """The pages to look at, by the name of the picture."""
    found = {"home": "/", "admin": "/admin/"}
    dashboard = _named_patterns()
    for name, route in dashboard.items():
        if "<" not in route and _is_page(browser, site + "/mail/" + route):
            found[name] = "/mail/" + route
    for name, route in dashboard.items():
        if "<" in route and (path := _example(browser, site, route)):
            found[name] = path
    found["act"] = "/mail/messages/"  # what a button there leads to
    return found


def _named_patterns() -> dict[str, str]:
    """The dashboard's patterns by name; none where it has no pages."""
    import importlib.util

    if importlib.util.find_spec("reliable_email.urls") is None:
        return {}
    from django.conf import settings

    if not settings.configured:
        import django

        settings.configure(
            INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "reliable_email"],
            ROOT_URLCONF="reliable_email.urls",
            SECRET_KEY="of no use: nothing is signed here",
        )
        django.setup()
    from reliable_email.urls import urlpatterns

    return {one.name: str(one.pattern) for one in urlpatterns if getattr(one, "name", None)}


def _is_page(browser: Chrome, address: str) -> bool:
    """Whether a person gets a page there: not an answer to a form's post, not a file, not what belongs in a frame."""
    script = """
    const done = arguments[arguments.length - 1];
    fetch(arguments[0]).then((answer) => done(
      answer.ok && !answer.redirected && (answer.headers.get("Content-Type") || "").startsWith("text/html")
      && !(answer.headers.get("Content-Security-Policy") || "").includes("sandbox")
    ), () => done(false));
    """
    browser.set_script_timeout(20)
    return bool(browser.execute_async_script(script, address))


def _example(browser: Chrome, site: str, route: str) -> str | None:
    """An address that the pattern has among the links of the pages; the one with the longest story, where there is."""
    links: list[list[str]] = []
    for state in ("", *(f"?state={one}" for one in _INTERESTING)):
        browser.get(f"{site}/mail/messages/{state}")
        script = (
            "return [...document.querySelectorAll('main a[href]')].map("
            "(one) => [one.pathname, (one.closest('tr, li, article') || one).textContent])"
        )
        links += browser.execute_script(script)
    # Of what a message's page leads to, such as its content, there is no link in a list.
    wanted = re.compile("/mail/" + re.sub(r"<(?:int:)?\w+>", r"(\\d+)", route) + r"\Z")
    number = re.compile(r"/mail/messages/(\d+)/\Z")
    numbers = [(match[1], text) for path, text in links if (match := number.match(path))]
    numbers.sort(key=lambda one: min((n for n, word in enumerate(_INTERESTING) if word in one[1].lower()), default=9))
    for one, _ in numbers[:1]:
        path = "/mail/" + re.sub(r"<(?:int:)?\w+>", one, route, count=1)
        if "<" not in path and wanted.match(path) and _is_page(browser, site + path):
            return path
    return None


def _take(browser: Chrome, address: str, file: Path, *, width: int, is_dark: bool = False) -> None:
    size: dict[str, Any] = {"width": width, "height": WIDTHS[width], "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(address)
    if file.name.startswith("act-"):
        browser.execute_script(_ASK)
        WebDriverWait(browser, 20).until(lambda driver: driver.find_elements(By.ID, "reason"))
    height = min(browser.execute_script("return document.documentElement.scrollHeight"), _TALLEST)
    # What is below the window, such as the frame of a letter, is not painted before it is in view.
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | {"height": height})
    while len(picture := _picture(browser, width, height)) >= MOST_BYTES:
        # Instead of poorer colours a shorter page: what is below is more of the same.
        height = int(height * _SHORTER)
    file.write_bytes(picture)
    print(f"{file.name}: {width} × {height}, {len(picture):,} bytes")


def _picture(browser: Chrome, width: int, height: int) -> bytes:
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    picture = Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")
    small = io.BytesIO()
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    sys.exit(main())
