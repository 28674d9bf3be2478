"""What a provider reports afterwards, on every database: once each, true to the doubt, and kept as long as the journal.

What a report may do in each state is in `test_conformance`, all interleavings are in `test_transitions`.
"""

import io
import threading
from datetime import timedelta
from typing import Any

import django
import pytest
from django.core.mail import send_mail
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from reliable_email.delivery.submission import OnUnknown
from reliable_email.outbox.operations.provider_events import Noted, Report, note_report
from reliable_email.outbox.operations.prune import prune
from reliable_email.outbox.upkeep.reports import settle_by_events
from reliable_email.store.questions.audit import audit
from reliable_email.store.questions.stories import story
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.attempts import Attempt
from reliable_email.store.tables.events import EventKind, ProviderEvent
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from reliable_email.testing.simulated import simulated
from tests.outbox.desk import let_time_pass, queue, row, rows, states, worker
from tests.outbox.network import Network

LOST = "lost@example.com"


def report(message: OutboxMessage, kind: EventKind = EventKind.DELIVERED, *, to: str = LOST, **more: object) -> Report:
    """What SendGrid says of a message."""
    return Report(names=[message.message_id], recipient=to, kind=kind, source="SendGrid", **more)  # type: ignore[arg-type]


def lose(using: str, **wishes: object) -> tuple[OutboxMessage, Network]:
    """A message whose outcome is unknown."""
    network = Network()
    message = queue(using, LOST, **wishes)
    worker(using, network.route()).run()
    assert row(using).state == State.UNKNOWN
    return message, network


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (EventKind.DELIVERED, State.ACCEPTED),
        (EventKind.SENT, State.ACCEPTED),
        (EventKind.DEFERRED, State.ACCEPTED),
        (EventKind.COMPLAINED, State.ACCEPTED),
        (EventKind.BOUNCED, State.REJECTED),
        (EventKind.REJECTED, State.REJECTED),
        (EventKind.FAILED, State.REJECTED),
    ],
)
def test_a_report_ends_the_doubt(using: str, kind: EventKind, state: State) -> None:
    """What the provider has is accepted; what it could not deliver, or did not send, is rejected."""
    message, _ = lose(using)
    assert note_report(report(message, kind), using).has_settled
    assert (row(using).state, row(using).cause) == (state, "resolved")
    assert row(using).detail == f"reported by SendGrid: {kind}"
    assert audit(using).is_clean


def test_the_same_event_counts_once(using: str) -> None:
    """Providers deliver some twice; the story has it once, and the second changes nothing."""
    message, _ = lose(using)
    bounce = report(message, EventKind.BOUNCED, event_id="e1", detail="550 5.1.1 no such user")
    assert note_report(bounce, using) == Noted(is_known=True, is_new=True, has_settled=True)
    OutboxRecipient.objects.using(using).update(state=State.UNKNOWN, unknowns=1)
    assert note_report(bounce, using) == Noted(is_known=True)
    assert states(using) == [State.UNKNOWN]
    told = story(message.pk, using)
    assert told is not None
    assert [(one.kind, one.address, one.source, one.detail) for one in told.events] == [
        ("bounced", LOST, "SendGrid", "550 5.1.1 no such user")
    ]


def test_two_recipients_of_one_event_are_two_reports(using: str) -> None:
    """One notification may name several; each is settled for itself."""
    message = queue(using, "lost1@example.com", "lost2@example.com")
    worker(using, Network().route()).run()
    for one in rows(using):
        assert note_report(report(message, to=one.address, event_id="same"), using).has_settled
    assert states(using) == [State.ACCEPTED] * 2


def test_what_is_settled_stays_so(using: str) -> None:
    """A bounce of an accepted message is in its story and changes no outcome."""
    message = queue(using, "ok@example.com")
    worker(using, Network().route()).run()
    before = row(using)
    found = note_report(report(message, EventKind.BOUNCED, to="OK@example.com"), using)
    assert found == Noted(is_known=True, is_new=True)
    after = row(using)
    assert (after.state, after.detail, after.settled_at) == (before.state, before.detail, before.settled_at)
    told = story(message.pk, using)
    assert told is not None
    assert [one.kind for one in told.events] == ["bounced"]


def test_a_bounce_of_one_of_two_copies_leaves_the_doubt(using: str) -> None:
    """The other copy may have arrived; that it was delivered settles it all the same."""
    message, _ = lose(using)
    OutboxRecipient.objects.using(using).update(unknowns=2)
    assert not note_report(report(message, EventKind.BOUNCED), using).has_settled
    assert note_report(report(message, EventKind.DELIVERED), using).has_settled
    assert states(using) == [State.ACCEPTED]


