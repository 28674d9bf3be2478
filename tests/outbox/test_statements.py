"""How many statements the outbox costs: exact numbers, whatever the machine is doing."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from reliable_email.delivery.quota import used
from reliable_email.delivery.route_memory import MemoryRouteStateStore, RouteStateStore
from reliable_email.delivery.submission import Priority
from reliable_email.outbox.intake.enqueue import QueueOptions, enqueue
from reliable_email.outbox.keyring import Keyring
from reliable_email.outbox.rows import reservations
from reliable_email.outbox.rows.claim import Claim, Wanted
from reliable_email.outbox.rows.journal import Written, commit_together
from reliable_email.outbox.rows.settle import AttemptRow, Settlement
from reliable_email.outbox.worker.batch import BatchOptions
from reliable_email.outbox.worker.claim_task import ClaimTask, ClaimTaskOptions
from reliable_email.outbox.worker.steps import Write
from reliable_email.providers import Quota
from reliable_email.store.memory.route_state import DatabaseRouteStateStore
from reliable_email.store.tables.states import State
from reliable_email.testing.server import ScriptedServer
from tests.outbox.desk import smtp_route, states, submission, worker
from tests.outbox.driving import run_here
from tests.outbox.network import Network


class Foreman:
    """Says yes to everything."""

    name = "w"
    is_heard = False

    def may_claim(self) -> bool:
        """See the protocol."""
        return True

    may_go_on = may_authorize = may_claim

    def wanted(self) -> Wanted:
        """See the protocol."""
        return Wanted(environment="")

    def has_claimed(self, taken: Claim) -> tuple[int, ...]:
        """See the protocol."""
        return ()

    def has_written(self, settlements: Sequence[Settlement], attempts: Sequence[AttemptRow], written: Written) -> None:
        """See the protocol."""

    def has_finished(self, taken: Claim, transactions: int) -> None:
        """See the protocol."""


@contextmanager
def statements(using: str) -> Iterator[list[str]]:
    """What this thread's connection executes."""
    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not sql.startswith("BEGIN"):  # SQLite's drivers say it aloud
            seen.append(sql)
        return execute(sql, params, many, context)

    with connections[using].execute_wrapper(note):
        yield seen


def drained(using: str, count: int, *, quotas: tuple[Quota, ...] = (), store: RouteStateStore | None = None) -> int:
    """Statements of a claim of so many messages, from the claim to the last outcome."""
    enqueue([submission() for _ in range(count)], QueueOptions(mailer="routes", using=using))
    with statements(using) as seen:
        assert work(using, quotas=quotas, store=store) == count
    return len(seen)


def work(using: str, *, quotas: tuple[Quota, ...] = (), store: RouteStateStore | None = None) -> int:
    """A worker's line to a server that takes everything claims once; how many recipients it has claimed."""
    route = Network().route(quotas=quotas)

    def write(asked: Write) -> None:
        [written] = commit_together(using, [asked.request], keyring=Keyring())
        asked.done(written)

    line = ClaimTask(
        ClaimTaskOptions(batch_options=BatchOptions(using=using, worker="w")),
        Foreman(),
        routes_of=lambda mailer: [route],
        store=store or MemoryRouteStateStore(),
        suspects=threading.Lock(),
    )
    return run_here(line.work(), write)


def test_a_drained_message_costs_one_write(using: str) -> None:
    """PostgreSQL: one statement settles message n, notes its attempt and permits n+1; elsewhere three."""
    few, many = drained(using, 10), drained(using, 30)
    assert set(states(using)) == {State.ACCEPTED}
    a_message = 1 if connections[using].vendor == "postgresql" else 3
    assert many - few == 20 * a_message
    assert few - 10 * a_message <= 8  # claim, messages, suppressions, contents, and the last outcome


