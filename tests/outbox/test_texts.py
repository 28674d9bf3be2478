"""What a database's encoding cannot hold never blocks an outcome: it is stored escaped."""

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker

from reliable_email.classification import Cause
from reliable_email.delivery.content.building import build_submission
from reliable_email.delivery.failures import local_failure
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteEvent
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.operations.operate import note
from reliable_email.outbox.operations.provider_events import Report, note_report
from reliable_email.outbox.operations.suppressed import suppress
from reliable_email.outbox.rows.loading import load_contents, load_messages, load_submission
from reliable_email.smtp.protocol.wire_content import BytesContent
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.questions.filters import Filter
from reliable_email.store.sql.texts import encodings, escaped
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import EventKind, ProviderEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Action, Suppression
from reliable_email.store.tables.states import State
from reliable_email.testing.actions import reply
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer
from tests.outbox.acts import hold
from tests.outbox.conftest import created_database
from tests.outbox.desk import queue, row, smtp_route, states, worker
from tests.outbox.network import Network
from tests.services import require

HOSTILE = "Ok 😀 ż é \0 \ud83d"
ENCODINGS = [
    ("sqlite", ""),
    ("postgres", ""),
    ("postgres", "LATIN1"),
    ("postgres", "WIN1251"),
    ("postgres", "SQL_ASCII"),
    ("mariadb", ""),
    ("mariadb", "utf8mb3"),
    ("mariadb", "latin1"),
]


@pytest.fixture(scope="module", params=ENCODINGS, ids=lambda one: " ".join(one).strip())
def narrow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """The alias of a database in an encoding."""
    vendor, encoding = request.param
    if vendor != "sqlite":
        require(vendor)
    alias = f"texts_{vendor}_{encoding}".lower()
    name = f"test_{alias}_{os.getpid()}"
    if vendor == "sqlite":
        name = str(tmp_path_factory.mktemp("texts") / "texts.sqlite3")
    with created_database(vendor, alias, name, encoding), django_db_blocker.unblock():
        call_command("migrate", "reliable_email", database=alias, verbosity=0)
        yield alias
        connections[alias].close()


@pytest.fixture(autouse=True)
def empty(narrow: str) -> Iterator[None]:
    """No rows are left over."""
    yield
    for model in (Attempt, ProviderEvent, OutboxRecipient, OutboxMessage, Suppression):
        model._base_manager.using(narrow).all().delete()


def test_a_reply_that_a_column_cannot_hold_is_accepted_all_the_same(narrow: str) -> None:
    """The server has the message: its words are stored as far as they can be."""
    queue(narrow)
    with ScriptedServer(Script(final_reply=reply("250 Ok 😀 ż é"))) as server:
        worker(narrow, smtp_route(server)).run()
    one = row(narrow)
    assert (one.state, one.crashes) == (State.ACCEPTED, 0)
    assert one.reply_text == escaped("Ok 😀 ż é", encodings(connections[narrow]))
    assert Attempt.objects.using(narrow).get().reply_text == one.reply_text


@pytest.mark.parametrize("number", [1, 5], ids=["alone", "together"])
def test_words_of_foreign_code_are_stored_whatever_they_hold(narrow: str, number: int) -> None:
    """NUL and half characters in the reply and in the detail."""
    for n in range(number):
        queue(narrow, f"ok{n}@example.com")
    network = Network()
    network.final = "550 5.7.1 message content rejected 😀 ż \0 \ud83d"
    worker(narrow, network.route()).run()
    assert set(states(narrow)) == {State.REJECTED}
    assert all("\\x00" in text for text in Attempt.objects.using(narrow).values_list("reply_text", flat=True))


def test_a_subject_that_a_column_cannot_hold_is_queued_and_sent_whole(narrow: str) -> None:
    """What is stored for people is escaped; the content is bytes."""
    message = EmailMessage("Grüße 😀 ż", "Hello.", "site@example.org", ["ok@example.com"])
    enqueue([build_submission(message)], QueueOptions(mailer="routes", using=narrow))
    stored = OutboxMessage.objects.using(narrow).get()
    assert stored.subject == escaped("Grüße 😀 ż", encodings(connections[narrow]))
    with ScriptedServer() as server:
        worker(narrow, smtp_route(server)).run()
        assert b"=?utf-8?" in server.messages[0].content.lower()


def test_fields_for_a_providers_api_come_back_as_they_were(narrow: str) -> None:
    """They go out as they are stored: an escape in them would be read by people."""
    message = EmailMessage("Grüße 😀 ż", "Hello 😀 ż.", "site@example.org", ["ok@example.com"])
    enqueue([build_submission(message)], QueueOptions(mailer="routes", using=narrow, keeps_all=True))
    [stored] = load_messages(narrow, [OutboxMessage.objects.using(narrow).get().pk])[0].values()
    [content] = load_contents(narrow, [stored]).values()
    loaded = load_submission(narrow, stored, BytesContent(content), Keyring()).message
    assert loaded is not None
    assert (loaded.subject, loaded.body) == ("Grüße 😀 ż", "Hello 😀 ż.")


def test_an_address_is_never_escaped(narrow: str) -> None:
    """It would be another one: the caller is told."""
    message = EmailMessage("Hello", "Hello.", "site@example.org", ["ż😀@example.com"])
    submission = build_submission(message)
    if encodings(connections[narrow]) in (("utf-8",), ("sql_ascii",)):
        enqueue([submission], QueueOptions(mailer="routes", using=narrow))
        assert row(narrow).address == "ż😀@example.com"
        return
    with pytest.raises(ValueError, match="cannot store the address"):
        enqueue([submission], QueueOptions(mailer="routes", using=narrow))
    assert not OutboxMessage.objects.using(narrow).exists()


def test_reports_acts_and_lists_take_any_text(narrow: str) -> None:
    """What providers and people say is evidence as well."""
    sent = queue(narrow)
    report = Report(
        names=[sent.message_id, HOSTILE],
        recipient="ok@example.com",
        is_certain=True,
        kind=EventKind.BOUNCED,
        source=HOSTILE,
        event_id="1",
        at=None,
        detail=HOSTILE,
    )
    assert note_report(report, narrow).is_known
    assert "\\x00" in ProviderEvent.objects.using(narrow).get().detail
    note("cancel", actor=HOSTILE, target=HOSTILE, reason=HOSTILE, detail={HOSTILE: HOSTILE}, using=narrow)
    assert "\\x00" in Action.objects.using(narrow).order_by("-pk")[0].reason
    hold(Filter(), actor=HOSTILE, reason=HOSTILE, using=narrow)
    suppress(["ok@example.com"], reason=HOSTILE, source=HOSTILE, lifetime=timedelta(days=1), using=narrow)
    assert "\\x00" in Suppression.objects.using(narrow).get().reason


def test_what_a_route_said_is_shared_whatever_it_holds(narrow: str) -> None:
    """Other processes hear that it is closed."""
    route = Route(alias="route", transport=Network(), fingerprint="f")
    failure = local_failure(Cause.REPUTATION_BLOCKED, HOSTILE)
    DatabaseRouteStateStore(narrow).tell(route, RouteEvent(failure=failure, effect=Effect.BLOCKED))
    other = DatabaseRouteStateStore(narrow)
    assert other.read(route).evidence is not None
