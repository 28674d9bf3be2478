"""One message's page, and what it says."""

from collections.abc import Callable

import pytest
from django.test import Client, override_settings

from reliable_email.models import Action, Attempt, OutboxRecipient
from reliable_email.outbox.keyring import Keyring
from reliable_email.store.questions.filters import Filter
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.messages import OutboxMessage
from tests.outbox.acts import hold
from tests.views.letters import PIXEL, RESET_LINK, deliver, queue

pytestmark = pytest.mark.django_db(transaction=True)
CONTENT_PAGES = ("content/", "content/html/", "content/source/", "content/3/")


def test_the_timeline_says_what_was_said_and_what_to_do(operator: Client) -> None:
    """Stage, time and reply of each attempt, the outcome of each recipient, meaning and remedy."""
    row = queue("ok@example.com", "nouser@example.com")
    deliver()
    answer = operator.get(f"/mail/messages/{row.pk}/")
    text = " ".join(answer.content.decode().split())
    for words in (
        "came as far as <strong>final reply</strong>",
        "250 2.0.0 queued",
        "550 5.1.1 user unknown",
        "The recipient&#x27;s address does not exist.",
        "Correct the address",
        row.message_id.strip("<>"),
    ):
        assert words in text, words
    [attempt] = answer.context["attempts"]
    assert [(one["address"], one["outcome"]) for one in attempt["outcomes"]] == [
        ("ok@example.com", "accepted"),
        ("nouser@example.com", "rejected"),
    ]


def test_each_outcome_of_an_attempt_can_be_shown(operator: Client) -> None:
    """A deferral, which is no state, among them."""
    for name in ("grey", "later", "spam", "lost", "ok"):
        row = queue(f"{name}@example.com")
        deliver()
        assert operator.get(f"/mail/messages/{row.pk}/").context["attempts"], name


def test_what_people_did_to_it_stands_on_its_page(operator: Client) -> None:
    """Its own acts, and not those of another message."""
    row, other = queue("ok@example.com"), queue("ok2@example.com")
    for one in (row, other):
        hold(Filter(ids=(one.pk,)), actor="ada", reason=f"reason {one.message_id}")
    text = operator.get(f"/mail/messages/{row.pk}/").content.decode()
    assert row.message_id.strip("<>") in text
    assert f"reason &lt;{row.message_id.strip('<>')}" in text
    assert f"reason &lt;{other.message_id.strip('<>')}" not in text


def test_an_unknown_recipient_comes_with_what_each_choice_means(operator: Client) -> None:
    """Before one is made."""
    row = queue("lost@example.com")
    deliver()
    text = operator.get(f"/mail/messages/{row.pk}/").content.decode()
    assert "You have found the message in the recipient&#x27;s mailbox" in text
    assert "the recipient gets a second one" in text


def test_the_page_itself_holds_nothing_of_the_content(operator: Client) -> None:
    """The link that resets a password is behind another page."""
    row = queue("ok@example.com")
    assert RESET_LINK not in operator.get(f"/mail/messages/{row.pk}/").content.decode()
    assert not Action.objects.exists()


def test_buttons_fit_the_state(operator: Client) -> None:
    """What would change nothing is not offered."""
    row = queue("ok@example.com", "nouser@example.com", "lost@example.com")

    def offered() -> dict[str, list[str]]:
        found = operator.get(f"/mail/messages/{row.pk}/").context["recipients"]
        return {one["address"].partition("@")[0]: [act for act, _ in one["acts"]] for one in found}

    assert offered() == {name: ["cancel", "hold"] for name in ("ok", "nouser", "lost")}
    deliver()
    assert offered() == {
        "ok": ["resolve_accepted", "resolve_rejected", "resolve_resend"],
        "nouser": ["requeue"],
        "lost": ["resolve_accepted", "resolve_rejected", "resolve_resend"],
    }
    OutboxRecipient.objects.filter(address="ok@example.com").update(state="accepted")
    assert offered()["ok"] == []


