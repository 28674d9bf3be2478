"""What leaves the outbox is what went in: bytes for SMTP, the message again for other routes, also when encrypted."""

from typing import Any

import pytest
from anymail.message import AnymailMessage
from anymail.utils import UNSET
from cryptography.fernet import Fernet
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.test import override_settings

from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.route import Route
from reliable_email.delivery.transports.foreign import ForeignTransport
from reliable_email.mailers import mailers
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.intake.foreign_fields import NotStorable
from reliable_email.outbox.keyring import KeyMissing, Keyring
from reliable_email.outbox.rows.loading import SLICE_BYTES, SLICE_MESSAGES, StoredMessage, slices
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.django.conftest import use_mailers
from tests.outbox.desk import queue, row, submission, worker
from tests.outbox.network import Network


def rich_message() -> EmailMultiAlternatives:
    """Text, HTML, two attachments of one name, Bcc, Reply-To, a header, and anymail's attributes."""
    message = EmailMultiAlternatives(
        "Grüße",
        "Hallo {{ name }}",
        "Site <site@example.org>",
        ["Ada <ada@example.com>"],
        bcc=["bob@example.com"],
        cc=["eve@example.com"],
        reply_to=["help@example.org"],
        headers={"X-Campaign": "spring"},
    )
    message.attach_alternative("<p>Hallo</p>", "text/html")
    message.attach("a.csv", "name,qty\nabc,12\n", "text/csv")
    message.attach("a.csv", b"\x00\xff", "application/octet-stream")
    message.tags = ["welcome"]  # type: ignore[attr-defined]
    message.metadata = {"order": 7}  # type: ignore[attr-defined]
    return message


def test_smtp_routes_send_the_bytes_that_were_built_at_the_call(using: str) -> None:
    """Date and Message-ID included, on every attempt."""
    sent: list[bytes] = []
    network = Network(before_send=lambda job: sent.append(b"".join(job.content.chunks())))
    built = build_submission(rich_message())
    enqueue([built], QueueOptions(mailer="routes", using=using))
    worker(using, network.route()).run()
    assert sent == [b"".join(built.content.chunks())]


def test_an_idempotency_header_carries_the_message_id(using: str) -> None:
    """For providers that drop a second copy with the same key."""
    sent: list[bytes] = []
    network = Network(before_send=lambda job: sent.append(b"".join(job.content.chunks())))
    message = queue(using, "ok@example.com")
    worker(using, network.route(idempotency_header="Idempotency-Key")).run()
    assert sent[0].startswith(f"Idempotency-Key: {message.message_id.strip('<>')}\r\n".encode())


def test_encrypted_content_is_delivered_and_replies_are_sealed(using: str) -> None:
    """The wire gets the message; the tables keep it shut."""
    keyring = Keyring([Fernet.generate_key().decode()])
    sent: list[bytes] = []
    network = Network(before_send=lambda job: sent.append(b"".join(job.content.chunks())))
    secret = submission("secret words", to=("nouser@example.com", "ok@example.com"))
    enqueue([secret], QueueOptions(mailer="routes", using=using, keyring=keyring))
    worker(using, network.route(), keyring=keyring).run()
    assert b"secret words" in sent[0]
    refused = OutboxRecipient.objects.using(using).get(state=State.REJECTED)
    assert "user unknown" not in refused.reply_text
    message = OutboxMessage.objects.using(using).get()
    assert keyring.open_text(refused.reply_text, message.encryption_key) == "user unknown"


def test_a_worker_without_the_key_refuses_to_start(using: str) -> None:
    """It is said at once, and names the key by its fingerprint."""
    keyring = Keyring([Fernet.generate_key().decode()])
    enqueue([submission()], QueueOptions(mailer="routes", using=using, keyring=keyring))
    with pytest.raises(KeyMissing, match=keyring.current):
        worker(using, Network().route()).run()
    assert row(using).state == State.QUEUED


@pytest.mark.parametrize("left", [None, b""], ids=["deleted", "emptied"])
def test_content_that_is_gone_parks_the_recipient(using: str, left: bytes | None) -> None:
    """Somebody deleted it: nobody gets a blank mail, and the others of the batch go on."""
    gone = queue(using, "ok1@example.com")
    queue(using, "ok2@example.com")
    OutboxMessage.objects.using(using).filter(pk=gone.pk).update(content=left)
    worker(using, Network().route()).run()
    found = {one.address: (one.state, one.cause) for one in OutboxRecipient.objects.using(using)}
    assert found == {"ok1@example.com": ("parked", "content_gone"), "ok2@example.com": ("accepted", "")}


class Recorder(BaseEmailBackend):
    """A foreign backend."""

    sent: list[Any] = []  # noqa: RUF012 - one list for the test

    def send_messages(self, email_messages: Any) -> int:
        """Keep them."""
        self.sent.extend(email_messages)
        return len(email_messages)


