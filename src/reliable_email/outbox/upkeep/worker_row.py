# ruff: noqa: S608 - see tables
"""A worker's row: that it is there, for people; and what it leaves when it goes. Nothing is decided by that row."""

import os
import socket
from collections.abc import Collection
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from reliable_email.outbox.rows.sql import Tables, marks
from reliable_email.outbox.rows.transitions import RULES, Event
from reliable_email.store.sql.clock import DatabaseNow
from reliable_email.store.tables.shared import LOST, TASKS_PREFIX
from reliable_email.store.tables.shared import Worker as WorkerRow
from reliable_email.store.tables.states import State

_FORGET_SECONDS = 86400.0
_FORGET_TASKS_SECONDS = 3600.0


def arrive(using: str, name: str, environment: str, connections: int) -> None:
    """Write the row, and forget those that were silent for a day; for an hour where a fleet's tasks deliver."""
    rows = WorkerRow._base_manager.using(using)
    rows.filter(seen_at__lt=DatabaseNow(-_FORGET_SECONDS)).delete()
    of_tasks = rows.filter(name__startswith=TASKS_PREFIX)
    of_tasks.filter(seen_at__lt=DatabaseNow(-_FORGET_TASKS_SECONDS)).delete()
    rows.create(
        name=name,
        environment=environment,
        host=socket.gethostname()[:255],
        pid=os.getpid(),
        connections=connections,
        state="running",
        started_at=DatabaseNow(),
        seen_at=DatabaseNow(),
    )


def note(using: str, name: str, settled: int, *, state: str = "running") -> bool:
    """Update the worker's heartbeat; False where its row is gone."""
    rows = WorkerRow._base_manager.using(using).filter(name=name)
    return bool(rows.update(seen_at=DatabaseNow(), settled=settled, state=state))


def leave(using: str, name: str, settled: int) -> None:
    """Mark the worker as stopped."""
    note(using, name, settled, state="stopped")


def lose(using: str, workers: Collection[str]) -> None:
    """Mark the processes whose tasks these were as lost: their leases are over, so they were killed or hang."""
    names = {f"{TASKS_PREFIX}{one.rpartition('.')[0]}" for one in workers if "." in one}
    if names:
        WorkerRow._base_manager.using(using).filter(name__in=names).update(state=LOST)


def forget(using: str, name: str) -> None:
    """Delete the row: one of many short-lived processes has ended, and people need not read of it."""
    WorkerRow._base_manager.using(using).filter(name=name).delete()


def take(using: str, name: str, environment: str, connections: int, *, silent_seconds: float) -> bool:
    """Hold a row that many processes share: False where another one holds it, and has said so lately."""
    rows = WorkerRow._base_manager.using(using)
    mine = {
        "environment": environment,
        "host": socket.gethostname()[:255],
        "pid": os.getpid(),
        "connections": connections,
        "state": "running",
        "started_at": DatabaseNow(),
        "seen_at": DatabaseNow(),
        "settled": 0,
    }
    is_free = Q(state="stopped") | Q(seen_at__lt=DatabaseNow(-silent_seconds))
    # One UPDATE looks and takes: of two that find the row free, the database lets one change it.
    if rows.filter(is_free, name=name).update(**mine):
        return True
    if rows.filter(name=name).exists():
        return False
    try:
        with transaction.atomic(using):  # a savepoint, where a transaction is open: an error ends that alone
            rows.create(name=name, **mine)
    except IntegrityError:  # somebody was quicker
        return False
    return True


def is_stopping(using: str, name: str) -> bool:
    """Return whether the holder of a row claims nothing more, and only waits for replies."""
    return WorkerRow._base_manager.using(using).filter(name=name, state="stopping").exists()


def abandon(using: str, name: str) -> None:
    """Give back what was not begun, and end the leases of the rest, so that rescue may take it at once."""
    tables = Tables(using)
    # What was permitted is not released: it may be with the server, which only rescue, by the journal, may judge.
    rule = RULES[Event.RELEASE]
    assert rule.doubted is not None
    tables.run(
        "abandon:release",
        f"UPDATE {tables.recipient} SET state = CASE WHEN unknowns > 0 THEN %s ELSE %s END, lease_until = NULL, "
        f"due_at = {tables.now()}, settled_at = CASE WHEN unknowns > 0 THEN {tables.now()} ELSE NULL END "
        f"WHERE claimed_by = %s AND state = %s",
        [rule.doubted.value, rule.target.value, name, State.CLAIMED.value],
    )
    states = [State.AUTHORIZED.value]
    tables.run(
        "abandon:expire",
        f"UPDATE {tables.recipient} SET lease_until = {tables.now(-1)} "
        f"WHERE claimed_by = %s AND state IN ({marks(states)})",
        [name, *states],
    )


def anything_in_hand(
    using: str, environment: str, message_ids: Collection[int] | None = None, *, only_lost: bool = False
) -> bool:
    """Return whether any worker of this environment holds anything (of these messages).

    Args:
        only_lost: whether only what a dead worker held counts: its lease is over.
    """
    tables = Tables(using)
    states = [state.value for state in State if state.is_in_hand]
    where = f"state IN ({marks(states)}) AND environment = %s"
    parameters: list[Any] = [*states, environment]
    if only_lost:
        where += f" AND lease_until < {tables.now()}"
    if message_ids is not None:
        where += f" AND message_id IN ({marks(message_ids)})" if message_ids else " AND 1 = 0"
        parameters += message_ids
    return bool(tables.rows("in_hand", f"SELECT 1 FROM {tables.recipient} WHERE {where} LIMIT 1", parameters))