@pytest.mark.parametrize("page", CONTENT_PAGES)
def test_content_needs_a_permission_of_its_own(person: Callable[..., Client], page: str) -> None:
    """Seeing and acting do not include reading, and a refusal is no reading."""
    row = queue("ok@example.com")
    answer = person("view_outboxmessage", "act_on_outbox").get(f"/mail/messages/{row.pk}/{page}")
    assert answer.status_code == 403
    assert "reliable_email.read_content" in answer.content.decode()
    assert not Action.objects.exists()


@pytest.mark.parametrize("page", CONTENT_PAGES)
def test_each_reading_is_recorded(person: Callable[..., Client], page: str) -> None:
    """Who read what, and when."""
    row = queue("ok@example.com")
    answer = person("view_outboxmessage", "read_content").get(f"/mail/messages/{row.pk}/{page}")
    assert answer.status_code == 200
    noted = Action.objects.get()
    assert (noted.actor, noted.verb, noted.target) == ("ann", "read_content", f"message {row.pk}")
    assert noted.detail["part"]


def test_the_content_is_shown_in_parts(operator: Client) -> None:
    """Headers, text, a frame without rights, attachments by their names."""
    row = queue("ok@example.com", subject="Grüße")
    text = operator.get(f"/mail/messages/{row.pk}/content/").content.decode()
    assert "Grüße" in text
    assert RESET_LINK in text
    assert '<iframe name="letter" class="letter" sandbox=""' in text
    assert "invoice.html" in text
    assert "<script>alert" not in text


def test_the_page_with_the_content_does_not_refresh_by_itself(operator: Client) -> None:
    """Each refresh would be recorded as a reading."""
    row = queue("ok@example.com")
    assert 'data-refresh-seconds="0"' in operator.get(f"/mail/messages/{row.pk}/content/").content.decode()


def test_the_html_of_a_message_can_do_nothing(operator: Client) -> None:
    """No script, no form, nothing from elsewhere, wherever it is opened; its own images are put in."""
    row = queue("ok@example.com")
    answer = operator.get(f"/mail/messages/{row.pk}/content/html/")
    policy = answer["Content-Security-Policy"]
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "script-src" not in rules
    assert rules["sandbox"] == ""
    assert rules["frame-ancestors"] == "'self'"
    assert answer["X-Frame-Options"] == "SAMEORIGIN"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "data:image/png;base64,iVBORw0" in answer.content.decode()


def test_source_and_attachments_are_not_interpreted(operator: Client) -> None:
    """The source is plain text; an attachment is a download, whatever it calls itself."""
    row = queue("ok@example.com")
    source = operator.get(f"/mail/messages/{row.pk}/content/source/")
    assert source["Content-Type"] == "text/plain; charset=utf-8"
    assert source.content == bytes(OutboxMessage.objects.get().content or b"")
    listed = operator.get(f"/mail/messages/{row.pk}/content/").context["attachments"]
    assert [(one.name, one.content_type) for one in listed] == [
        ("part-2.png", "image/png"),
        ("../invoice.html", "text/html"),
    ]
    for one, data in zip(listed, (PIXEL, b"<script>alert(2)</script>"), strict=True):
        answer = operator.get(f"/mail/messages/{row.pk}/content/{one.number}/")
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Content-Disposition"].startswith("attachment; filename=")
        assert "/" not in answer["Content-Disposition"]
        assert answer.content.strip() == data.strip()
    assert operator.get(f"/mail/messages/{row.pk}/content/99/").status_code == 404


def test_encrypted_content_is_opened_with_the_key_and_a_missing_key_is_named(operator: Client) -> None:
    """What could not be read is not recorded as read."""
    from cryptography.fernet import Fernet

    key = Fernet.generate_key().decode()
    row = queue("nouser@example.com", keyring=Keyring([key]))
    deliver(Keyring([key]))
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": [key]}):
        assert RESET_LINK in operator.get(f"/mail/messages/{row.pk}/content/").content.decode()
    Action.objects.all().delete()
    page = operator.get(f"/mail/messages/{row.pk}/").content.decode()
    assert "encrypted with the key" in page
    answer = operator.get(f"/mail/messages/{row.pk}/content/")
    assert answer.status_code == 409
    assert "ENCRYPTION_KEYS" in answer.content.decode()
    assert not Action.objects.exists()