def test_a_foreign_route_gets_the_message_again(using: str) -> None:
    """Everything that Django can say, and what anymail adds to it."""
    Recorder.sent.clear()
    route = Route(alias="api", transport=ForeignTransport(Recorder, alias="api"), is_foreign=True)
    enqueue([build_submission(rich_message())], QueueOptions(mailer="routes", using=using))
    worker(using, route).run()
    # In parts, where a claim had to leave a row that another statement was just looking at (SKIP LOCKED).
    parts = Recorder.sent
    assert sorted(one for part in parts for one in part.to) == ["Ada <ada@example.com>"]
    assert sorted(one for part in parts for one in part.cc) == ["eve@example.com"]
    assert sorted(one for part in parts for one in part.bcc) == ["bob@example.com"]
    for message in parts:
        assert (message.subject, message.body.strip()) == ("Grüße", "Hallo {{ name }}")
        assert message.reply_to == ["help@example.org"]
        assert [one[1] for one in message.alternatives] == ["text/html"]
        assert [one[0] for one in message.attachments] == ["a.csv", "a.csv"]
        assert message.attachments[1][1] == b"\x00\xff"
        assert (message.tags, message.metadata) == (["welcome"], {"order": 7})
        assert message.extra_headers["X-Campaign"] == "spring"
    assert [one.state for one in OutboxRecipient.objects.using(using)] == [State.ACCEPTED] * 3


@override_settings(RELIABLE_EMAIL={"MAX_QUEUED_BYTES": 5_000})
def test_a_message_that_is_too_large_to_queue_is_refused_at_the_call(using: str) -> None:
    """Whoever lets people upload would else fill the memory: what is queued is held several times over."""
    with pytest.raises(
        ValueError, match=r"has 1[0-9],\d{3} bytes, and at most 5,000 can be queued \(MAX_QUEUED_BYTES\)"
    ):
        queue(using, body="x" * 70 + "\n" * 6_000)
    assert not OutboxMessage.objects.using(using).exists()
    queue(using, body="x" * 1_000)


def test_what_cannot_be_stored_is_refused_at_the_call(using: str) -> None:
    """An attribute that is no JSON would be lost on the way."""
    message = rich_message()
    message.metadata = {"order": object()}  # type: ignore[attr-defined]
    with pytest.raises(NotStorable, match="metadata"):
        enqueue([build_submission(message)], QueueOptions(mailer="routes", using=using))


def test_contents_are_read_a_few_megabytes_at_a_time() -> None:
    """A slice ends where the next message would make it too large; a single larger one is a slice of its own."""
    sizes = [SLICE_BYTES // 2, SLICE_BYTES // 2, 1, SLICE_BYTES * 3, 5, *[1] * SLICE_MESSAGES]
    messages = [
        StoredMessage(
            id=n,
            message_id="",
            sender="",
            from_domain="",
            content_size=size,
            on_unknown=None,
            encryption_key="",
            traceparent="",
        )
        for n, size in enumerate(sizes)
    ]
    found = [[one.id for one in chosen] for chosen in slices(messages)]
    assert found[:3] == [[0, 1], [2], [3]]
    assert [len(chosen) for chosen in found[3:]] == [SLICE_MESSAGES, 1]
    assert [one for chosen in found for one in chosen] == list(range(len(sizes)))


def test_a_message_of_anymails_own_class_goes_through_the_tables_of_every_database(using: str) -> None:
    """What nobody set is no wish, and what JSON has no form for comes back all the same."""
    Recorder.sent.clear()
    message = AnymailMessage(
        "Hello", "Text", "Shop <shop@example.org>", ["Ada <ada@example.com>"], metadata={"z": "a\0b", "a": (1, "ü")}
    )
    message.attach("a.bin", b"\0\xff" * 3000, "application/octet-stream")
    route = Route(alias="api", transport=ForeignTransport(Recorder, alias="api"), is_foreign=True)
    enqueue([build_submission(message)], QueueOptions(mailer="routes", using=using))
    worker(using, route).run()
    (found,) = Recorder.sent
    assert isinstance(found, AnymailMessage)
    assert list(found.metadata.items()) == [("z", "a\0b"), ("a", (1, "ü"))]
    assert found.attachments == [("a.bin", b"\0\xff" * 3000, "application/octet-stream")]
    assert found.tags is UNSET
    assert row(using).state == State.ACCEPTED


def test_an_anymail_message_without_a_template_may_go_by_smtp(using: str) -> None:
    """The class alone says nothing about the routes; a template does."""
    entries = {
        "default": {
            "BACKEND": "reliable_email.backends.OutboxBackend",
            "OPTIONS": {"using": "smtp", "database": using},
        },
        "smtp": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": {"host": "mail.example.org"}},
    }
    with use_mailers(entries):
        backend = mailers["default"]
        message = AnymailMessage("Hello", "Text", "s@example.org", ["a@example.com"])
        assert backend.send_messages([message]) == 1
        message.template_id = "welcome"
        with pytest.raises(ValueError, match="template_id"):
            backend.send_messages([message])
    assert OutboxMessage.objects.using(using).count() == 1
