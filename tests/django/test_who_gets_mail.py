"""`only_to` and the suppression list at the doors that send at once, over a real socket and a real table."""

import asyncio
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.db import connection, connections
from django.utils import timezone

from reliable_email import asend
from reliable_email.classification import Cause
from reliable_email.exceptions import DeliveryError
from reliable_email.store.tables.shared import Suppression
from reliable_email.testing import delivery_of
from reliable_email.testing.server import ScriptedServer
from tests.django.conftest import use_mailers
from tests.django.post import A, B, backend_for, message, received


def test_only_to_keeps_mail_from_everybody_else() -> None:
    """A staging site with real addresses in its database writes to nobody by mistake."""
    with ScriptedServer() as server:
        one = message(A, "dev@example.org")
        backend = backend_for(server, only_to=["example.org"])
        assert backend.send_messages([one]) == 1
        assert received(server) == [("dev@example.org",)]
        assert delivery_of(one).recipients[A].cause is Cause.SUPPRESSED
        with pytest.raises(DeliveryError, match="only_to"):
            backend.send_messages([message(A)])


def test_redirect_to_gets_what_was_for_others_with_their_names() -> None:
    """One box holds what the site would have sent."""
    with ScriptedServer() as server:
        backend = backend_for(server, only_to=["example.org"], redirect_to="box@example.org")
        assert backend.send_messages([message(A, B)]) == 1
        assert received(server) == [("box@example.org",)]
        assert f"X-Redirected-For: {A}\r\n".encode() in server.messages[0].content


@pytest.mark.django_db
class TestSuppressions:
    """The table is the one that the outbox asks too."""

    def test_a_suppressed_address_gets_nothing_and_the_others_do(self) -> None:
        """Whatever case it is written in."""
        Suppression.objects.create(address=A, reason="complaint", source="hand", created_at=timezone.now())
        with ScriptedServer() as server:
            one = message(A.upper(), B)
            assert backend_for(server).send_messages([one]) == 1
            assert received(server) == [(B,)]
            assert delivery_of(one).recipients[A.upper()].cause is Cause.SUPPRESSED

    def test_an_expired_line_of_the_list_suppresses_nobody(self) -> None:
        """Its time is over."""
        past = timezone.now() - timedelta(days=1)
        Suppression.objects.create(address=A, created_at=past, expires_at=past)
        with ScriptedServer() as server:
            assert backend_for(server).send_messages([message(A)]) == 1

    def test_a_list_that_cannot_be_read_holds_no_mail_up_and_breaks_no_transaction(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The caller's own queries go on afterwards."""
        if connection.vendor == "mysql":
            pytest.skip("a change of a table commits there, and so could not be undone")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE reliable_email_suppression RENAME TO elsewhere")
        with ScriptedServer() as server:
            assert backend_for(server).send_messages([message(A)]) == 1
        assert "suppression list cannot be read" in caplog.text
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO reliable_email_suppression")
        assert not Suppression.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_thread_that_only_sends_keeps_no_connection_to_the_database() -> None:
    """The list was asked over one, which nobody else would close."""
    left_open: list[bool] = []

    def send(server: ScriptedServer) -> None:
        assert backend_for(server).send_messages([message(A)]) == 1
        left_open.extend(one.connection is not None for one in connections.all(initialized_only=True))
        for one in connections.all(initialized_only=True):
            one.inc_thread_sharing()
            one.close()

    with ScriptedServer() as server:
        thread = threading.Thread(target=send, args=(server,))
        thread.start()
        thread.join()
    assert left_open
    assert not any(left_open)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["direct", "failover", "asend"])
def test_a_send_from_a_coroutine_asks_the_list(door: str, overrides: list[Any]) -> None:
    """Django forbids database work there, so a thread asks; nobody who is on the list gets mail by it."""
    Suppression.objects.create(address=B, created_at=timezone.now())

    async def send(one: EmailMessage) -> int:
        if door == "asend":
            return await asend(one)
        return one.send()

    with ScriptedServer() as server:
        route = {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": server.options(timeout=5)}
        over = {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["route"]}}
        override = use_mailers({"default": over if door == "failover" else route, "route": route})
        override.enable()
        overrides.append(override)
        assert asyncio.run(send(message(A))) == 1
        with pytest.raises(DeliveryError, match="suppression list"):
            asyncio.run(send(message(B)))
        with pytest.raises(DeliveryError, match="suppression list"):
            message(B).send()
        assert received(server) == [(A,)]


@pytest.mark.django_db
def test_a_send_from_a_coroutine_goes_out_where_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the database is away: a list that cannot be asked stops no mail."""
    start = threading.Thread.start

    def start_most(thread: threading.Thread) -> None:
        if thread.name == "reliable-email-question":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def send(server: ScriptedServer) -> int:
        return backend_for(server).send_messages([message(A)])

    monkeypatch.setattr(threading.Thread, "start", start_most)
    with ScriptedServer() as server:
        assert asyncio.run(send(server)) == 1
    assert "mail is sent without it" in caplog.text


def test_a_site_without_a_database_sends() -> None:
    """The app is installed for its commands and checks alone."""
    script = """
import sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["reliable_email"], DATABASES={})
import django
django.setup()
from django.core.mail import EmailMessage
from reliable_email.backends import ReliableSMTPBackend
backend = ReliableSMTPBackend(host="127.0.0.1", port=int(sys.argv[1]))
print(backend.send_messages([EmailMessage("s", "b", "me@example.org", ["a@example.net"])]))
"""
    with ScriptedServer() as server:
        ended = subprocess.run([sys.executable, "-c", script, str(server.port)], capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr
        assert received(server) == [(A,)]
