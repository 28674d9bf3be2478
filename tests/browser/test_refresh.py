"""Pages that refresh themselves: what they show, and when they stop.

The page's timers are taken over, so that a test says when time has passed and need not wait for it.
"""

from collections.abc import Iterator

import pytest
from selenium.webdriver.support.ui import WebDriverWait

from reliable_email.backends.failover import make_route
from reliable_email.models import OutboxRecipient
from reliable_email.store.memory.route_state import database_store
from tests.browser.chromium import Browser
from tests.views.letters import queue

_TIMERS = """
window.plans = new Map();
window.fetches = 0;
let last = 0;
window.setTimeout = (work) => { window.plans.set(++last, work); return last; };
window.clearTimeout = (id) => window.plans.delete(id);
window.pass = () => { for (const [id, work] of [...window.plans]) { window.plans.delete(id); work(); } };
const asked = window.fetch;
window.fetch = (...all) => { window.fetches += 1; return asked(...all); };
"""
_HIDE = """
Object.defineProperty(document, 'hidden', {configurable: true, get: () => arguments[0]});
document.dispatchEvent(new Event('visibilitychange'));
"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Browser]:
    """The browser, in which no time passes by itself."""
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _TIMERS})
    yield browser
    browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    browser.visit("/mail/record/")


def pending(page: Browser) -> int:
    """How many timers the page has."""
    return int(page.driver.execute_script("return window.plans.size"))


def fetches(page: Browser) -> int:
    """How often it asked."""
    return int(page.driver.execute_script("return window.fetches"))


def until_planned(page: Browser) -> None:
    """Until an answer has come and the next refresh is planned."""
    WebDriverWait(page.driver, 10, poll_frequency=0.05).until(lambda driver: pending(page) == 1)


def test_what_has_changed_is_shown_without_a_click(page: Browser) -> None:
    """And the page stays the same page: nothing is loaded anew."""
    page.visit("/mail/")
    page.driver.execute_script("window.isSame = true")
    before = OutboxRecipient.objects.filter(state="queued").count()
    assert f"queued waits until it is due {before}" in page.find("#states").text.replace("\n", " ")
    queue("another@example.com")
    page.driver.execute_script("window.pass()")
    until_planned(page)
    assert f"queued waits until it is due {before + 1}" in page.find("#states").text.replace("\n", " ")
    assert page.driver.execute_script("return window.isSame")


def test_whoever_types_is_not_disturbed(page: Browser) -> None:
    """What is around the field is refreshed; the field keeps its words and the focus."""
    page.visit("/mail/routes/")
    field = page.find("#via-gmail input[name=reason]")
    field.send_keys("because the")
    database_store().pause(make_route("gmail"), by="ann: maintenance")
    page.driver.execute_script("window.pass()")
    until_planned(page)
    assert "Paused by ann: maintenance" in page.find("#via-gmail").text
    field.send_keys(" relay moves")
    assert field.get_attribute("value") == "because the relay moves"


def test_an_opened_table_stays_open(page: Browser) -> None:
    """A refresh closes nothing that somebody has opened."""
    page.visit("/mail/")
    page.find("#traffic-table summary").click()
    page.find("h1").click()
    queue("another@example.com")
    page.driver.execute_script("document.activeElement.blur(); window.pass()")
    until_planned(page)
    assert page.find("#traffic-table").get_attribute("open") is not None


def test_a_hidden_tab_asks_nothing(page: Browser) -> None:
    """And one that is shown again asks at once."""
    page.visit("/mail/")
    assert pending(page) == 1
    page.driver.execute_script(_HIDE, True)
    assert pending(page) == 0
    assert fetches(page) == 0
    page.driver.execute_script(_HIDE, False)
    assert fetches(page) == 1
    until_planned(page)


def test_refreshing_stops_when_told_to(page: Browser) -> None:
    """And goes on when told to."""
    page.visit("/mail/")
    page.find("#refresh-switch").click()
    assert pending(page) == 0
    assert page.find("#refresh-switch").text == "Refresh by itself"
    page.find("#refresh-switch").click()
    until_planned(page)
    assert page.find("#refresh-switch").text == "Stop refreshing"


def test_when_the_login_is_over_the_page_says_so_and_stops(page: Browser) -> None:
    """It does not ask again and again for what it does not get."""
    page.visit("/mail/")
    page.driver.delete_all_cookies()
    page.driver.execute_script("window.pass()")
    page.wait_for("You are no longer logged in")
    assert pending(page) == 0
