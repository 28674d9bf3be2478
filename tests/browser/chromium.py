"""Debian's Chromium, looked through by a person: clicks, what is on the page, what the console says, what axe finds."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.services import NODE_DIRECTORY

_WAIT_SECONDS = 10.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


@contextmanager
def chromium(profile: Path) -> Iterator["Browser"]:
    """A browser with a profile of its own, closed at the end."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """One tab of it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self.site = ""

    def look(self, *, width: int, is_dark: bool = False) -> None:
        """Make the window so wide, and prefer dark or light."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def visit(self, path: str) -> None:
        """Open a page of the site."""
        self.driver.get(self.site + path)

    def become(self, cookie: str) -> None:
        """Be whoever has this session."""
        self.visit("/static/reliable_email/mail.svg")
        self.driver.delete_all_cookies()
        self.driver.add_cookie({"name": "sessionid", "value": cookie, "path": "/"})
        self.driver.get_log("browser")

    @property
    def path(self) -> str:
        """Where it is."""
        return self.driver.current_url.removeprefix(self.site)

    @property
    def text(self) -> str:
        """What is to be read on the page."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, selector: str) -> WebElement:
        """The first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        """All of them."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def button(self, words: str, *, within: str = "main") -> WebElement:
        """The button or link whose name begins with these words."""
        found = [one for one in self.find_all(f"{within} button, {within} a") if one.text.strip().startswith(words)]
        assert found, f"no button {words!r} on {self.path}: {[one.text for one in self.find_all('main button')]}"
        return found[0]

    def press(self, words: str, *, within: str = "main") -> None:
        """Click it, and wait for the page that follows."""
        self.click(self.button(words, within=within))

    def click(self, element: WebElement) -> None:
        """Click what leads to another page, and wait for that."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); window.isLeft = true;", element)
        element.click()
        # While one page gives way to another, the driver may find neither.
        wait = WebDriverWait(self.driver, _WAIT_SECONDS, poll_frequency=0.05, ignored_exceptions=[WebDriverException])
        wait.until(lambda driver: driver.execute_script("return !window.isLeft && document.readyState === 'complete'"))

    def wait_for(self, words: str) -> None:
        """Until the page says so."""
        self.until(lambda: words in self.text)

    def until(self, holds: Callable[[], object]) -> None:
        """Until something is so."""
        WebDriverWait(self.driver, _WAIT_SECONDS).until(lambda driver: holds())

    def choose(self, selector: str, value: str) -> None:
        """An option of a list."""
        Select(self.find(selector)).select_by_value(value)

    def complaints(self) -> list[str]:
        """What the console said since it was asked last: errors, and whatever the policy has stopped."""
        entries = self.driver.get_log("browser")
        # The browser asks for the icon of what `become` opened, which is no page, whenever it likes.
        return [
            one["message"]
            for one in entries
            if one["level"] in ("SEVERE", "WARNING") and "/favicon.ico" not in one["message"]
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.driver.execute_script(script))

    def findings(self) -> list[str]:
        """Whatever axe-core finds, one line each."""
        if not self.driver.execute_script("return typeof axe === 'object'"):
            self.driver.execute_script(_axe())
        found: list[dict[str, Any]] = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "const fail = (error) => done([{id: String(error), impact: 'critical', nodes: []}]);"
            "axe.run(document, {resultTypes: ['violations'], iframes: false})"
            ".then((result) => done(result.violations), fail);"
        )
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
            for one in found
            for node in (one["nodes"] or [{"html": ""}])
        ]

    def keep_picture(self, file: Path) -> None:
        """The whole page as a PNG."""
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        width = self.driver.execute_script("return window.innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 4000), "scale": 1}
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        file.write_bytes(base64.b64decode(taken["data"]))


@cache
def _axe() -> str:
    return (NODE_DIRECTORY / "node_modules" / "axe-core" / "axe.min.js").read_text()
