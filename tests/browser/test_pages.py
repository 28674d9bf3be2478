"""Every page in a real browser: nothing in the console, nothing stopped by the policy, usable by everybody."""

from pathlib import Path

import pytest

from reliable_email.models import OutboxMessage, OutboxRecipient
from tests.browser.chromium import Browser


def paths() -> list[str]:
    """One of every page that can be visited."""
    several = OutboxMessage.objects.get(subject="To three of them").pk
    lost = OutboxRecipient.objects.get(address="lost@example.com").message_id
    return [
        f"/mail/messages/{several}/",
        f"/mail/messages/{lost}/",
        f"/mail/messages/{several}/content/",
        "/mail/messages/?state=rejected&q=%40example.com",
        "/mail/messages/?q=nobody%40example.com",
        "/mail/messages/0/",
        "/mail/people/?q=lost%40example.com",
    ]


def troubles(browser: Browser, *, allowed: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with the page that is open."""
    found = [one for one in browser.complaints() if not any(words in one for words in allowed)]
    if browser.overflow() > 0:
        found.append(f"the page is {browser.overflow()} px wider than the window")
    return [f"{browser.path}: {one}" for one in (*found, *browser.findings())]


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)], ids=["desk", "phone-at-night"])
def test_every_page_is_clean(browser: Browser, pictures: Path | None, width: int, is_dark: bool) -> None:
    """No console error, no violation of the policy, no finding of axe, nothing wider than the window."""
    browser.look(width=width, is_dark=is_dark)
    browser.visit("/mail/")
    pages = [link.get_attribute("href") or "" for link in browser.find_all("nav a")]
    found = []
    for page in [*(one.removeprefix(browser.site) for one in pages), *paths()]:
        browser.visit(page)
        if pictures is not None:
            name = page.strip("/").replace("/", "-").replace("?", "-").replace("&", "-") or "root"
            browser.keep_picture(pictures / f"{name}-{width}{'-dark' if is_dark else ''}.png")
        found += troubles(browser, allowed=("404 (Not Found)",) if page.endswith("/0/") else ())
    assert found == []
    assert len(pages) >= 2


def test_a_recipient_is_one_line_of_the_list(browser: Browser) -> None:
    """At 1,280 px, whatever its subject, its address and what was said of it."""
    browser.visit("/mail/messages/")
    rows = browser.find_all("table.lines tbody tr")
    assert len(rows) > 10
    heights = {row.size["height"] for row in rows}
    assert max(heights) <= 44, heights
    script = "return parseFloat(getComputedStyle(arguments[0]).lineHeight)"
    addresses = browser.find_all("table.lines tbody .address")
    assert all(one.size["height"] < 2 * browser.driver.execute_script(script, one) + 24 for one in addresses)


@pytest.mark.parametrize("page", ["/mail/people/?q=lost%40example.com", "/mail/people/"])
def test_a_page_that_does_not_refresh_offers_no_button_to_stop_it(browser: Browser, page: str) -> None:
    """What is hidden is not seen, whatever else the styles say of a button."""
    browser.visit(page)
    assert browser.find_all("[hidden]")
    assert not any(one.is_displayed() for one in browser.find_all("[hidden]"))


def test_what_the_policy_stops_and_what_axe_finds_is_noticed(browser: Browser) -> None:
    """Otherwise the other tests here could not fail."""
    browser.visit("/mail/")
    assert troubles(browser) == []
    script = "document.querySelector('main').insertAdjacentHTML('beforeend', arguments[0])"
    browser.driver.execute_script(script, '<img src="data:image/png;base64,AA=="><p style="width: 9999px">wide</p>')
    assert any("Content Security Policy" in one for one in browser.complaints())
    assert any(one.startswith("image-alt (critical)") for one in browser.findings())
    browser.driver.execute_script("document.body.style.minWidth = '9999px'")
    assert browser.overflow() > 0


def test_the_page_that_asks_why_is_clean_too(browser: Browser, pictures: Path | None) -> None:
    """It is the answer to a form, so it is reached by a click."""
    for width in (1280, 390):
        browser.look(width=width)
        browser.visit("/mail/messages/?state=rejected")
        browser.find("input[name=recipient]").click()
        browser.choose("#act", "requeue")
        browser.press("With those I ticked")
        if pictures is not None:
            browser.keep_picture(pictures / f"act-{width}.png")
        assert troubles(browser) == []


def test_everything_is_reached_by_the_keyboard(browser: Browser) -> None:
    """The first key leads past the navigation, and what has the focus can be seen."""
    from selenium.webdriver.common.keys import Keys

    browser.visit("/mail/messages/")
    browser.find("body").send_keys(Keys.TAB)
    active = browser.driver.switch_to.active_element
    assert active.get_attribute("class") == "skip"
    active.send_keys(Keys.ENTER)
    assert browser.path.endswith("#content")
    browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    focused = browser.driver.switch_to.active_element
    assert focused.get_attribute("id") == "q"
    assert focused.value_of_css_property("outline-style") == "solid"
