"""Each verdict as an operator meets it, in German, on a desk and on a phone, light and dark."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import override_settings
from django.utils import timezone

from reliable_email.classification import classify
from reliable_email.delivery.policy import decide
from reliable_email.delivery.route_memory import RouteEvent
from reliable_email.models import OutboxRecipient, Worker
from reliable_email.outbox.operations.incoming import hold_incoming
from reliable_email.smtp.stages import Stage
from reliable_email.smtp.syntax.replies import parse_reply
from reliable_email.store.memory.route_state import database_store
from reliable_email.store.questions.filters import Filter
from reliable_email.views.parts.route_lines import find_route
from reliable_email.views.route_acts import Verb, do
from tests.browser.chromium import Browser
from tests.browser.test_pages import troubles
from tests.outbox.acts import hold
from tests.views.letters import queue

pytestmark = pytest.mark.timeout(400)


def quiet() -> None:
    """Everything arrived."""
    OutboxRecipient.objects.exclude(state="accepted").delete()
    Worker.objects.filter(name="mail-2:977").delete()


def pause(*aliases: str) -> None:
    """A person stops routes."""
    quiet()
    for alias in aliases:
        route = find_route(alias)
        assert route is not None
        do(Verb.PAUSE, route, actor="ada", reason="der Anbieter hat eine Störung")


def refuse(alias: str, reply: str, stage: Stage) -> None:
    """A server closes the route by its answer."""
    failure = classify(parse_reply(reply), stage=stage, provider=alias)
    route = find_route(alias)
    assert route is not None
    database_store().tell(route, RouteEvent(failure=failure, effect=decide(failure).effect))


def close_both() -> None:
    """Both logins are refused."""
    quiet()
    for alias in ("gmail", "sendgrid"):
        refuse(alias, "535 5.7.8 Username and Password not accepted.", Stage.AUTH)


def use_up() -> None:
    """The day's quota is gone, and mail waits."""
    quiet()
    queue("waits@example.com")
    for alias in ("gmail", "sendgrid"):
        refuse(alias, "550 5.4.5 Daily user sending limit exceeded.", Stage.MAIL)


def hold_all() -> None:
    """A bad deploy."""
    quiet()
    hold_incoming(Filter(), actor="ada", reason="falsche Preise im Newsletter")
    queue("waits1@example.com", "waits2@example.com")
    hold(Filter(states=("queued",)), actor="ada", reason="falsche Preise im Newsletter")


def lose_workers() -> None:
    """Nobody delivers what is due."""
    quiet()
    queue("waits@example.com")
    OutboxRecipient.objects.filter(state="queued").update(due_at=timezone.now() - timedelta(hours=3))
    Worker.objects.update(seen_at=timezone.now() - timedelta(hours=2))


def doubt() -> None:
    """What a server may have taken."""
    OutboxRecipient.objects.exclude(state__in=["accepted", "unknown"]).delete()
    Worker.objects.filter(name="mail-2:977").delete()


def nothing_special() -> None:
    """A bad day, with some of everything."""


CASES: dict[str, tuple[Callable[[], None], str]] = {
    "healthy": (quiet, "IN ORDNUNG"),
    "paused": (lambda: pause("gmail"), "der Weg 'gmail' ist pausiert, von ada"),
    "all-paused": (lambda: pause("gmail", "sendgrid"), "ist pausiert, von ada"),
    "closed": (close_both, "der Weg 'gmail' ist geschlossen"),
    "quota": (use_up, "der Weg 'gmail' ist geschlossen"),
    "held": (hold_all, "neue Nachrichten (alle) werden angehalten, von ada"),
    "no-worker": (lose_workers, "Nachrichten sind fällig, und seit 2 h wurde kein Worker gesehen"),
    "unknown": (doubt, "ist der Ausgang unbekannt"),
    "bad-day": (nothing_special, "ist der Ausgang unbekannt"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_verdict_is_read_in_german(browser: Browser, pictures: Path | None, case: str) -> None:
    """Its sentence, its remedy and the link that follows; nothing of it is English, nothing overflows."""
    prepare, words = CASES[case]
    prepare()
    with override_settings(LANGUAGE_CODE="de"):
        for page in ("routes/", "messages/", "failures/", "") if pictures is not None else ("",):
            for width in (1280, 390):
                for is_dark in (False, True):
                    browser.look(width=width, is_dark=is_dark)
                    browser.visit(f"/mail/{page}")
                    if pictures is not None:
                        shade = "dark" if is_dark else "light"
                        browser.keep_picture(pictures / f"{case}-{page.strip('/') or 'overview'}-{width}-{shade}.png")
                    assert troubles(browser) == []
        assert browser.find_all("#verdict [lang=en]") == []
        assert words in browser.find("#verdict").text
