"""What an operator does to routes and to the suppression list by clicks, and what it does to the site."""

from reliable_email.backends.failover import make_route
from reliable_email.delivery.breaker import Phase
from reliable_email.models import Action, Suppression
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from tests.browser.chromium import Browser


def phase(alias: str) -> Phase:
    """As another process sees it."""
    return DatabaseRouteStateStore().read(make_route(alias)).phase


def acts() -> list[tuple[str, str, str, str]]:
    """What the record says, the oldest first, without what the site began with."""
    found = Action.objects.exclude(verb="cancel").order_by("pk")
    return list(found.values_list("actor", "verb", "target", "reason"))


def test_a_route_is_paused_and_resumed(browser: Browser) -> None:
    """A pause wants a reason, and is seen by every process."""
    browser.visit("/mail/routes/")
    browser.button("Pause", within="#via-gmail").click()
    assert browser.driver.execute_script("return document.querySelector('#via-gmail input:invalid') !== null")
    assert phase("gmail") is Phase.CLOSED
    browser.find("#via-gmail input[name=reason]").send_keys("the relay moves")
    browser.press("Pause", within="#via-gmail")
    assert "gmail is paused" in browser.find(".notices").text
    assert "Paused by olga: the relay moves." in browser.find("#via-gmail").text
    assert phase("gmail") is Phase.PAUSED
    browser.press("Resume", within="#via-gmail")
    assert phase("gmail") is Phase.CLOSED
    assert acts() == [("olga", "pause_route", "gmail", "the relay moves"), ("olga", "resume_route", "gmail", "")]
    browser.visit("/mail/record/")
    assert "the relay moves" in browser.text


def test_a_route_is_probed(browser: Browser) -> None:
    """What the probe found stands with the route, with what to do."""
    browser.visit("/mail/routes/")
    browser.press("Probe now", within="#via-sendgrid")
    found = browser.find("#probe").text
    assert "unhealthy" in found
    assert "What to do" in found
    assert acts() == [("olga", "probe_route", "sendgrid", "")]


def test_an_address_is_suppressed_and_allowed_again(browser: Browser) -> None:
    """Each with its reason."""
    browser.visit("/mail/suppressions/")
    browser.find("#address").send_keys("Gone@example.org")
    browser.find("#reason").send_keys("asked us to")
    browser.press("Send nothing to it")
    assert "Nothing is sent to gone@example.org any more" in browser.find(".notices").text
    assert Suppression.objects.filter(address="gone@example.org").exists()
    browser.find("#q").send_keys("gone")
    browser.press("Search")
    browser.find("input[aria-label^='Why gone@example.org']").send_keys("has a new mailbox")
    browser.press("Send again")
    assert not Suppression.objects.filter(address="gone@example.org").exists()
    assert acts() == [
        ("olga", "suppress", "gone@example.org", "asked us to"),
        ("olga", "unsuppress", "gone@example.org", "has a new mailbox"),
    ]
