# ruff: noqa: S608 - see tables
"""Takes runnable recipients for a worker: SKIP LOCKED where there is one, a single UPDATE … RETURNING on SQLite.

Each priority is asked for by itself, so that a claim is a range of the index (priority, due_at, id) and never a sort,
and so that high never waits behind bulk. What had a worker die on it is left out: it is taken alone, so that what
kills workers cannot take others with it.
"""

import json
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from sys import intern
from typing import Any

from django.db import transaction

from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.tables import Tables, is_one_of, marks
from reliable_email.outbox.transitions import RULES, Delivery, Event
from reliable_email.store.inserts import batched
from reliable_email.store.states import PriorityRank, State

_RENEWED_AT_ONCE = 500
_RENEWAL_LOOKS = 3  # at rows that are being written

_COLUMNS = (
    "id",
    "message_id",
    "position",
    "address",
    "mailer",
    "priority",
    "attempts",
    "crashes",
    "unknowns",
    "pinned_route",
    "refused_by",
)


@dataclass(slots=True, kw_only=True)
class Claimed:
    """One recipient in hand. `delivery` follows what this worker writes.

    Attributes:
        is_over: its time to live had ended when it was claimed.
    """

    id: int
    message_id: int
    position: int
    address: str
    mailer: str
    priority: PriorityRank
    attempts: int
    crashes: int
    pinned_route: str
    refused_by: list[str]
    is_over: bool
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one claim took.

    Attributes:
        number: no other claim ever had it; every write under this claim names it.
        is_full: whether it took as many as it might, so that there may be more.
    """

    number: int
    rows: list[Claimed] = field(default_factory=list)
    is_full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows a worker takes.

    Attributes:
        environment: rows of another are never touched.
        closed_mailers: mailers all of whose routes are closed now.
        closed_routes: rows that only these may send are passed over too.
        closed_domains: recipients there are passed over.
        only_mailers: these alone; None for all.
        message_ids: these messages alone; None for all.
    """

    environment: str
    closed_mailers: Collection[str] = ()
    closed_routes: Collection[str] = ()
    closed_domains: Collection[str] = ()
    only_mailers: Collection[str] | None = None
    message_ids: Collection[int] | None = None


def claim(
    using: str, wanted: Wanted, *, worker: str, limit: int, lease_seconds: float, suspects: bool = False
) -> Claim:
    """Take up to `limit` runnable recipients.

    Args:
        worker: its unique name.
        suspects: take one that had a worker die on it, and nothing else.
    """
    tables = Tables(using)
    number = secrets.randbits(62) + 1
    rows: list[Claimed] = []
    where, parameters = _conditions(wanted, suspects=suspects)
    most = 1 if suspects else limit
    for rank in PriorityRank:
        room = most - len(rows)
        if room <= 0:
            break
        rows += _claim_rank(tables, rank, where, parameters, number, worker, room, lease_seconds)
    point("claim:end")
    return Claim(number=number, rows=rows, is_full=len(rows) >= most)


def _conditions(wanted: Wanted, *, suspects: bool) -> tuple[str, list[Any]]:
    words = ["environment = %s", "crashes > 0" if suspects else "crashes = 0"]
    parameters: list[Any] = [wanted.environment]
    states = RULES[Event.CLAIM].states
    words.append(f"state IN ({marks(states)})")
    parameters += states
    if wanted.closed_mailers:
        words.append(f"mailer NOT IN ({marks(wanted.closed_mailers)})")
        parameters += wanted.closed_mailers
    if wanted.closed_routes:
        words.append(f"pinned_route NOT IN ({marks(wanted.closed_routes)})")
        parameters += wanted.closed_routes
    for domain in wanted.closed_domains:
        words.append("address NOT LIKE %s ESCAPE '!'")
        parameters.append("%@" + re.sub("([!%_])", r"!\1", domain))
    if wanted.only_mailers is not None:
        words.append(f"mailer IN ({marks(wanted.only_mailers)})" if wanted.only_mailers else "1 = 0")
        parameters += wanted.only_mailers
    if wanted.message_ids is not None:
        words.append(f"message_id IN ({marks(wanted.message_ids)})" if wanted.message_ids else "1 = 0")
        parameters += wanted.message_ids
    return " AND ".join(words), parameters


