"""What the night needs, in a real browser: stop all mail, let it go, undo; each verdict; the same in German."""

import socket
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.mail import EmailMultiAlternatives
from django.test import override_settings
from django.utils import timezone

from reliable_email.models import Action, Attempt, IncomingHold, Opening, OutboxMessage, OutboxRecipient, Worker
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.views.parts.route_lines import find_route
from reliable_email.views.route_acts import Verb, do
from tests.browser.chromium import Browser
from tests.browser.test_acts import confirm, row
from tests.browser.test_pages import paths, troubles
from tests.views.letters import deliver, queue, queue_message


def test_all_mail_is_stopped_and_let_go_in_three_steps_each(browser: Browser, pictures: Path | None) -> None:
    """A button, a reason, done; the hold stands on the overview until it is released."""
    browser.visit("/mail/")
    browser.press("Stop all mail…")
    assert browser.find("input[name=incoming]").is_selected()
    assert troubles(browser) == []
    confirm(browser, "Hold", "wrong prices")
    assert "wrong prices" in browser.find(".held").text
    queue("new@example.com")
    deliver()
    assert row("new@example.com").state == "parked"
    for width in (1280, 390):
        browser.look(width=width)
        browser.visit("/mail/")
        assert troubles(browser) == []
        if pictures is not None:
            browser.keep_picture(pictures / f"held-{width}.png")
    browser.look(width=1280)
    browser.press("Release…")
    if pictures is not None:
        browser.keep_picture(pictures / "release-1280.png")
    assert troubles(browser) == []
    confirm(browser, "Release", "mended")
    assert row("new@example.com").state == "queued"
    assert not IncomingHold.objects.exists()


def test_a_hold_is_undone_by_its_button(browser: Browser, pictures: Path | None) -> None:
    """On the page that comes after it."""
    browser.visit("/mail/messages/?state=queued")
    browser.find("#select-all").click()
    browser.choose("#act", "hold")
    browser.press("With those I ticked")
    confirm(browser, "Hold")
    held = OutboxRecipient.objects.filter(state="parked", detail__contains=", act ").count()
    assert held > 0
    if pictures is not None:
        browser.keep_picture(pictures / "undo-1280.png")
    assert troubles(browser) == []
    browser.press("Undo: release them…")
    browser.press("Requeue")
    assert not OutboxRecipient.objects.filter(state="parked", detail__contains=", act ").exists()


def test_what_was_said_on_the_wire_is_behind_a_click(browser: Browser, pictures: Path | None) -> None:
    """And the table above it shows where the ways parted."""
    number = OutboxMessage.objects.get(subject="To three of them").pk
    Attempt.objects.filter(message=number).update(
        dialogue="C: MAIL FROM:<shop@example.com>\nS: 250 2.1.0 Ok\nC: RCPT TO:<nouser@example.org>\nS: 550 5.1.1 no"
    )
    OutboxRecipient.objects.filter(message=number).exclude(due_at=None).update(due_at=DatabaseNow(-1))
    deliver()
    for width in (1280, 390):
        browser.look(width=width)
        browser.visit(f"/mail/messages/{number}/")
        browser.find("#timeline summary").click()
        assert "550 5.1.1 no" in browser.find("pre.dialogue").text
        if pictures is not None:
            browser.keep_picture(pictures / f"timeline-{width}.png")
        assert troubles(browser) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_clean_in_german(browser: Browser, pictures: Path | None, width: int) -> None:
    """Longer words must not make a page wider than its window."""
    with override_settings(LANGUAGE_CODE="de"):
        browser.look(width=width)
        browser.visit("/mail/")
        assert browser.find("html").get_attribute("lang") == "de"
        pages = [link.get_attribute("href") or "" for link in browser.find_all("nav a")]
        found = []
        for page in [*(one.removeprefix(browser.site) for one in pages), *paths()]:
            browser.visit(page)
            if pictures is not None:
                name = page.strip("/").replace("/", "-").replace("?", "-").replace("&", "-")
                browser.keep_picture(pictures / f"de-{name}-{width}.png")
            found += troubles(browser, allowed=("404 (Not Found)",) if page.endswith("/0/") else ())
        assert found == []


def test_a_german_operator_cancels_by_german_buttons(browser: Browser) -> None:
    """The words on the buttons are others, what they do is not."""
    with override_settings(LANGUAGE_CODE="de"):
        browser.visit("/mail/messages/?q=waits1%40example.com")
        browser.find("input[name=recipient]").click()
        browser.choose("#act", "cancel")
        browser.press("Mit den angekreuzten")
        confirm(browser, "Abbrechen", "aus Versehen")
    assert row("waits1@example.com").state == "cancelled"


@pytest.mark.parametrize("verdict", ["unhealthy", "degraded", "healthy"])
def test_each_verdict_is_told_first(browser: Browser, pictures: Path | None, verdict: str) -> None:
    """A closed site, a site with a paused route, and a quiet one."""
    if verdict != "unhealthy":
        OutboxRecipient.objects.exclude(state="accepted").delete()
        Worker.objects.filter(name="mail-2:977").delete()
    for alias in {"unhealthy": ["gmail", "sendgrid"], "degraded": ["gmail"]}.get(verdict, []):
        route = find_route(alias)
        assert route is not None
        do(Verb.PAUSE, route, actor="ada", reason="the provider is down")
    for width, is_dark in ((1280, False), (390, True)):
        browser.look(width=width, is_dark=is_dark)
        browser.visit("/mail/")
        if pictures is not None:
            browser.keep_picture(pictures / f"verdict-{verdict}-{width}.png")
        assert verdict.upper() in browser.find("#verdict").text
        assert troubles(browser) == []


def test_the_history_of_a_route_is_seen(browser: Browser, pictures: Path | None) -> None:
    """A strip of seven days, and why it was closed, on a desk and on a phone."""
    now = timezone.now()
    for number, (opened, closed) in enumerate([(100, 90), (30, 29), (3, 2)]):
        Opening.objects.create(
            route="gmail", number=number, reason="quota_exceeded", evidence="at mail: 550 5.4.5 Daily limit exceeded",
            opened_at=now - timedelta(hours=opened), closed_at=now - timedelta(hours=closed),
        )  # fmt: skip
    for width, is_dark in ((1280, False), (390, True)):
        browser.look(width=width, is_dark=is_dark)
        browser.visit("/mail/routes/")
        assert len(browser.find_all("svg.strip .shut")) == 3
        if pictures is not None:
            browser.keep_picture(pictures / f"history-{width}.png")
        assert troubles(browser) == []


def test_images_are_loaded_when_somebody_asks_for_it(browser: Browser) -> None:
    """Before the button nobody hears of it; after it the server of the image does, once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        message = EmailMultiAlternatives("Images", "Hello", "shop@example.com", ["ann@example.com"])
        source = f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"
        message.attach_alternative(f'<img src="{source}" alt="x"><script src="{source}"></script>', "text/html")
        number = queue_message(message).pk
        browser.visit(f"/mail/messages/{number}/content/")
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.settimeout(30)
        browser.find("#load-images").click()
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(30)
            asked = connection.recv(4096)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert asked.startswith(b"GET /a.png ")
        assert b"Referer" not in asked
        assert b"Cookie" not in asked
    assert Action.objects.filter(detail__part="html with images from elsewhere").count() == 1
    browser.complaints()  # the image that was not there
