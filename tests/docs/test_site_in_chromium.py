"""The web pages, as a reader uses them: search, and a phone."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.browser.chromium import Browser, chromium
from tests.docs.conftest import build_site
from tests.docs.pages import DOCS, pages
from tests.servers.ground import wait_until
from tests.services import require

pytestmark = pytest.mark.timeout(180)

# What is cut at the right edge, and cannot be scrolled into sight.
_CUT = """
return [...document.querySelectorAll(".md-content :is(table, pre, img)")].filter(one => {
  if (one.getBoundingClientRect().right <= innerWidth + 1) return false
  for (let around = one; around !== document.body; around = around.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(around).overflowX)) return false
  return true
}).map(one => one.outerHTML.slice(0, 80))
"""

# The search has a shadow of its own, which has the focus while it is open.
_FIELD = "return document.activeElement.shadowRoot?.querySelector('input') ?? null"
_RESULTS = "return [...document.activeElement.shadowRoot.querySelectorAll('a')].slice(0, 5).map(one => one.href)"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, and the site on loopback."""
    require("chromium")
    pytest.importorskip("zensical")
    folder = tmp_path_factory.mktemp("site")
    build_site(folder)
    served = functools.partial(_Quiet, directory=str(folder / "var" / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with chromium(folder / "profile") as browser:
            browser.site = f"http://127.0.0.1:{server.server_port}"
            yield browser
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("provider down", "how-to/provider-down.html"),
        ("GDPR", "how-to/forget-a-person.html"),
        ("queue", "how-to/move-from-django.html"),
        ("certificate", "how-to/certificate-errors.html"),
        ("password", "troubleshooting.html"),
        ("webmaster@localhost", "reference/checks.html"),
        ("migrate", "versions.html"),
        ("kubernetes", "how-to/run-the-worker.html"),
        ("bounce", "provider-events.html"),
    ],
)
def test_search_finds_the_page_among_the_first_results(reader: Browser, words: str, page: str) -> None:
    """By the word that somebody in trouble types."""
    reader.look(width=1280)
    reader.visit("/index.html")
    reader.driver.find_element(By.CSS_SELECTOR, ".md-search__button").click()

    script = reader.driver.execute_script
    wait_until(lambda: script(_FIELD) is not None, "the field of the search", lambda: reader.driver.page_source)
    script(_FIELD).send_keys(words)

    def found() -> list[str]:
        return [one.removeprefix(f"{reader.site}/").partition("?")[0] for one in script(_RESULTS)]

    wait_until(lambda: page in found(), f"{page} among the results", lambda: str(found()))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_nothing_is_cut_on_a_phone(reader: Browser, page: Path) -> None:
    """At 390 pixels: the page is no wider, and what is wider itself can be scrolled."""
    reader.look(width=390)
    reader.visit(f"/{page.relative_to(DOCS).with_suffix('.html')}")
    assert reader.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    assert reader.driver.execute_script(_CUT) == []
