"""The outbox in a project's own tests: queue, deliver, look, inside an ordinary `TestCase` and its one transaction.

    class OrderTests(TestCase):
        def test_the_customer_is_told(self):
            with simulated("gmail", unknown_recipients=["gone@example.com"]) as gmail, outbox_over(gmail):
                place_order(customer="ann@example.com")
                assert_queued(to="ann@example.com", subject="Your order")
                deliver_outbox()
                assert_delivered("ann@example.com")

`deliver_outbox()` takes what is due over the real routes, as a worker does, with the worker's own claim, journal and
decisions. It works in the calling thread and on its database connection, so that it sees what the test has not
committed, and nothing is left behind when the test is rolled back.
"""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import django
from django.db import transaction
from django.test import override_settings

from reliable_email import conf
from reliable_email.backends.failover import routes_for
from reliable_email.classification import Cause
from reliable_email.delivery.report import Outcome
from reliable_email.delivery.route_memory import store_in_use
from reliable_email.outbox.keyring import Keyring, configured_keyring
from reliable_email.outbox.rows.claim import Claim, Wanted
from reliable_email.outbox.rows.journal import Written, commit_in_steps
from reliable_email.outbox.rows.settle import AttemptRow, Settlement
from reliable_email.outbox.rows.sql import Changed, Tables
from reliable_email.outbox.upkeep.signalling import is_anybody_told, tell_settled
from reliable_email.outbox.worker.batch import BatchOptions
from reliable_email.outbox.worker.claim_task import ClaimTask, ClaimTaskOptions
from reliable_email.outbox.worker.steps import Rest, Steps, Write
from reliable_email.smtp.transaction import Aside, Wait, block
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from reliable_email.testing.reset import reset

__all__ = ["assert_delivered", "assert_outcome", "assert_queued", "deliver_outbox", "outbox_over"]

_WORKER = "deliver_outbox"


@contextmanager
def outbox_over(*servers: Any, database: str | None = None, **options: Any) -> Iterator[None]:
    """Make the default mailer an outbox over these servers, the preferred one first, for as long as the block lasts.

    Also a decorator. Django's test runner has put memory in the place of every mailer; within the block mail is really
    queued, and really sent to these servers.

    Args:
        servers: each a `ScriptedServer`, a simulated provider, or an entry of MAILERS.
        database: the outbox's.
        options: of the outbox.
    """
    names = [f"route{number}" for number in range(1, len(servers) + 1)]
    entries: dict[str, Any] = {
        "default": {
            "BACKEND": "reliable_email.backends.OutboxBackend",
            "OPTIONS": {"using": "routes", **({"database": database} if database else {}), **options},
        },
        "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": names}},
    }
    for name, server in zip(names, servers, strict=True):
        is_entry = isinstance(server, dict)
        entries[name] = (
            server
            if is_entry
            else {"BACKEND": "reliable_email.backends.ReliableSMTPBackend", "OPTIONS": server.options()}
        )
    settings: dict[str, Any] = {"MAILERS": entries}
    if django.VERSION < (6, 1):
        settings["EMAIL_BACKEND"] = "reliable_email.backends.DefaultMailer"
    reset()
    try:
        with override_settings(**settings):
            yield
    finally:
        reset()


def deliver_outbox(*, using: str | None = None, let_time_pass: bool = False) -> int:
    """Deliver the due messages; return the number of transactions.

    Args:
        using: the outbox's database; None for the router's choice.
        let_time_pass: first make due what waits for its time: `send_at`, or a retry.
    """
    alias = outbox_database(using)
    if let_time_pass:
        OutboxRecipient.objects.using(alias).exclude(due_at=None).update(due_at=DatabaseNow(-1))
    foreman = _Foreman(alias)
    keyring = configured_keyring()
    line = ClaimTask(
        ClaimTaskOptions(batch_options=BatchOptions(using=alias, worker=_WORKER, keyring=keyring)),
        foreman,
        routes_of=routes_for,
        store=store_in_use(),
        suspects=threading.Lock(),
    )
    while _drive(line.work(), alias, keyring):
        pass
    return foreman.transactions


def assert_queued(
    *, to: str | None = None, subject: str | None = None, count: int | None = None, using: str | None = None
) -> list[OutboxMessage]:
    """Assert that messages wait in the outbox; gives them.

    Args:
        to: a recipient that still waits.
        subject: what the subject contains.
        count: how many there are; None for at least one.
    """
    waiting = [row for row in _rows(using) if _outcome(row) is Outcome.QUEUED]
    keyring = configured_keyring()
    found: dict[int, OutboxMessage] = {}
    for row in waiting:
        if (to is None or _is(row, to)) and (subject is None or subject in _subject(row.message, keyring)):
            found[row.message.pk] = row.message
    wanted = count if count is not None else max(len(found), 1)
    if len(found) != wanted:
        words = " ".join(
            word for word in (f"to {to}" if to else "", f"with {subject!r} in the subject" if subject else "") if word
        )
        raise AssertionError(f"{wanted} queued message(s) {words} expected, {len(found)} found. {_there(using)}")
    return list(found.values())


