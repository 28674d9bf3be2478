# ruff: noqa: S608 - names of our own tables and columns
"""The traffic of a day, in and out, in buckets of a quarter of an hour.

What went out is in the tallies of the workers. What came in is counted by the index of `created_at`, bucket by bucket;
a bucket that is over does not change any more, so the process remembers it and later pages count the last two.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Sum

from reliable_email.process_state import remember
from reliable_email.records import dataclass
from reliable_email.store.questions.filters import outbox_database
from reliable_email.store.sql.clock import database_now
from reliable_email.store.sql.inserts import adapted
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.store.tables.shared import Tally

BUCKET = timedelta(minutes=15)
DAY = timedelta(hours=24)
# A chart needs no more; a bucket with so many is drawn as that many.
_MOST = 200_000
# Transactions that began in a bucket may commit after its end.
_LATE = timedelta(minutes=15)

_lock = threading.Lock()
_closed: dict[tuple[str, datetime], int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A quarter of an hour.

    Attributes:
        minutes: its length; less for the one that is not over.
        queued: messages that came in.
        outcomes: recipients that attempts settled or deferred, by outcome.
    """

    at: datetime
    minutes: float
    queued: int
    outcomes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A day's buckets, the oldest first; all of the same length but the last."""

    at: datetime
    buckets: tuple[Bucket, ...]

    @property
    def queued(self) -> int:
        """Messages that came in."""
        return sum(bucket.queued for bucket in self.buckets)

    @property
    def outcomes(self) -> dict[str, int]:
        """Recipients by outcome."""
        found: Counter[str] = Counter()
        for bucket in self.buckets:
            found.update(bucket.outcomes)
        return dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseCount:
    """The number of recipients that one cause on one route kept from their message, permanently or for now."""

    cause: str
    route: str
    outcome: str
    count: int


def causes(using: str | None = None) -> tuple[CauseCount, ...]:
    """The causes of the last 24 hours, the most frequent first."""
    alias = outbox_database(using)
    rows = Tally._base_manager.using(alias).filter(minute__gte=database_now(alias) - DAY).exclude(cause="")
    found = rows.exclude(outcome="accepted").order_by().values_list("cause", "route", "outcome").annotate(Sum("count"))
    return tuple(
        CauseCount(cause=cause, route=route, outcome=outcome, count=count)
        for cause, route, outcome, count in sorted(found, key=lambda row: (-row[3], *row[:3]))
    )


def traffic(using: str | None = None) -> Traffic:
    """The last 24 hours."""
    alias = outbox_database(using)
    now = database_now(alias)
    last = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    starts = [last - BUCKET * back for back in range(DAY // BUCKET, -1, -1)]
    queued = _queued(alias, starts, now)
    outcomes = _outcomes(alias, starts[0])
    return Traffic(
        at=now,
        buckets=tuple(
            Bucket(
                at=start,
                minutes=min(BUCKET, max(now - start, timedelta(minutes=1))).total_seconds() / 60,
                queued=queued.get(start, 0),
                outcomes=outcomes.get(start, {}),
            )
            for start in starts
        ),
    )


def _outcomes(using: str, since: datetime) -> dict[datetime, dict[str, int]]:
    rows = Tally._base_manager.using(using).filter(minute__gte=since).order_by()
    found: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for minute, outcome, count in rows.values_list("minute", "outcome").annotate(Sum("count")):
        found[minute.replace(minute=minute.minute - minute.minute % 15)][outcome] += count
    return {start: dict(outcomes) for start, outcomes in found.items()}


def _queued(using: str, starts: list[datetime], now: datetime) -> dict[datetime, int]:
    with _lock:
        known = {start: _closed[using, start] for start in starts if (using, start) in _closed}
    counted = _count(using, [start for start in starts if start not in known])
    with _lock:
        for alias, start in list(_closed):
            if alias == using and start < starts[0]:
                del _closed[alias, start]
        _closed.update({(using, start): count for start, count in counted.items() if start + BUCKET + _LATE < now})
    return known | counted


def _count(using: str, starts: Iterable[datetime]) -> dict[datetime, int]:
    """One statement for all: each part is a range of the index, and no planner takes it for the whole table."""
    connection = connections[using]
    quote = connection.ops.quote_name
    table, column = quote(OutboxMessage._meta.db_table), quote("created_at")
    order = list(starts)
    if not order:
        return {}
    parts = [
        f"SELECT {number}, COUNT(*) FROM (SELECT {column} FROM {table} WHERE {column} >= %s AND {column} < %s "
        f"ORDER BY {column} LIMIT {_MOST}) AS bucket_{number}"
        for number, _ in enumerate(order)
    ]
    parameters = [adapted(connection, moment) for start in order for moment in (start, start + BUCKET)]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), parameters)
        return {order[number]: count for number, count in cursor.fetchall()}


def reset() -> None:
    """Forget what was counted."""
    with _lock:
        _closed.clear()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


remember(__name__, after_fork=_after_fork, reset=reset)