@pytest.mark.parametrize("limit", [10_000, 1_000_000])
def test_a_quota_costs_a_message_no_statement(using: str, limit: int) -> None:
    """Its route's row is changed in the same commits, and where each change is a statement, for many at once."""
    quotas = (Quota(window_seconds=86400, limit=limit), Quota(window_seconds=3600, limit=limit))
    store = DatabaseRouteStateStore(using)
    assert store.reserve(Network().route(quotas=quotas), 1, priority=Priority.HIGH)
    few, many = (drained(using, count, quotas=quotas, store=store) for count in (10, 30))
    assert set(states(using)) == {State.ACCEPTED}
    a_message = 1 if connections[using].vendor == "postgresql" else 3
    assert many - few <= 20 * a_message
    reservations.give_back(store)
    assert used(DatabaseRouteStateStore(using).ledger(Network().route(quotas=quotas)), quotas[0], now=store.now()) == 41


def test_one_message_is_queued_by_two_inserts_at_most(using: str) -> None:
    """And by no SELECT; on PostgreSQL both are one statement."""
    connections[using].ensure_connection()
    with statements(using) as seen:
        enqueue([submission()], QueueOptions(mailer="routes", using=using, notify=False))
    assert len(seen) == (1 if connections[using].vendor == "postgresql" else 2)
    assert not any(sql.lstrip().upper().startswith("SELECT") for sql in seen)


def test_many_messages_are_queued_by_few_statements(using: str) -> None:
    """A hundred cost what ten times as many cost but for the size of the statements."""
    with statements(using) as seen:
        enqueue([submission() for _ in range(100)], QueueOptions(mailer="routes", using=using, notify=False))
    assert len(seen) <= 4
    assert len(states(using)) == 100


def test_a_worker_keeps_its_connections_to_the_database(using: str) -> None:
    """Twenty claims: no thread of it connects twice, though the site keeps none beyond a request (CONN_MAX_AGE)."""
    assert connections[using].settings_dict["CONN_MAX_AGE"] == 0
    opened: Counter[str] = Counter()

    def note(connection: BaseDatabaseWrapper, **others: object) -> None:
        if connection is connections[using]:  # those for commits alone are counted where they are slow
            opened[threading.current_thread().name] += 1

    enqueue([submission(to=(f"user{n}@example.com",)) for n in range(20)], QueueOptions(mailer="routes", using=using))
    connections[using].close()
    with ScriptedServer() as server:
        connection_created.connect(note)
        try:
            worker(using, smtp_route(server), connections=2, batch=1).run()
        finally:
            connection_created.disconnect(note)
    assert set(states(using)) == {State.ACCEPTED}
    # This thread lets go of its own while it waits for the lines.
    assert opened.pop(threading.current_thread().name) == 2
    assert set(opened.values()) == {1}


def test_a_row_in_hand_is_found_by_its_primary_key(using: str) -> None:
    """Whatever the statistics say of rows in hand: they are gathered when there are none."""
    if connections[using].vendor != "postgresql":
        pytest.skip("PostgreSQL plans by statistics")
    enqueue([submission() for _ in range(300)], QueueOptions(mailer="routes", using=using))
    with connections[using].cursor() as cursor:
        cursor.execute("ANALYZE")
    plans: list[str] = []

    def explain(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "synchronous_commit" in sql:
            with connections[using].connection.cursor() as cursor:
                taken = 0
                for statement in sql.split("; "):
                    count = statement.count("%s")
                    if statement.startswith("UPDATE"):
                        cursor.execute(f"EXPLAIN {statement}", params[taken : taken + count])
                        plans.extend(row[0] for row in cursor.fetchall() if "Index" in row[0] and " on " in row[0])
                    taken += count
        return execute(sql, params, many, context)

    with connections[using].execute_wrapper(explain):
        work(using)
    assert plans
    indexes = re.findall(r"(?:using|Bitmap Index Scan on) (\w+)", "\n".join(plans))
    assert set(indexes) == {"reliable_email_outboxrecipient_pkey"}