def assert_delivered(*addresses: str, using: str | None = None) -> None:
    """Assert that a provider has accepted a message for each of these recipients."""
    for address in addresses:
        assert_outcome(address, Outcome.ACCEPTED, using=using)


def assert_outcome(
    address: str,
    outcome: Outcome | str,
    *,
    cause: Cause | str | None = None,
    reply: str | None = None,
    using: str | None = None,
) -> OutboxRecipient:
    """Assert what became of a recipient's newest message; gives its row.

    Args:
        address: in any spelling.
        outcome: "accepted", "rejected", "queued" (also while it waits for a retry), "unknown", "parked" …
        cause: why, such as "mailbox_unknown".
        reply: what the server's words contain.
    """
    wanted = Outcome(outcome)
    rows = [row for row in _rows(using) if _is(row, address)]
    if not rows:
        raise AssertionError(f"No message to {address} is in the outbox. {_there(using)}")
    row = rows[-1]
    if _outcome(row) is not wanted:
        raise AssertionError(f"{wanted} expected. {_told(row)}")
    if cause is not None and row.cause != str(cause):
        raise AssertionError(f"The cause {cause} expected. {_told(row)}")
    if reply is not None and reply not in _reply(row):
        raise AssertionError(f"A reply with {reply!r} expected. {_told(row)}")
    return row


class _Foreman:
    """The one worker that there is."""

    name = _WORKER

    def __init__(self, using: str) -> None:
        self._using = using
        self.transactions = 0

    def may_claim(self) -> bool:
        """Return True: a test's delivery may always claim."""
        return True

    def may_go_on(self) -> bool:
        """Return True: a test's delivery goes on to the end."""
        return True

    def may_authorize(self) -> bool:
        """Return True: a test's delivery always asks for permissions."""
        return True

    def wanted(self) -> Wanted:
        """Return the conditions on the rows to claim: those of this environment."""
        return Wanted(environment=conf.get().environment)

    def has_claimed(self, taken: Claim) -> Collection[int]:
        """Return no ids, so that the whole claim is delivered."""
        return ()

    @property
    def is_heard(self) -> bool:
        """Return whether a receiver of signals is connected."""
        return is_anybody_told()

    def has_written(self, settlements: Sequence[Settlement], attempts: Sequence[AttemptRow], written: Written) -> None:
        """Send the signals of what was written."""
        tell_settled(self._using, _Foreman, settlements, attempts, written.settled)

    def has_finished(self, taken: Claim, transactions: int) -> None:
        """Count the transactions of a claim."""
        self.transactions += transactions


class _InTransaction(Tables):
    """Writes as a part of the caller's transaction, where a worker would commit."""

    def run_together(self, name: str, steps: Sequence[Any]) -> Any:
        """Execute all, or nothing of it where one raises."""
        yield from ()  # others wait here for the database
        changed = []
        # A savepoint for each write would be half of all statements.
        with nullcontext() if self.connection.in_atomic_block else transaction.atomic(self.using):
            for step in steps:
                with self.connection.cursor() as cursor:
                    cursor.execute(step.sql, list(step.parameters))
                    ids = frozenset(int(row[0]) for row in cursor.fetchall()) if step.returns_ids else frozenset()
                    changed.append(Changed(cursor.rowcount, ids))
        return changed


def _drive(steps: Steps[Any], using: str, keyring: Keyring) -> Any:
    """Do what a line stops for, here and now."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        match step:
            case Write():
                _write(step, using, keyring)
            case Wait():
                block(step)
            case Rest():
                return 0
            case Aside():
                step.make()


def _write(step: Write, using: str, keyring: Keyring) -> None:
    committing = commit_in_steps(_InTransaction(using), [step.request], keyring=keyring)
    try:
        while True:
            next(committing)
    except StopIteration as end:
        step.done(end.value[0])
    except Exception as error:  # noqa: BLE001 - the line raises it where it waits for the answer
        step.done(None, error)


def _rows(using: str | None) -> list[OutboxRecipient]:
    rows = OutboxRecipient.objects.using(outbox_database(using)).select_related("message")
    return list(rows.defer("message__content").order_by("id"))


def _is(row: OutboxRecipient, address: str) -> bool:
    from reliable_email.delivery.report import address_key

    return address_key(row.address) == address_key(address)


def _outcome(row: OutboxRecipient) -> Outcome:
    return State(row.state).outcome


def _subject(message: OutboxMessage, keyring: Keyring) -> str:
    return keyring.open_text(message.subject, message.encryption_key) if message.encryption_key else message.subject


def _reply(row: OutboxRecipient) -> str:
    text = row.reply_text
    if row.message.encryption_key:
        text = configured_keyring().open_text(text, row.message.encryption_key)
    return " ".join(str(word) for word in (row.reply_code, row.reply_enhanced, text) if word)


def _told(row: OutboxRecipient) -> str:
    words = [f"{row.address} is {_outcome(row)}"]
    if row.cause:
        words.append(f"({row.cause})")
    if row.route:
        words.append(f"by {row.route}")
    said = _reply(row) or row.detail
    return " ".join(words) + (f": {said}" if said else ".")


def _there(using: str | None) -> str:
    rows = _rows(using)
    return f"There: {'; '.join(_told(row) for row in rows[-10:])}" if rows else "The outbox is empty."
