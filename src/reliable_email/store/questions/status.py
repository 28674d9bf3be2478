"""Counts and ages of what is in the queue, and of its workers: for commands, pages, health and metrics.

Plain values come back, never rows. What is over is counted for `Status` alone; the work of all other questions grows
with what waits and with the number of routes, never with what was delivered.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime

from django.db import connections, transaction
from django.db.models import Count, Max, Min, QuerySet

from reliable_email import conf
from reliable_email.records import dataclass, field
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.questions.lanes import count_waiting, due_lanes, first_due, lanes_by_environment
from reliable_email.store.questions.route_history import Histogram, latencies
from reliable_email.store.sql.bounded import BoundedCount, bounded_count
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.shared import LOST, SILENT, STOPPED, TASKS_PREFIX, OutcomeTotal, Worker
from reliable_email.store.tables.states import PriorityRank, State

# What is not over: it waits for a worker, is in a worker's hand, or waits for a person. The others are history, and
# counted by `OutcomeTotal`.
STANDING = (State.QUEUED, State.CLAIMED, State.AUTHORIZED, State.UNKNOWN, State.PARKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The outbox at one moment.

    Attributes:
        recipients: how many in each state, each state named.
        queued: how many wait, by priority; those to be sent again are not among them.
        due: how many could be sent now.
        oldest_due_seconds: for how long the oldest of them has been due; None where there is none.
        in_hand: recipients that workers hold.
        workers: see `WorkerStatus`, those seen within a day.
    """

    at: datetime
    recipients: dict[str, int]
    queued: dict[str, int]
    due: int
    oldest_due_seconds: float | None
    in_hand: int
    workers: list["WorkerStatus"] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker, as its row tells.

    Attributes:
        state: running, stopping or stopped, in its own words; lost, where it gave no sign of life for
            HEALTH_WORKER_SECONDS or a lease of its ended; silent, where a process of a fleet gave none, which gives
            them with its tasks alone.
    """

    name: str
    host: str
    pid: int
    environment: str
    state: str
    connections: int
    settled: int
    silent_seconds: float


def status(using: str | None = None, *, environment: str | None = None) -> Status:
    """The outbox now; of one environment, or of all."""
    alias = outbox_database(using)
    rows = OutboxRecipient._base_manager.using(alias)
    if environment is not None:
        rows = rows.filter(environment=environment)
    now = database_now(alias)
    counts = {state.value: 0 for state in State}
    counts |= dict(rows.values_list("state").annotate(Count("id")).order_by())
    queued = _by_state_and_priority(rows, (State.QUEUED,))
    may_wait = rows.filter(state__in=(State.QUEUED, State.UNKNOWN))  # by the index of states
    found = may_wait.filter(due_at__lte=now).aggregate(count=Count("id"), first=Min("due_at"))
    waiting, oldest = found["count"], found["first"]
    return Status(
        at=now,
        recipients=counts,
        queued={priority: count for (_, priority), count in queued.items()},
        due=waiting,
        oldest_due_seconds=(now - oldest).total_seconds() if oldest is not None else None,
        in_hand=counts[State.CLAIMED] + counts[State.AUTHORIZED],
        workers=workers(alias, environment=environment),
    )


def workers(using: str | None = None, *, environment: str | None = None) -> list[WorkerStatus]:
    """Workers that were seen within a day, the most recent first; of one environment, or of all."""
    alias = outbox_database(using)
    now = database_now(alias)
    rows = Worker._base_manager.using(alias).order_by("-seen_at")
    if environment is not None:
        rows = rows.filter(environment=environment)
    return [
        WorkerStatus(
            name=row.name,
            host=row.host,
            pid=row.pid,
            environment=row.environment,
            state=worker_condition(row, silent := (now - row.seen_at).total_seconds()),
            connections=row.connections,
            settled=row.settled,
            silent_seconds=silent,
        )
        for row in rows
    ]


def worker_condition(row: Worker, silent_seconds: float) -> str:
    """Return a worker's state by its own word and by the time for which it has been silent."""
    if row.state in (STOPPED, LOST) or silent_seconds <= conf.get().health_worker_seconds:
        return row.state
    return SILENT if row.name.startswith(TASKS_PREFIX) else LOST


def _by_state_and_priority(rows: QuerySet[OutboxRecipient], states: Collection[State]) -> dict[tuple[str, str], int]:
    """Count rows by state and priority, each pair named."""
    counts = {(state.value, rank.priority.value): 0 for state in states for rank in PriorityRank}
    for state, rank, count in (
        rows.filter(state__in=states).order_by().values_list("state", "priority").annotate(Count("id"))
    ):
        counts[state, PriorityRank(rank).priority.value] = count
    return counts