def test_pruned_content_is_said_to_be_pruned(operator: Client) -> None:
    """The journal is still there."""
    row = queue("nouser@example.com")
    deliver()
    OutboxMessage.objects.update(content=None)
    page = operator.get(f"/mail/messages/{row.pk}/")
    assert "was pruned" in page.content.decode()
    assert "550 5.1.1 user unknown" in page.content.decode()
    assert [one["acts"] for one in page.context["recipients"]] == [[]]
    answer = operator.get(f"/mail/messages/{row.pk}/content/")
    assert answer.status_code == 410
    assert "was pruned" in answer.content.decode()


def test_a_message_that_is_not_there_is_said_to_be_not_there(operator: Client) -> None:
    """With a page, and the status that says so."""
    for page in ("", *CONTENT_PAGES):
        assert operator.get(f"/mail/messages/7/{page}").status_code == 404


@pytest.mark.parametrize("number", ["0", "99999999999999999999999"])
def test_a_number_of_any_size_is_no_error(operator: Client, number: str) -> None:
    """It is a message that is not there."""
    assert operator.get(f"/mail/messages/{number}/").status_code == 404
    assert operator.get(f"/mail/messages/?q=%23{number}").status_code == 200
    assert operator.get(f"/mail/messages/?before={number}&done={number}").status_code == 200


def test_of_a_message_to_hundreds_those_who_need_somebody_come_first(operator: Client) -> None:
    """The rest is in the list, which its link leads to."""
    row = queue(*(f"ok{number}@example.com" for number in range(130)), "nouser@example.com")
    deliver()
    answer = operator.get(f"/mail/messages/{row.pk}/")
    shown = [one["address"] for one in answer.context["recipients"]]
    assert (len(shown), shown[0]) == (100, "nouser@example.com")
    text = answer.content.decode()
    assert "131 recipients" in text
    assert "And 31 more" in text
    assert f"/mail/messages/?q=%23{row.pk}" in text
    assert len(operator.get(f"/mail/messages/?q=%23{row.pk}").context["lines"]) == 50


def test_the_ways_of_recipients_part_in_a_table(operator: Client) -> None:
    """Each attempt is a column, and who was not asked for by it has nothing there."""
    row = queue("ok@example.com", "grey@example.com", "nouser@example.com")
    deliver()
    OutboxRecipient.objects.exclude(due_at=None).update(due_at=DatabaseNow(-1))
    deliver()
    answer = operator.get(f"/mail/messages/{row.pk}/")
    table = {line.address: [outcome for outcome, _ in line.outcomes] for line in answer.context["branches"].lines}
    assert table["ok@example.com"][0] == "accepted"
    assert table["nouser@example.com"][0] == "rejected"
    assert table["grey@example.com"][0] == "deferred"
    assert not table["ok@example.com"][-1]
    assert len({len(one) for one in table.values()}) == 1
    assert "not asked" in answer.content.decode()


def test_what_was_said_on_the_wire_stands_beside_the_attempt(operator: Client) -> None:
    """Escaped, and only where something was kept."""
    row = queue("nouser@example.com")
    deliver()
    page = f"/mail/messages/{row.pk}/"
    assert "Conversation with the server" not in operator.get(page).content.decode()
    Attempt.objects.update(dialogue="C: RCPT TO:<nouser@example.com>\nS: 550 <script>\x1b[2J")
    text = operator.get(page).content.decode()
    assert "S: 550 &lt;script&gt;" in text
    assert "\x1b" not in text


def test_a_doubt_that_a_lost_worker_left_is_told_as_such(operator: Client) -> None:
    """Nobody looks for a connection that broke, since none did."""
    message = queue("ok@example.com")
    OutboxRecipient.objects.filter(message=message.pk).update(
        state="authorized",
        claim=7,
        claimed_by="dead",
        due_at=None,
        lease_until=DatabaseNow(-1),
        authorized_at=DatabaseNow(-60),
        authorized_route="gmail",
    )
    deliver()
    page = operator.get(f"/mail/messages/{message.pk}/").content.decode()
    assert "the worker was lost after it was permitted to send" in page
    assert "No reply was read" in page
    assert "onnection was lost" not in page
