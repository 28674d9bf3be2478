"""Providers' webhooks, posted to django-anymail's own views: what an unknown message, its story and the list become.

The payloads have the form that each provider documents; addresses and ids are made up.
"""

import hashlib
import hmac
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from anymail.signals import tracking
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.test import Client, modify_settings, override_settings
from django.urls import include, path

from reliable_email.delivery.content.building import build_submission
from reliable_email.integrations import anymail
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.operations.suppressed import suppress
from reliable_email.outbox.operations.suppression_list import suppressed
from reliable_email.store.questions.stories import story
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Suppression
from reliable_email.store.tables.states import State
from tests.django.post import A, B

# anymail serves SendGrid's webhook still, and says that it is not tested against SendGrid any more.
pytestmark = pytest.mark.filterwarnings("ignore:django-anymail has dropped official support")

urlpatterns = [path("anymail/", include("anymail.urls"))]

KEY = "key-for-tests"
POSTMARK_ID = "0a129aee-e1cd-480d-b08d-4f48548ff48d"


@pytest.fixture
def client(db: None) -> Iterator[Client]:
    """A site that providers report to."""
    with (
        modify_settings(INSTALLED_APPS={"append": "anymail"}),
        override_settings(
            ROOT_URLCONF="tests.django.test_webhooks",
            ANYMAIL={"WEBHOOK_SECRET": "hook:secret", "MAILGUN_WEBHOOK_SIGNING_KEY": KEY},
        ),
    ):
        anymail.connect()
        yield Client(headers={"authorization": "Basic aG9vazpzZWNyZXQ="})
    tracking.disconnect(dispatch_uid="reliable_email.events")


@pytest.fixture
def message(db: None) -> OutboxMessage:
    """A queued message to two, whose outcome is unknown."""
    mail = EmailMessage("Your order", "Thank you.", "shop@example.org", [A, B])
    [queued] = enqueue([build_submission(mail)], QueueOptions(mailer="routes"))
    OutboxRecipient.objects.update(
        state=State.UNKNOWN, unknowns=1, due_at=None, authorized_at=DatabaseNow(), settled_at=DatabaseNow()
    )
    return queued


def post(client: Client, provider: str, payload: object, **headers: str) -> None:
    """What the provider does, and takes for done."""
    answer = client.post(
        f"/anymail/{provider}/tracking/", json.dumps(payload), content_type="application/json", headers=headers
    )
    assert answer.status_code == 200, answer.content


def state_of(address: str) -> State:
    """A recipient's state."""
    return State(OutboxRecipient.objects.get(address=address).state)


def sendgrid(message: OutboxMessage, event: str, **more: object) -> list[dict[str, Any]]:
    """An element of SendGrid's batch."""
    told = {
        "email": A,
        "timestamp": 1790000000,
        "smtp-id": message.message_id,
        "event": event,
        "category": ["orders"],
        "sg_event_id": f"ZGVsaXZlcmVk-{event}",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
    }
    return [told | more]


