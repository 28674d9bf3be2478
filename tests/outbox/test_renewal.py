"""Leases are renewed beside the commits of the worker's own lines, and never stand in their way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connections

from reliable_email.outbox import faultpoints
from reliable_email.outbox.rows.claim import Claimed, Wanted, claim, renew
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import State
from tests.outbox.desk import claimed, let_leases_end, queue, rows, worker

PATIENCE_SECONDS = 2  # after which whoever waits for a lock is told


@contextmanager
def being_written(using: str, one: Claimed) -> Iterator[Callable[[], None]]:
    """The row, while somebody else's transaction has changed it and not committed yet; commits it when called."""
    other = connections.create_connection(using)
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("UPDATE reliable_email_outboxrecipient SET attempts = 1 WHERE id = %s", [one.id])
        yield other.commit
        other.commit()
    finally:
        other.close()


@pytest.fixture
def impatient(using: str) -> Iterator[str]:
    """A database with locks on rows, where nobody waits for long."""
    connection = connections[using]
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer, and no locks on rows")
    words = {
        "postgresql": f"SET lock_timeout = '{PATIENCE_SECONDS}s'",
        "mysql": f"SET SESSION innodb_lock_wait_timeout = {PATIENCE_SECONDS}",
    }
    with connection.cursor() as cursor:
        cursor.execute(words[connection.vendor])
    yield using
    connection.close()


def test_a_row_that_is_being_written_is_not_waited_for(impatient: str) -> None:
    """A commit holds some rows and wants others: a renewal that waited for the first with the others in its hands would
    have both stand still, until the database notices and throws one of them out.
    """
    using = impatient
    first, second, third = claimed(using, 3)
    before = {one.id: one.lease_until for one in rows(using)}
    with being_written(using, second):
        assert renew(using, [first.id, second.id, third.id], worker="w", lease_seconds=600) == 2
    after = {one.id: one.lease_until for one in rows(using)}
    assert [after[one.id] == before[one.id] for one in (first, second, third)] == [False, True, False]
    assert renew(using, [second.id], worker="w", lease_seconds=600) == 1


def test_a_row_that_was_passed_over_is_tried_again(impatient: str) -> None:
    """Commits are short: a moment later it is free."""
    using = impatient
    first, second = claimed(using, 2)
    with being_written(using, first) as commit:
        looked: list[str] = []

        def listen(name: str) -> None:
            if name == "renew":
                looked.append(name)
                if len(looked) == 2:
                    commit()

        faultpoints.listen(listen)
        try:
            assert renew(using, [first.id, second.id], worker="w", lease_seconds=600) == 2
        finally:
            faultpoints.reset()


def test_a_lease_that_has_ended_is_not_renewed(using: str) -> None:
    """Rescue may have looked at it already."""
    held = claimed(using, 2)
    let_leases_end(using)
    assert renew(using, [one.id for one in held], worker="w", lease_seconds=600) == 0


def test_nobody_renews_what_another_worker_holds(using: str) -> None:
    """Ids alone prove nothing: the row may have been claimed anew."""
    [one] = claimed(using, 1)
    assert renew(using, [one.id], worker="another", lease_seconds=600) == 0
    assert renew(using, [one.id], worker="w", lease_seconds=600) == 1


def test_a_row_that_another_line_has_claimed_again_is_still_renewed(using: str) -> None:
    """It went back to the queue before the end of its first claim; the end of that claim is not the second one's."""
    one = worker(using)
    queue(using)
    first = claim(using, Wanted(environment=""), worker=one.name, limit=9, lease_seconds=60)
    one.has_claimed(first)
    let_leases_end(using)
    OutboxRecipient.objects.using(using).update(state=State.QUEUED, due_at=DatabaseNow(-1), claimed_by="")
    second = claim(using, Wanted(environment=""), worker=one.name, limit=9, lease_seconds=60)
    assert [row.id for row in second.rows] == [row.id for row in first.rows]
    one.has_claimed(second)
    one.has_finished(first, 0)
    OutboxRecipient.objects.using(using).update(lease_until=DatabaseNow(1))
    before = rows(using)[0].lease_until
    one._renew()
    after = rows(using)[0].lease_until
    assert before is not None
    assert after is not None
    assert after > before, "nobody renews what is in hand"
