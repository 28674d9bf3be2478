"""Notices that a message asks for (RFC 3461) go through the queue, as all else that is said on the wire."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.mail import EmailMessage

from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.submission import DeliveryOptions
from reliable_email.mailers import mailers
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows.loading import load_contents, load_messages, load_submission
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.testing import deliver_outbox, outbox_over
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import smtp_route, submission, worker

KEYWORDS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN")
FULL = {"notify": "failure, delay", "ret": "headers", "envid": "order 17+4=21", "orcpt": True}
ORIGINALS = {"orcpt": {"ada@example.com": "żeta+old@bücher.example"}}


def said_to(server: ScriptedServer) -> list[str]:
    """What stands behind the addresses of each MAIL and RCPT."""
    lines = [line for connection in server.connections for line in connection.commands]
    return [line.partition(">")[2] for line in lines if line.startswith(("MAIL", "RCPT"))]


@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (FULL, [" RET=HDRS ENVID=order+2017+2B4+3D21", " NOTIFY=FAILURE,DELAY ORCPT=rfc822;ada@example.com"]),
        (ORIGINALS, ["", r" ORCPT=utf-8;\x{17C}eta\x{2B}old@b\x{FC}cher.example"]),
        (None, ["", ""]),
    ],
    ids=["all", "originals", "none"],
)
def test_a_queued_message_asks_for_its_notices(using: str, wishes: Any, said: list[str], is_sealed: bool) -> None:
    """By every database, encrypted or not."""
    keyring = Keyring([Fernet.generate_key().decode()] if is_sealed else [])
    queued = submission(to=["ada@example.com"], dsn=wishes)
    enqueue([queued], QueueOptions(mailer="routes", using=using, keyring=keyring))
    if is_sealed:
        assert "old@" not in repr(OutboxMessage.objects.using(using).get().fields)
    with ScriptedServer(keywords=KEYWORDS, size_limit=None) as server:
        worker(using, smtp_route(server), keyring=keyring).run()
        assert said_to(server) == said


@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize("keeps_all", [False, True])
def test_the_letter_for_a_providers_api_comes_back_beside_them(using: str, keeps_all: bool, is_sealed: bool) -> None:
    """An API knows no such wishes, and its message has no attribute that the caller did not set."""
    keyring = Keyring([Fernet.generate_key().decode()] if is_sealed else [])
    message = EmailMessage("Grüße 😀", "Hello.", "site@example.org", ["ada@example.com"])
    message.delivery_options = DeliveryOptions(dsn=ORIGINALS)  # type: ignore[attr-defined]
    options = QueueOptions(mailer="routes", using=using, keeps_all=keeps_all, keyring=keyring)
    enqueue([build_submission(message)], options)
    [stored] = load_messages(using, [OutboxMessage.objects.using(using).get().pk])[0].values()
    [content] = load_contents(using, [stored]).values()
    content = keyring.open(content, stored.encryption_key)
    loaded = load_submission(using, stored, BytesContent(content), keyring).message
    assert loaded is not None
    assert (loaded.subject, loaded.body.strip()) == ("Grüße 😀", "Hello.")
    assert not hasattr(loaded, "dsn")


@pytest.mark.django_db
def test_the_message_comes_before_the_route_for_queued_mail_too() -> None:
    """Each wish by itself; what the message leaves open is the route's."""
    with ScriptedServer(keywords=KEYWORDS, size_limit=None) as server:
        backend = "reliable_email.backends.ReliableSMTPBackend"
        entry = {"BACKEND": backend, "OPTIONS": server.options(dsn={"notify": "success", "ret": "full"})}
        with outbox_over(entry):
            message = EmailMessage("Hello", "Text", "site@example.org", ["Ada@Example.com"])
            wishes = {"notify": "never", "orcpt": {"Ada@Example.com": "old@example.net"}}
            message.delivery_options = DeliveryOptions(dsn=wishes)  # type: ignore[attr-defined]
            mailers["default"].send_messages([message])
            deliver_outbox()
        assert said_to(server) == [" RET=FULL", " NOTIFY=NEVER ORCPT=rfc822;old@example.net"]