def mailgun(message: OutboxMessage, event: str, **more: object) -> dict[str, Any]:
    """Mailgun's signed envelope."""
    stamp, token = "1790000000", "a" * 50
    signature = hmac.new(KEY.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    told = {
        "id": "CPgfbmQMTCKtHW6uIWtuVe",
        "timestamp": 1790000000.123,
        "event": event,
        "recipient": A,
        "log-level": "info",
        "message": {"headers": {"to": A, "message-id": message.message_id.strip("<>"), "from": "shop@example.org"}},
        "delivery-status": {"code": 250, "message": "OK", "attempt-no": 1},
        "user-variables": {},
        "tags": [],
    }
    return {"signature": {"timestamp": stamp, "token": token, "signature": signature}, "event-data": told | more}


def brevo(message: OutboxMessage, event: str, **more: object) -> dict[str, Any]:
    """One of Brevo's."""
    return {
        "event": event,
        "email": A,
        "id": 26224,
        "date": "2026-09-21 13:33:20",
        "ts": 1790000000,
        "ts_event": 1790000000,
        "ts_epoch": 1790000000000,
        "message-id": message.message_id,
        "subject": "Your order",
        **more,
    }


def test_sendgrids_delivery_settles_its_recipient_alone(client: Client, message: OutboxMessage) -> None:
    """Found by the Message-ID that SendGrid repeats; the other recipient's doubt is another."""
    post(client, "sendgrid", sendgrid(message, "delivered", response="250 2.0.0 OK"))
    assert (state_of(A), state_of(B)) == (State.ACCEPTED, State.UNKNOWN)
    told = story(message.pk)
    assert told is not None
    [event] = told.events
    assert (event.kind, event.source, event.address, event.detail) == ("delivered", "SendGrid", A, "250 2.0.0 OK")
    assert event.at.isoformat() == "2026-09-21T14:13:20+00:00"


def test_a_bounce_settles_and_suppresses(client: Client, message: OutboxMessage) -> None:
    """Both from one event, and once, though SendGrid posts the batch again."""
    batch = sendgrid(message, "bounce", reason="550 5.1.1 The email account does not exist", type="bounce")
    batch[0]["status"] = "5.1.1"
    for _ in range(2):
        post(client, "sendgrid", batch)
    assert state_of(A) == State.REJECTED
    told = story(message.pk)
    assert told is not None
    assert [one.kind for one in told.events] == ["bounced"]
    assert suppressed("default", [A, B]) == {A}


def test_a_blocked_sender_suppresses_nobody(client: Client, message: OutboxMessage) -> None:
    """SendGrid's other kind of bounce is about us."""
    post(client, "sendgrid", sendgrid(message, "bounce", reason="550 5.7.1 listed", type="blocked", status="5.7.1"))
    assert state_of(A) == State.REJECTED
    assert suppressed("default", [A, B]) == set()


def test_postmark_is_found_by_its_own_id(client: Client, message: OutboxMessage) -> None:
    """As an API names it; Postmark does not tell the Message-ID."""
    Attempt.objects.create(
        message=message,
        claim=1,
        worker="w",
        route="postmark",
        finished_at=DatabaseNow(),
        seconds=0.1,
        stage="final_reply",
        outcomes={},
        provider_message_id=POSTMARK_ID,
    )
    bounce = {
        "RecordType": "Bounce",
        "MessageStream": "outbound",
        "ID": 4323372036854775807,
        "Type": "HardBounce",
        "TypeCode": 1,
        "Name": "Hard bounce",
        "MessageID": POSTMARK_ID,
        "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
        "Details": "smtp;550 5.1.1 no such user",
        "Email": A,
        "From": "shop@example.org",
        "BouncedAt": "2026-11-05T16:33:54.9070259Z",
        "Inactive": True,
        "CanActivate": True,
        "Subject": "Your order",
    }
    post(client, "postmark", bounce)
    assert state_of(A) == State.REJECTED
    assert suppressed("default", [A, B]) == {A}
    delivery = {
        "RecordType": "Delivery",
        "MessageStream": "outbound",
        "ServerID": 23,
        "MessageID": POSTMARK_ID,
        "Recipient": B.upper(),
        "Tag": "orders",
        "DeliveredAt": "2026-11-05T16:34:11Z",
        "Details": "Test delivery webhook details",
    }
    for _ in range(2):
        post(client, "postmark", delivery)
    assert state_of(B) == State.ACCEPTED
    told = story(message.pk)
    assert told is not None
    assert [(one.kind, one.address) for one in told.events] == [("bounced", A), ("delivered", B)]


def test_mailguns_temporary_failure_says_that_it_has_the_message(client: Client, message: OutboxMessage) -> None:
    """It goes on trying: accepted, and no second copy; the later bounce is noted beside it."""
    code = {"code": 452, "message": "4.2.2 mailbox full", "description": ""}
    post(client, "mailgun", mailgun(message, "failed", severity="temporary", **{"delivery-status": code}))
    assert state_of(A) == State.ACCEPTED
    post(client, "mailgun", mailgun(message, "failed", severity="permanent", reason="bounce", id="another"))
    assert state_of(A) == State.ACCEPTED
    told = story(message.pk)
    assert told is not None
    assert sorted(one.kind for one in told.events) == ["bounced", "deferred"]
    assert suppressed("default", [A]) == {A}


def test_brevos_blocked_message_is_rejected(client: Client, message: OutboxMessage) -> None:
    """Brevo has no ids for events; the same one twice is known by what it says."""
    for _ in range(2):
        post(client, "brevo", brevo(message, "blocked", reason="blocked : contact"))
    assert state_of(A) == State.REJECTED
    told = story(message.pk)
    assert told is not None
    assert len(told.events) == 1


def test_resend_that_does_not_say_which_recipient_settles_nobody(client: Client, message: OutboxMessage) -> None:
    """Nor is the first of them suppressed for another's bounce."""
    told = {
        "type": "email.bounced",
        "created_at": "2026-11-22T23:41:12.126Z",
        "data": {
            "created_at": "2026-11-22T23:41:11.894719+00:00",
            "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
            "message_id": message.message_id,
            "from": "shop@example.org",
            "to": [A, B],
            "subject": "Your order",
            "bounce": {"message": "The recipient's email provider sent a hard bounce message.", "type": "Permanent"},
        },
    }
    post(client, "resend", told, **{"svix-id": "msg_1"})
    assert (state_of(A), state_of(B)) == (State.UNKNOWN, State.UNKNOWN)
    assert suppressed("default", [A, B]) == set()
    told["data"]["to"] = [B]  # type: ignore[index]
    post(client, "resend", told, **{"svix-id": "msg_2"})
    assert (state_of(A), state_of(B)) == (State.UNKNOWN, State.REJECTED)
    assert suppressed("default", [A, B]) == {B}


def test_opened_is_not_kept(client: Client, message: OutboxMessage) -> None:
    """Who reads what is nobody's business here."""
    post(client, "sendgrid", sendgrid(message, "open", useragent="Mozilla/5.0", ip="192.0.2.1"))
    told = story(message.pk)
    assert told is not None
    assert (told.events, state_of(A)) == ([], State.UNKNOWN)


def test_a_report_about_a_stranger_is_taken_and_forgotten(client: Client, message: OutboxMessage) -> None:
    """Messages that were sent directly are in no outbox."""
    post(client, "sendgrid", sendgrid(message, "delivered", **{"smtp-id": "<else@example.org>"}))
    told = story(message.pk)
    assert told is not None
    assert told.events == []


@pytest.mark.django_db(transaction=True)
def test_a_table_that_is_missing_does_not_fail_the_providers_call(
    client: Client, message: OutboxMessage, caplog: pytest.LogCaptureFixture
) -> None:
    """The provider is not to blame: it gets its 200, and the log says what was missed."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE reliable_email_providerevent RENAME TO elsewhere")
    try:
        post(client, "sendgrid", sendgrid(message, "delivered"))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO reliable_email_providerevent")
    [record] = [one for one in caplog.records if one.name == "reliable_email.events"]
    assert "note it beside its message" in record.getMessage()
    assert state_of(A) == State.UNKNOWN


def test_show_prints_the_events(client: Client, message: OutboxMessage) -> None:
    """In the order in which they happened, by whom, with the provider's words."""
    post(client, "sendgrid", sendgrid(message, "deferred", response="450 4.2.1 too fast", timestamp=1790000100))
    post(client, "sendgrid", sendgrid(message, "processed"))
    out = io.StringIO()
    call_command("email_outbox", "show", str(message.pk), stdout=out)
    first, second = [line.strip() for line in out.getvalue().splitlines() if "SendGrid reported" in line]
    assert first.endswith(f"SendGrid reported: {A} queued")
    assert second.endswith(f"SendGrid reported: {A} deferred: 450 4.2.1 too fast")


def test_words_are_sealed_where_content_is(client: Client, message: OutboxMessage) -> None:
    """They may quote as much as a reply; the operator who has the key reads them."""
    from cryptography.fernet import Fernet

    from reliable_email.outbox.keyring import Keyring

    key = Fernet.generate_key().decode()
    with override_settings(RELIABLE_EMAIL={"ENCRYPTION_KEYS": [key]}):
        OutboxMessage.objects.update(encryption_key=Keyring([key]).current, subject=Keyring([key]).seal_text("Hi"))
        post(client, "sendgrid", sendgrid(message, "bounce", reason="550 no such user a@example.net"))
        told = story(message.pk)
        assert told is not None
        assert "no such user" not in told.events[0].detail
        out = io.StringIO()
        call_command("email_outbox", "show", str(message.pk), stdout=out)
        assert "550 no such user" in out.getvalue()


def test_a_report_never_shortens_what_is_on_the_list(client: Client, message: OutboxMessage) -> None:
    """A person's "for ever" is not made half a year by a bounce."""
    suppress([A], reason="asked by phone", source="by hand")
    post(client, "brevo", brevo(message, "hard_bounce", reason="550 no such user"))
    row = Suppression.objects.get()
    assert (row.reason, row.source, row.expires_at) == ("asked by phone", "by hand", None)
