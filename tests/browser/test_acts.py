"""What an operator does by clicks, and what it does to the outbox."""

import socket
from pathlib import Path

import pytest
from django.core.mail import EmailMultiAlternatives

from reliable_email.models import Action, OutboxMessage, OutboxRecipient
from tests.browser.chromium import Browser
from tests.views.letters import queue_message


def row(address: str) -> OutboxRecipient:
    """A recipient's row."""
    return OutboxRecipient.objects.get(address=address)


def confirm(browser: Browser, label: str, reason: str = "asked by Ada") -> None:
    """Say why on the second page, and do it."""
    browser.find("#reason").send_keys(reason)
    browser.press(label)
    assert browser.find(".notices").text


def last_act() -> tuple[str, str, str, int]:
    """What the record says."""
    found = Action.objects.latest("pk")
    return found.actor, found.verb, found.reason, found.count


def test_two_of_the_list_are_ticked_and_cancelled(browser: Browser) -> None:
    """The third one still waits."""
    browser.visit("/mail/messages/?q=%40example.com&state=queued")
    for address in ("waits1@example.com", "waits2@example.com"):
        browser.find(f"input[aria-label^='Select {address}']").click()
    browser.choose("#act", "cancel")
    browser.press("With those I ticked")
    assert "2 recipients" in browser.find("#count").text
    assert row("waits1@example.com").state == "queued"
    confirm(browser, "Cancel")
    assert "2 recipients cancelled" in browser.text
    assert row("waits1@example.com").state == row("waits2@example.com").state == "cancelled"
    assert row("waits3@a-very-long-domain-name-that-does-not-break-by-itself.example.com").state == "queued"
    assert last_act() == ("olga", "cancel", "asked by Ada", 2)


def test_everything_that_failed_for_one_cause_is_requeued_by_one_route(browser: Browser) -> None:
    """Found by the form, acted on as a whole."""
    browser.visit("/mail/messages/")
    browser.choose("#by-cause", "mailbox_unknown")
    browser.press("Search")
    browser.choose("#act", "requeue")
    browser.press("With all that match")
    assert "3 recipients" in browser.find("#count").text
    browser.choose("#by_route", "sendgrid")
    confirm(browser, "Requeue")
    found = OutboxRecipient.objects.filter(address__startswith="nouser")
    assert {(one.state, one.pinned_route) for one in found} == {("queued", "sendgrid")}
    assert row("spam@example.org").state == "rejected"
    assert last_act()[1:] == ("requeue", "asked by Ada", 3)


def test_what_waits_is_held_and_requeued_on_its_own_page(browser: Browser) -> None:
    """For one recipient, then for all of the message."""
    number = row("waits1@example.com").message_id
    browser.visit(f"/mail/messages/{number}/")
    browser.press("Hold", within="#recipients article:first-of-type")
    confirm(browser, "Hold")
    assert (row("waits1@example.com").state, row("waits2@example.com").state) == ("parked", "queued")
    assert browser.path.startswith(f"/mail/messages/{number}/")
    browser.press("Hold, for all of them")
    confirm(browser, "Hold")
    assert row("waits2@example.com").state == "parked"
    browser.press("Requeue, for all of them")
    confirm(browser, "Requeue")
    assert row("waits1@example.com").state == row("waits2@example.com").state == "queued"
    assert "asked by Ada" in browser.text


@pytest.mark.parametrize(
    ("label", "state", "is_due"),
    [("It arrived", "accepted", False), ("It did not arrive", "rejected", False), ("Send again", "unknown", True)],
    ids=["accepted", "rejected", "resend"],
)
def test_an_unknown_recipient_is_resolved(browser: Browser, label: str, state: str, is_due: bool) -> None:
    """The page says what each choice means before it is made."""
    browser.visit("/mail/messages/?state=unknown")
    browser.press("For lost@example.com")
    browser.press(f"{label}…")
    confirm(browser, label)
    found = row("lost@example.com")
    assert (found.state, found.due_at is not None) == (state, is_due)


def test_nothing_is_done_without_a_reason(browser: Browser) -> None:
    """The browser asks for it before the form is sent."""
    browser.visit("/mail/messages/?q=waits1%40example.com")
    browser.find("input[name=recipient]").click()
    browser.choose("#act", "cancel")
    browser.press("With those I ticked")
    browser.button("Cancel").click()
    assert browser.driver.execute_script("return document.getElementById('reason').validity.valueMissing")
    assert row("waits1@example.com").state == "queued"
    browser.press("Leave it as it is")
    assert not Action.objects.filter(verb="cancel", target__contains="recipient row").exists()


