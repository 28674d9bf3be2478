"""What projects test with: the outbox inside a TestCase, on every database, by real routes, in few statements."""

from collections.abc import Iterator

import pytest
from django.core import mail
from django.core.mail import EmailMessage, send_mail
from django.db import connections, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from reliable_email import submit
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.testing import (
    assert_delivered,
    assert_outcome,
    assert_queued,
    deliver_outbox,
    outbox_over,
)
from reliable_email.testing.pytest_plugin import MailOutbox
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, close
from reliable_email.testing.simulated import simulated
from tests.django.conftest import use_mailers
from tests.outbox.conftest import database, using  # noqa: F401 - fixtures

SITE = "site@example.org"
STATEMENTS_A_MESSAGE = 5


@pytest.fixture
def in_transaction(using: str) -> Iterator[str]:  # noqa: F811 - the fixture
    """A database, inside a transaction as TestCase has one."""
    with transaction.atomic(using=using):
        yield using
        transaction.set_rollback(True, using=using)


def test_each_outcome_is_seen_inside_one_transaction(in_transaction: str) -> None:
    """Accepted, refused, to be tried again, unknown; by a provider's own words, on each database."""
    alias = in_transaction
    later = Script(rcpt={"later@example.com": "450 4.2.0 greylisted"})
    lost = Script(final_reply=close())
    with (
        simulated("gmail", unknown_recipients=["gone@example.com"], verified_senders=None) as gmail,
        outbox_over(gmail, database=alias),
    ):
        send_mail("Your order", "Text", SITE, ["ann@example.com", "gone@example.com"])
        send_mail("Another", "Text", SITE, ["bob@example.com"])
        assert len(assert_queued(using=alias)) == 2
        assert_queued(to="ann@EXAMPLE.com", subject="order", count=1, using=alias)
        assert deliver_outbox(using=alias) == 2
        assert_delivered("ann@example.com", "bob@example.com", using=alias)
        assert_outcome("gone@example.com", "rejected", cause="mailbox_unknown", reply="550", using=alias)
        assert sorted(address for one in gmail.messages for address in one.recipients) == [
            "ann@example.com",
            "bob@example.com",
        ]
        assert_queued(count=0, using=alias)
    with ScriptedServer(later) as server, outbox_over(server, database=alias):
        send_mail("s", "b", SITE, ["later@example.com"])
        deliver_outbox(using=alias)
        assert_outcome("later@example.com", "queued", cause="greylisted", using=alias)
        assert deliver_outbox(using=alias) == 0
        assert deliver_outbox(using=alias, let_time_pass=True) == 1
    with ScriptedServer(lost) as server, outbox_over(server, database=alias):
        send_mail("s", "b", SITE, ["lost@example.com"])
        deliver_outbox(using=alias)
        assert_outcome("lost@example.com", "unknown", using=alias)


def test_a_message_costs_few_statements(in_transaction: str) -> None:
    """However many there are."""
    alias = in_transaction
    with ScriptedServer() as server, outbox_over(server, database=alias):
        for number in range(20):
            send_mail("s", "b", SITE, [f"user{number}@example.com"])
        with CaptureQueriesContext(connections[alias]) as captured:
            assert deliver_outbox(using=alias) == 20
        assert len(server.messages) == 20
        assert len(captured) <= 20 * STATEMENTS_A_MESSAGE


def test_a_second_route_takes_over(in_transaction: str) -> None:
    """As in production."""
    alias = in_transaction
    with (
        ScriptedServer(Script(mail="451 4.3.0 trouble")) as bad,
        ScriptedServer() as good,
        outbox_over(bad, good, database=alias),
    ):
        send_mail("s", "b", SITE, ["ann@example.com"])
        deliver_outbox(using=alias)
        assert assert_outcome("ann@example.com", "accepted", using=alias).route == "route2"


class InATestCase(TestCase):
    """As a project's own tests are."""

    def test_it_is_delivered(self) -> None:
        """And rolled back with the test."""
        with ScriptedServer() as server, outbox_over(server):
            submit(EmailMessage("Hello", "b", SITE, ["ann@example.com"]), idempotency_key="order 7")
            with transaction.atomic():
                send_mail("Nested", "b", SITE, ["bob@example.com"])
                deliver_outbox()
            assert_delivered("ann@example.com", "bob@example.com")
            assert len(server.messages) == 2

    def test_nothing_of_another_test_is_left(self) -> None:
        """The outbox is empty again."""
        assert not OutboxMessage.objects.exists()
        with pytest.raises(AssertionError, match="The outbox is empty"):
            assert_queued()

    def test_an_assertion_says_what_is_there(self) -> None:
        """With the server's words."""
        with (
            ScriptedServer(Script(rcpt={"gone@example.com": "550 5.1.1 no such user"})) as server,
            outbox_over(server),
        ):
            send_mail("Hello", "b", SITE, ["gone@example.com"])
            deliver_outbox()
            for wrong, words in (
                (lambda: assert_delivered("gone@example.com"), "550 5.1.1 no such user"),
                (lambda: assert_outcome("gone@example.com", "rejected", cause="content_rejected"), "mailbox_unknown"),
                (lambda: assert_outcome("gone@example.com", "rejected", reply="spam"), "no such user"),
                (lambda: assert_delivered("nobody@example.com"), "No message to nobody@example.com"),
                (lambda: assert_queued(to="gone@example.com"), "rejected"),
            ):
                with pytest.raises(AssertionError, match=words):
                    wrong()


@pytest.mark.smtp_server(Script(rcpt={"gone@example.com": "550 5.1.1 no such user"}))
def test_the_fixture_has_it_all(reliable_email_outbox: MailOutbox) -> None:
    """For those who use pytest."""
    send_mail("Hello", "b", SITE, ["ann@example.com", "gone@example.com"])
    reliable_email_outbox.assert_queued(subject="Hello")
    assert reliable_email_outbox.deliver() == 1
    reliable_email_outbox.assert_delivered("ann@example.com")
    reliable_email_outbox.assert_outcome("gone@example.com", "rejected", cause="mailbox_unknown")
    assert [one.recipients for one in reliable_email_outbox.server.messages] == [("ann@example.com",)]
    assert OutboxRecipient.objects.count() == 2


def test_a_test_may_put_memory_in_the_place_of_an_outbox() -> None:
    """What the site submits is then in `mail.outbox`, as what it sends."""
    memory = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    with use_mailers(memory):
        submit(EmailMessage("Hello", "b", SITE, ["ann@example.com"]), idempotency_key="order 7")
    assert [one.subject for one in mail.outbox] == ["Hello"]