def _claim_rank(
    tables: Tables,
    rank: PriorityRank,
    where: str,
    parameters: Sequence[Any],
    number: int,
    worker: str,
    room: int,
    lease_seconds: float,
) -> list[Claimed]:
    name = tables.recipient
    due = f"FROM {name} WHERE priority = %s AND due_at <= {tables.now()} AND {where} ORDER BY due_at, id LIMIT %s"
    due_parameters = [rank.value, *parameters, room]
    change = (
        f"UPDATE {name} SET state = %s, claim = %s, claimed_by = %s, lease_until = {tables.now(lease_seconds)}, "
        "due_at = NULL, settled_at = NULL, authorized_at = NULL, authorized_route = '', started_at = NULL"
    )
    change_parameters = [State.CLAIMED.value, number, worker]
    # What the row was is only visible before the UPDATE; afterwards, doubt tells QUEUED and UNKNOWN apart.
    columns = ", ".join(f"{name}.{column}" for column in _COLUMNS)
    is_over = f"{name}.gives_up_at <= {tables.now()}"
    match tables.vendor:
        case "postgresql":
            # The CTE is a fence: inside IN (…) the planner may run the subquery again and lock more than LIMIT.
            sql = (
                f"WITH due AS MATERIALIZED (SELECT id {due} FOR UPDATE SKIP LOCKED) {change} FROM due "
                f"WHERE {name}.id = due.id RETURNING {columns}, {is_over}"
            )
            found = tables.rows("claim", sql, [*due_parameters, *change_parameters])
        case "sqlite":
            sql = f"{change} WHERE id IN (SELECT id {due}) RETURNING {columns}, {is_over}"
            found = tables.rows("claim", sql, [*change_parameters, *due_parameters])
        case _:
            with transaction.atomic(tables.using):
                sql = f"SELECT {columns}, {is_over} {due} FOR UPDATE SKIP LOCKED"
                found = tables.rows("claim:select", sql, due_parameters)
                ids = [row[0] for row in found]
                if ids:
                    tables.run("claim:update", f"{change} WHERE id IN ({marks(ids)})", [*change_parameters, *ids])
    first = Delivery(state=State.CLAIMED, claim=number)
    claimed = [_claimed(row, first) for row in found]
    claimed.sort(key=lambda one: (one.message_id, one.position))
    return claimed


def _claimed(row: Sequence[Any], first: Delivery) -> Claimed:
    """A row in hand; `first` is what is shared by those without a doubt, which are nearly all."""
    identity, message_id, position, address, mailer, rank, attempts, crashes, unknowns, pinned, refused, is_over = row
    return Claimed(
        id=identity,
        message_id=message_id,
        position=position,
        address=address,
        mailer=intern(mailer),
        priority=PriorityRank(rank),
        attempts=attempts,
        crashes=crashes,
        pinned_route=pinned,
        refused_by=json.loads(refused) if isinstance(refused, str | bytes) else refused,
        is_over=bool(is_over),
        delivery=replace(first, unknowns=unknowns) if unknowns else first,
    )


def renew(using: str, ids: Sequence[int], *, worker: str, lease_seconds: float) -> int:
    """Hold on to these rows, as far as this worker still holds them; how many that are.

    They are named by primary key, so that no lock on anybody else's row is waited for. Those that are being written
    are passed over and tried again: a commit of several lines holds some rows and wants others, and so would
    this. What is still locked after the last look keeps the lease that it has until the next renewal.
    """
    tables = Tables(using)
    renewed = 0
    for chunk in batched(ids, _RENEWED_AT_ONCE):
        left = list(chunk)
        for _ in range(_RENEWAL_LOOKS if tables.skips_locked else 1):
            found = _renewed(tables, left, worker, lease_seconds)
            renewed += len(found)
            left = [one for one in left if one not in found]
            if not left:
                break
    return renewed


def _renewed(tables: Tables, ids: Sequence[int], worker: str, lease_seconds: float) -> Collection[int]:
    name = tables.recipient
    in_hand = is_one_of(tuple(state.value for state in State if state.is_in_hand))
    held = f"id IN ({marks(ids)}) AND {in_hand} AND lease_until > {tables.now()} AND claimed_by = %s"
    change = f"UPDATE {name} SET lease_until = {tables.now(lease_seconds)}"
    match tables.vendor:
        case "postgresql":
            sql = (
                f"WITH held AS MATERIALIZED (SELECT id FROM {name} WHERE {held} FOR UPDATE SKIP LOCKED) "
                f"{change} FROM held WHERE {name}.id = held.id RETURNING {name}.id"
            )
            found = tables.rows("renew", sql, [*ids, worker])
        case "sqlite":
            found = tables.rows("renew", f"{change} WHERE {held} RETURNING id", [*ids, worker])
        case _:
            with transaction.atomic(tables.using):
                sql = f"SELECT id FROM {name} WHERE {held} FOR UPDATE SKIP LOCKED"
                found = tables.rows("renew", sql, [*ids, worker])
                if found:
                    free = [row[0] for row in found]
                    tables.run("renew:update", f"{change} WHERE id IN ({marks(free)})", free)
    return {row[0] for row in found}