def _first_due(using: str, lanes: Sequence[tuple[PriorityRank, int, float]]) -> tuple[datetime, str, int] | None:
    """Return (since when, environment, message) of what has been due for the longest time in any of these lanes."""
    if not lanes:
        return None
    rank, key, _ = max(lanes, key=lambda one: one[2])
    return first_due(using, rank, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityCount:
    """The recipients that wait at one priority: queued, or unknown and to be resent.

    Attributes:
        due: could be sent now.
        later: has its time.
        oldest_due_at, oldest_message: the one that could be sent for the longest time; None where there is none.
    """

    priority: str
    due: BoundedCount
    later: BoundedCount
    oldest_due_at: datetime | None
    oldest_message: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The queue at one moment, by the database's clock."""

    at: datetime
    priorities: tuple[PriorityCount, ...]
    states: dict[State, BoundedCount]

    @property
    def oldest(self) -> PriorityCount | None:
        """The priority at which something has been due for the longest time."""
        waiting = [(line.oldest_due_at, line) for line in self.priorities if line.oldest_due_at is not None]
        return min(waiting, key=lambda found: found[0])[1] if waiting else None


def queue(using: str | None = None, *, environment: str) -> Queue:
    """The queue of this environment now."""
    alias = outbox_database(using)
    now = database_now(alias)
    rows = OutboxRecipient._base_manager.using(alias).filter(environment=environment)
    return Queue(
        at=now,
        priorities=_priorities(alias, environment),
        states={
            state: bounded_count(rows.filter(state=state).order_by("state", "lease_until", "id")) for state in STANDING
        },
    )


def _priorities(using: str, environment: str) -> tuple[PriorityCount, ...]:
    connection = connections[using]
    found = lanes_by_environment(connection, due_lanes(connection)).get(environment, [])
    lanes = [(rank, key) for rank, key, _ in found]
    due = count_waiting(using, lanes, is_due=True)
    later = count_waiting(using, lanes, is_due=False)
    lines = []
    for rank in PriorityRank:
        first = _first_due(using, [one for one in found if one[0] is rank and one[2] >= 0])
        lines.append(
            PriorityCount(
                priority=rank.priority.value,
                due=due[rank],
                later=later[rank],
                oldest_due_at=first[0] if first is not None else None,
                oldest_message=first[2] if first is not None else None,
            )
        )
    return tuple(lines)


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
        oldest = {name: found[0] for name, lanes in by_environment.items() if (found := _first_due(using, lanes))}
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


def has_tables(using: str) -> bool:
    """Return whether the app's tables are in this database, which has to answer."""
    with connections[using].cursor() as cursor:
        names = connections[using].introspection.table_names(cursor)
    return OutboxRecipient._meta.db_table in names


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One outbox at one moment.

    Attributes:
        outcomes: by route, outcome and cause, since the tables were made.
        unfinished: recipients by state and priority, each pair named.
        due_age_seconds: by priority, for how long the oldest that could be sent has waited; 0 where none could.
        workers: seen within a day.
        worker_seen_at: when any of them last was.
    """

    at: datetime
    outcomes: Mapping[tuple[str, str, str], int]
    histograms: tuple[Histogram, ...]
    unfinished: Mapping[tuple[str, str], int]
    due_age_seconds: Mapping[str, float]
    workers: tuple[WorkerStatus, ...]
    worker_seen_at: datetime | None


def measure(using: str, *, environment: str) -> Measurement:
    """Ask the outbox of this database.

    Args:
        environment: whose messages and workers are counted. What has been delivered is counted for all together.

    Raises:
        DatabaseError: it does not answer, or has no tables.
    """
    rows = OutboxRecipient._base_manager.using(using).filter(environment=environment)
    now = database_now(using)
    ages = {rank.priority.value: 0.0 for rank in PriorityRank}
    lanes = lanes_by_environment(connections[using], due_lanes(connections[using]))
    for rank, _, age in lanes.get(environment, ()):
        ages[rank.priority.value] = max(ages[rank.priority.value], age)
    seen = Worker._base_manager.using(using).filter(environment=environment)
    totals = OutcomeTotal._base_manager.using(using).values_list("route", "outcome", "cause", "count")
    return Measurement(
        at=now,
        outcomes={(route, outcome, cause): count for route, outcome, cause, count in totals},
        histograms=latencies(using),
        unfinished=_by_state_and_priority(rows, STANDING),
        due_age_seconds=ages,
        workers=tuple(workers(using, environment=environment)),
        worker_seen_at=seen.aggregate(seen=Max("seen_at"))["seen"],
    )