def test_a_delivery_spares_the_second_copy(using: str) -> None:
    """P2: a resend that is due is not sent once the provider says that it has the first."""
    message, network = lose(using, on_unknown=OnUnknown.RESEND)
    assert row(using).due_at is not None
    note_report(report(message), using)
    let_time_pass(using)
    worker(using, network.route()).run()
    assert states(using) == [State.ACCEPTED]
    assert Attempt.objects.using(using).count() == 1


def test_an_event_that_is_quicker_than_the_doubt_settles_it_later(using: str) -> None:
    """The provider reports while the worker still waits for the reply, and then the connection is lost."""
    message = queue(using, LOST)
    OutboxRecipient.objects.using(using).update(
        state=State.AUTHORIZED, authorized_at=DatabaseNow(), due_at=None, lease_until=DatabaseNow(60)
    )
    assert note_report(report(message), using) == Noted(is_known=True, is_new=True)
    assert settle_by_events(using, environment="") == 0
    OutboxRecipient.objects.using(using).update(state=State.UNKNOWN, unknowns=1, lease_until=None)
    assert settle_by_events(using, environment="another") == 0
    assert settle_by_events(using, environment="") == 1
    assert (row(using).state, row(using).detail) == (State.ACCEPTED, "reported by SendGrid: delivered")


def test_a_worker_looks_for_such_events(using: str) -> None:
    """Nobody has to ask for it."""
    message = queue(using, LOST)
    note_report(report(message), using)
    OutboxRecipient.objects.using(using).update(
        state=State.UNKNOWN, unknowns=1, due_at=None, authorized_at=DatabaseNow(-60), settled_at=DatabaseNow()
    )
    queue(using, "ok@example.com")
    worker(using, Network().route()).run()
    assert states(using) == [State.ACCEPTED] * 2


def test_a_report_from_before_the_last_attempt_says_nothing_of_it(using: str) -> None:
    """After a requeue the older copy's bounce is history."""
    message = queue(using, LOST)
    note_report(report(message, EventKind.BOUNCED), using)
    OutboxRecipient.objects.using(using).update(
        state=State.UNKNOWN, unknowns=1, due_at=None, authorized_at=DatabaseNow(60)
    )
    assert settle_by_events(using, environment="") == 0


def test_the_providers_id_finds_the_message(using: str) -> None:
    """For providers that put a Message-ID of their own."""
    message, _ = lose(using)
    Attempt.objects.using(using).update(provider_message_id="pm-1")
    found = Report(names=["pm-1"], recipient=LOST, kind=EventKind.DELIVERED, source="Postmark")
    assert note_report(found, using).has_settled
    assert ProviderEvent.objects.using(using).get().message_id == message.pk


