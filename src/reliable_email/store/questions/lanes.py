# ruff: noqa: S608 - names and clock
"""A lane is a delivering mailer and an account: what waits for the same routes stands in one range of the index.

Each environment has lanes of its own, so that rows which a worker must not touch are not read on the way to its own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import cache

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_email.store.sql.bounded import MOST, BoundedCount
from reliable_email.store.sql.clock import age_sql, now_sql
from reliable_email.store.sql.inserts import batched
from reliable_email.store.tables.recipients import OutboxRecipient
from reliable_email.store.tables.states import PriorityRank

# Rows that were queued by a version without lanes, of any mailer.
NO_LANE = 0
_LANES_AT_ONCE = 100


@cache
def lane_of(mailer: str, account: str = "", environment: str = "") -> int:
    """The lane's key, the same in every process: 62 bits of a digest, never `NO_LANE`.

    It is computed, so that to queue a message no row of a lane is looked up or locked.
    """
    told = f"{mailer}\0{account}\0{environment}".encode()
    return int.from_bytes(hashlib.sha256(told).digest()[:8]) >> 2 or 1


def due_lanes(connection: BaseDatabaseWrapper) -> list[tuple[PriorityRank, int, float]]:
    """(rank, key, seconds since its first row has been due, negative where that is to come) of each lane with any."""
    name = connection.ops.quote_name(OutboxRecipient._meta.db_table)
    if connection.vendor == "mysql":
        # It takes no range for a value that a recursion has found, and would read all rows of the priority for each
        # lane; what it skips through is the groups of an index, for the least of its next column.
        found = f"SELECT priority, lane, MIN(due_at) AS due_at FROM {name} GROUP BY priority, lane"
        return _lanes(connection, f"({found})")
    parts, selects = [], []
    for rank in PriorityRank:
        of_rank = f"FROM {name} WHERE priority = {rank.value}"
        one = rank.name.lower()
        parts.append(
            f"{one}_lanes (lane) AS (SELECT (SELECT lane {of_rank} ORDER BY lane LIMIT 1) AS lane UNION ALL "
            f"SELECT (SELECT {name}.lane {of_rank} AND {name}.lane > {one}_lanes.lane ORDER BY {name}.lane LIMIT 1) "
            f"FROM {one}_lanes WHERE {one}_lanes.lane IS NOT NULL)"
        )
        first = (
            f"(SELECT due_at {of_rank} AND {name}.lane = {one}_lanes.lane AND due_at IS NOT NULL "
            f"ORDER BY due_at LIMIT 1)"
        )
        selects.append(
            f"SELECT {rank.value} AS priority, lane, {first} AS due_at FROM {one}_lanes WHERE lane IS NOT NULL"
        )
    return _lanes(connection, f"({' UNION ALL '.join(selects)})", before=f"WITH RECURSIVE {', '.join(parts)} ")


def _lanes(connection: BaseDatabaseWrapper, found: str, *, before: str = "") -> list[tuple[PriorityRank, int, float]]:
    age = age_sql(connection, "due_at")
    with connection.cursor() as cursor:
        cursor.execute(f"{before}SELECT priority, lane, {age} FROM {found} AS found WHERE due_at IS NOT NULL", [])
        return [(PriorityRank(rank), int(key), float(age)) for rank, key, age in cursor.fetchall()]


def lane_names(
    connection: BaseDatabaseWrapper, lanes: Iterable[tuple[PriorityRank, int]]
) -> dict[int, tuple[str, str]]:
    """(mailer, environment) of lanes by their keys, by any row of each: a key is of one mailer for ever."""
    name = connection.ops.quote_name(OutboxRecipient._meta.db_table)
    # In the index's order: without one, a planner may read the table from its head until it meets such a row.
    any_row = f"SELECT lane, mailer, environment FROM {name} WHERE priority = %s AND lane = %s ORDER BY due_at LIMIT 1"
    one = f"SELECT * FROM ({any_row})"
    found: dict[int, tuple[str, str]] = {}
    for some in batched(sorted(lanes), _LANES_AT_ONCE):
        sql = " UNION ALL ".join(f"{one} AS lane_{n}" for n, _ in enumerate(some))
        with connection.cursor() as cursor:
            cursor.execute(sql, [value for rank, key in some for value in (rank.value, key)])
            found |= {int(key): (str(mailer), str(environment)) for key, mailer, environment in cursor.fetchall()}
    return found


def lanes_by_environment(
    connection: BaseDatabaseWrapper, lanes: Iterable[tuple[PriorityRank, int, float]]
) -> dict[str, list[tuple[PriorityRank, int, float]]]:
    """Group the result of `due_lanes` by environment. Rows of a version without lanes count for all."""
    found = list(lanes)
    names = lane_names(connection, {(rank, key) for rank, key, _ in found})
    sorted_out: dict[str, list[tuple[PriorityRank, int, float]]] = {}
    for one in found:
        sorted_out.setdefault(names.get(one[1], ("", ""))[1], []).append(one)
    return sorted_out


def first_due(using: str, rank: PriorityRank, key: int) -> tuple[datetime, str, int] | None:
    """(since when, environment, message) of what has been due in a lane for the longest time."""
    rows = OutboxRecipient._base_manager.using(using).filter(priority=rank.value, lane=key, due_at__isnull=False)
    for due_at, environment, message in rows.order_by("due_at", "id").values_list(
        "due_at", "environment", "message_id"
    )[:1]:
        assert due_at is not None, "others were left out"
        return due_at, environment, message
    return None


def count_waiting(
    using: str, lanes: Iterable[tuple[PriorityRank, int]], *, is_due: bool
) -> dict[PriorityRank, BoundedCount]:
    """Count the recipients that wait in these lanes at each priority, due or for later; each count is bounded."""
    connection = connections[using]
    name = connection.ops.quote_name(OutboxRecipient._meta.db_table)
    when = f"due_at {'<=' if is_due else '>'} {now_sql(connection)}"
    counts: Counter[PriorityRank] = Counter()
    for some in batched(sorted(lanes), _LANES_AT_ONCE):
        wanted = [(rank, key) for rank, key in some if counts[rank] <= MOST]
        parts = [
            f"SELECT {rank.value}, COUNT(*) FROM (SELECT 1 AS one FROM {name} WHERE priority = {rank.value} "
            f"AND lane = {key} AND {when} ORDER BY due_at LIMIT {MOST + 1}) AS lane_{number}"
            for number, (rank, key) in enumerate(wanted)
        ]
        if parts:
            with connection.cursor() as cursor:
                cursor.execute(" UNION ALL ".join(parts), [])
                for rank, count in cursor.fetchall():
                    counts[PriorityRank(rank)] += count
    return {rank: BoundedCount(count=min(counts[rank], MOST), is_more=counts[rank] > MOST) for rank in PriorityRank}
