"""The contents of the queue, by priority and by state. Each answer reads a bounded range of an index."""

from datetime import datetime

from django.db import connections

from reliable_email.records import dataclass
from reliable_email.store.questions.lanes import count_waiting, due_lanes, first_due, lanes_by_environment
from reliable_email.store.questions.queries import outbox_database
from reliable_email.store.sql.bounded import BoundedCount, bounded_count
from reliable_email.store.sql.clock import database_now
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import PriorityRank, State

# The states in which a recipient may stay; the others are history, and counted by `Tally`.
STANDING = (State.QUEUED, State.CLAIMED, State.AUTHORIZED, State.UNKNOWN, State.PARKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityLine:
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
    priorities: tuple[PriorityLine, ...]
    states: dict[State, BoundedCount]

    @property
    def oldest(self) -> PriorityLine | None:
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
        priorities=_lines(alias, environment),
        states={
            state: bounded_count(rows.filter(state=state).order_by("state", "lease_until", "id")) for state in STANDING
        },
    )


def _lines(using: str, environment: str) -> tuple[PriorityLine, ...]:
    connection = connections[using]
    found = lanes_by_environment(connection, due_lanes(connection)).get(environment, [])
    lanes = [(rank, key) for rank, key, _ in found]
    due = count_waiting(using, lanes, is_due=True)
    later = count_waiting(using, lanes, is_due=False)
    lines = []
    for rank in PriorityRank:
        oldest = max(((age, key) for one, key, age in found if one is rank and age >= 0), default=None)
        first = first_due(using, rank, oldest[1]) if oldest is not None else None
        lines.append(
            PriorityLine(
                priority=rank.priority.value,
                due=due[rank],
                later=later[rank],
                oldest_due_at=first[0] if first is not None else None,
                oldest_message=first[2] if first is not None else None,
            )
        )
    return tuple(lines)