def test_the_html_of_a_message_is_shown_and_can_do_nothing(browser: Browser) -> None:
    """Its styles and its own images work; its script does not run, and the reading is recorded."""
    number = OutboxMessage.objects.get(subject="Password reset").pk
    browser.visit(f"/mail/messages/{number}/")
    browser.press("Read the content")
    frame = browser.find("iframe")
    assert frame.get_attribute("sandbox") == ""
    browser.driver.switch_to.frame(frame)
    try:
        assert browser.find("h1").value_of_css_property("color") == "rgba(0, 128, 128, 1)"
        assert browser.find("img").get_property("naturalWidth") == 1
        assert browser.driver.execute_script("return document.title") == ""
    finally:
        browser.driver.switch_to.default_content()
    read = Action.objects.filter(verb="read_content").order_by("pk")
    assert [(one.actor, one.target, one.detail["part"]) for one in read] == [
        ("olga", f"message {number}", "content"),
        ("olga", f"message {number}", "html"),
    ]
    browser.complaints()  # the script that was stopped


def test_an_attachment_is_saved_and_not_opened(browser: Browser, tmp_path: Path) -> None:
    """Whatever it calls itself: the browser stays on the page."""
    number = OutboxMessage.objects.get(subject="Password reset").pk
    saved = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.driver.execute_cdp_cmd("Page.setDownloadBehavior", saved)
    browser.visit(f"/mail/messages/{number}/content/")
    browser.button("../invoice.html").click()
    browser.until(lambda: [one.suffix for one in tmp_path.iterdir()] == [".html"])
    [file] = tmp_path.iterdir()
    assert b"<script>" in file.read_bytes()
    assert browser.path == f"/mail/messages/{number}/content/"


def test_a_person_is_forgotten_after_a_second_look(browser: Browser) -> None:
    """The page says what goes and what stays before it is done."""
    browser.visit("/mail/people/")
    browser.find("#q").send_keys("waits1@example.com")
    browser.press("Look")
    browser.press("Erase…")
    assert "This cannot be undone" in browser.text
    browser.find("#reason").send_keys("asked by letter")
    browser.press("Erase")
    assert "1 delivery was erased" in browser.text
    assert not OutboxRecipient.objects.filter(address="waits1@example.com", erasing_at=None).exists()


def test_a_hostile_mail_contacts_nobody(browser: Browser) -> None:
    """Neither when it is shown nor when a link of it is clicked; the browser could reach who listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        evil = f"http://127.0.0.1:{listener.getsockname()[1]}"
        message = EmailMultiAlternatives("Hostile", "Hello", "shop@example.com", ["ann@example.com"])
        message.attach_alternative(
            f'<link rel="preconnect" href="{evil}"><link rel="prefetch" href="{evil}">'
            f'<iframe src="{evil}"></iframe><img src="{evil}/pixel.png"><style>@import "{evil}";'
            f'p {{ background: url({evil}/b) }}</style><meta http-equiv="refresh" content="0;url={evil}">'
            f'<object data="{evil}"></object><p>x</p><a id="trap" href="{evil}/click" ping="{evil}">Your bank</a>',
            "text/html",
        )
        number = queue_message(message).pk
        browser.visit(f"/mail/messages/{number}/content/")
        assert "1 image from elsewhere is not loaded." in browser.text
        browser.driver.switch_to.frame(browser.find("iframe"))
        try:
            browser.find("a").click()
        finally:
            browser.driver.switch_to.default_content()
        browser.visit(f"/mail/messages/{number}/content/?width=phone")
        browser.visit("/mail/")
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_one_tick_selects_the_page(browser: Browser) -> None:
    """And one that is taken away takes the tick away; a refresh of the list leaves both alone."""
    browser.visit("/mail/messages/")
    browser.find("#select-all").click()
    boxes = browser.find_all("input[name=recipient]")
    assert len(boxes) > 5
    assert all(box.is_selected() for box in boxes)
    boxes[0].click()
    assert not browser.find("#select-all").is_selected()