def test_the_id_in_the_final_reply_finds_the_message(using: str) -> None:
    """Amazon SES says it at the end of the transaction, and puts a Message-ID of its own."""
    with simulated("ses") as server:
        mailers = {
            "default": {
                "BACKEND": "reliable_email.backends.OutboxBackend",
                "OPTIONS": {"using": "ses", "database": using},
            },
            "ses": {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": server.options()},
        }
        older = {"EMAIL_BACKEND": "reliable_email.backends.DefaultMailer"} if django.VERSION < (6, 1) else {}
        with override_settings(MAILERS=mailers, **older):
            send_mail("Hello", "World", "site@example.org", ["ok@example.com"])
            call_command("email_worker", "--database", using, "--until-empty", stdout=io.StringIO())
    given = Attempt.objects.using(using).get().provider_message_id
    assert given == row(using).provider_message_id == "0102018f3c2a4b5d-6e7f8091-a2b3-c4d5-e6f7-0123456789ab-000000"
    found = Report(names=[given], recipient="ok@example.com", kind=EventKind.BOUNCED, source="Amazon SES")
    assert note_report(found, using) == Noted(is_known=True, is_new=True)


def test_a_message_id_without_its_brackets_is_understood(using: str) -> None:
    """Some providers leave them out."""
    message, _ = lose(using)
    bare = Report(names=[message.message_id.strip("<>")], recipient=LOST, kind=EventKind.DELIVERED, source="a provider")
    assert note_report(bare, using).has_settled


def test_a_message_id_that_was_used_twice_settles_nobody(using: str) -> None:
    """Which of the two is meant is not known: it is noted at the newer one, and a person decides."""
    lose(using)
    second = queue(using, LOST)
    first = OutboxMessage.objects.using(using).earliest("id")
    OutboxMessage.objects.using(using).update(message_id=first.message_id)
    OutboxRecipient.objects.using(using).update(state=State.UNKNOWN, unknowns=1, due_at=None)
    assert not note_report(report(first), using).has_settled
    assert ProviderEvent.objects.using(using).get().message_id == second.pk
    assert states(using) == [State.UNKNOWN] * 2


def test_what_nobody_knows_is_left_alone(using: str) -> None:
    """Messages that were not queued here, and recipients that the message never had."""
    message, _ = lose(using)
    stranger = Report(names=["<x@elsewhere>", ""], recipient=LOST, kind=EventKind.DELIVERED, source="SendGrid")
    assert note_report(stranger, using) == Noted()
    found = note_report(report(message, to="else@example.com"), using)
    assert found == Noted(is_known=True, is_new=True)
    event = ProviderEvent.objects.using(using).get()
    assert (event.position, event.address) == (None, "else@example.com")
    assert states(using) == [State.UNKNOWN]


def test_events_are_pruned_with_the_journal(using: str) -> None:
    """They hold addresses and what servers said."""
    message, _ = lose(using)
    note_report(report(message), using)
    OutboxMessage.objects.using(using).update(created_at=DatabaseNow(-90000))
    OutboxRecipient.objects.using(using).update(settled_at=DatabaseNow(-90000))
    assert prune(content_after=timedelta(days=1), journal_after=timedelta(days=1), using=using).messages == 1
    assert not ProviderEvent.objects.using(using).exists()
    connections[using].check_constraints()


def test_four_webhooks_at_once_are_one_event(using: str) -> None:
    """A provider that is not answered in time posts again while the first call is under way."""
    message, _ = lose(using)
    start = threading.Barrier(4)
    found: list[Noted] = []

    def note() -> None:
        try:
            start.wait(10)
            found.append(note_report(report(message, EventKind.BOUNCED, event_id="e1"), using))
        finally:
            connections[using].close()

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((one.is_new, one.has_settled) for one in found) == [(False, False)] * 3 + [(True, True)]
    assert ProviderEvent.objects.using(using).count() == 1


def test_a_worker_that_claims_at_the_same_time_is_not_disturbed(using: str) -> None:
    """Whoever is first: the delivery that was reported ends the doubt, and the books agree."""
    message, network = lose(using, on_unknown=OnUnknown.RESEND)
    let_time_pass(using)
    start = threading.Barrier(2)

    def note() -> None:
        try:
            start.wait(10)
            note_report(report(message), using)
        finally:
            connections[using].close()

    thread = threading.Thread(target=note)
    thread.start()
    start.wait(10)
    worker(using, network.route()).run()
    thread.join()
    settle_by_events(using, environment="")
    assert states(using) == [State.ACCEPTED]
    assert audit(using).is_clean
    assert ProviderEvent.objects.using(using).count() == 1


def test_a_delivery_that_is_noted_while_a_second_copy_is_permitted_is_not_forgotten(using: str) -> None:
    """The permission comes between the event's row and its settlement; the second copy's reply is lost, too."""
    if connections[using].vendor == "sqlite":
        pytest.skip("SQLite lets one write at a time")
    message, _ = lose(using, on_unknown=OnUnknown.RESEND)

    def permit() -> None:
        OutboxRecipient.objects.using(using).update(
            state=State.AUTHORIZED, authorized_at=DatabaseNow(), lease_until=DatabaseNow(60), due_at=None
        )
        connections[using].close()

    def then_permit(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        done = execute(sql, parameters, many, context)
        if sql.startswith("INSERT") and "providerevent" in sql:
            thread = threading.Thread(target=permit)
            thread.start()
            thread.join()
        return done

    with connections[using].execute_wrapper(then_permit):
        assert not note_report(report(message), using).has_settled
    OutboxRecipient.objects.using(using).update(
        state=State.UNKNOWN, unknowns=2, lease_until=None, settled_at=DatabaseNow()
    )
    assert settle_by_events(using, environment="") == 1
    assert states(using) == [State.ACCEPTED]


def test_an_event_of_any_size_costs_little(using: str) -> None:
    """Whoever may post events could fill the tables, and have thousands of names looked for."""
    message, _ = lose(using)
    found = Report(
        names=[message.message_id, *(f"<{n}@{'x' * 5000}>" for n in range(10_000))],
        recipient=LOST,
        kind=EventKind.DELIVERED,
        source="s" * 5000,
        event_id="e" * 1_000_000,
        detail="d" * 1_000_000,
    )
    assert len(found.names) < 10
    assert note_report(found, using).has_settled
    event = ProviderEvent.objects.using(using).get()
    assert (len(event.detail), len(event.source)) == (2048, 100)
    strange = Report(names=["n" * 100_000], recipient="r" * 100_000, kind=EventKind.BOUNCED, source="a provider")
    assert note_report(strange, using) == Noted()
