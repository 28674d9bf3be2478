"""Waiting recipients and their ages: a handful of values that indexes answer, however many rows there are."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from datetime import datetime

from django.db import connections, transaction
from django.db.models import Count, Max, Min

from reliable_email.records import dataclass, field
from reliable_email.store.questions.lanes import due_lanes, first_due, lanes_by_environment
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import Worker
from reliable_email.store.tables.states import PriorityRank, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One outbox at one moment, by its own clock.

    Attributes:
        oldest_due_at: since when the message that was due first could have been sent; None where nothing is due.
        worker_seen_at: the last sign of life of any worker within a day.
        unknown, unknown_since: recipients with an unknown outcome, and since when the first of them has one.
        parked: recipients that wait for a person.
        forsaken: since when something of another environment has been due, of which no worker was seen within a day.
    """

    at: datetime
    oldest_due_at: datetime | None = None
    worker_seen_at: datetime | None = None
    unknown: int = 0
    unknown_since: datetime | None = None
    parked: int = 0
    forsaken: Mapping[str, datetime] = field(default_factory=dict)


def waiting(using: str, *, environment: str, leaving_out: Collection[tuple[PriorityRank, int]] = ()) -> Waiting:
    """Return the numbers and ages of the waiting recipients of a database's outbox.

    Args:
        environment: whose messages and workers are meant.
        leaving_out: lanes of which it is known why they wait.

    Raises:
        DatabaseError: it does not answer, or has no tables. A transaction of the caller's survives that.
    """
    # Whoever asks may be inside a transaction, and an error would poison it.
    with transaction.atomic(using) if connections[using].in_atomic_block else nullcontext():
        rows = OutboxRecipient._base_manager.using(using).filter(environment=environment)
        workers = Worker._base_manager.using(using)
        now = database_now(using)
        due = [one for one in due_lanes(connections[using]) if one[2] >= 0 and one[:2] not in leaving_out]
        by_environment = lanes_by_environment(connections[using], due)
        oldest = {name: found for name, lanes in by_environment.items() if (found := _first_due(using, lanes))}
        served = {environment, *workers.values_list("environment", flat=True)} if oldest else set()
        unknown = rows.filter(state=State.UNKNOWN).aggregate(count=Count("id"), since=Min("settled_at"))
        return Waiting(
            at=now,
            oldest_due_at=oldest.get(environment),
            worker_seen_at=workers.filter(environment=environment).aggregate(seen=Max("seen_at"))["seen"],
            unknown=unknown["count"],
            unknown_since=unknown["since"],
            parked=rows.filter(state=State.PARKED).count(),
            forsaken={name: since for name, since in oldest.items() if name not in served},
        )


def _first_due(using: str, lanes: Iterable[tuple[PriorityRank, int, float]]) -> datetime | None:
    """Return the time since when the first message of these lanes has been due."""
    rank, key, _ = max(lanes, key=lambda one: one[2])
    first = first_due(using, rank, key)
    return first[0] if first is not None else None


def has_tables(using: str) -> bool:
    """Return whether the app's tables are in this database, which has to answer."""
    with connections[using].cursor() as cursor:
        names = connections[using].introspection.table_names(cursor)
    return OutboxRecipient._meta.db_table in names
