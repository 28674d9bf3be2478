# ruff: noqa: S608 - see tables
"""The claim of due recipients by a worker: SKIP LOCKED where there is one, a single UPDATE … RETURNING on SQLite.

Each lane of each priority is asked for by itself, so that a claim is a range of the index (priority, lane, due_at, id)
and never a sort, and so that high never waits behind bulk; see `lanes`. What had
a worker die on it is left out: it is taken alone, so that what kills workers cannot take others with it.
"""

import json
import re
import secrets
from collections.abc import Callable, Collection, Sequence
from sys import intern
from typing import Any, Protocol

from django.db import transaction

from reliable_email.outbox.faultpoints import point
from reliable_email.outbox.rows.lanes import Lane, Turn
from reliable_email.outbox.rows.sql import Tables, is_one_of, marks
from reliable_email.outbox.rows.transitions import RULES, Delivery, Event
from reliable_email.records import dataclass, field, replace
from reliable_email.store.questions.lanes import due_lanes
from reliable_email.store.sql.inserts import batched
from reliable_email.store.tables.states import PriorityRank, State

_RENEWED_AT_ONCE = 500
_LANES_AT_ONCE = 8  # that one claim asks, where each has little
_MOST_OF_A_MESSAGE = 1000  # recipients beyond the limit; no provider takes more in one envelope or call
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
    """The result of one claim.

    Attributes:
        number: no other claim ever had it; every write under this claim names it.
        is_full: whether it took as many as it might, so that there may be more.
    """

    number: int
    rows: list[Claimed] = field(default_factory=list)
    is_full: bool = False


class Noting(Protocol):
    """A receiver of what a claim finds out about lanes."""

    def is_drained(self, lane: Lane) -> bool:
        """Return whether it need not be asked."""

    def note(self, lane: Lane, *, is_drained: bool) -> None:
        """A lane was asked; whether it had less than it might have given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The conditions on the rows that a worker claims.

    Attributes:
        environment: rows of another are never touched.
        turns: the lanes to claim from, in this order; None for all that have something due.
        noting: is told what was found.
        closed_mailers: mailers all of whose routes are closed now, for rows of no lane.
        closed_routes: rows that only these may send again are passed over too, since they may have a copy.
        closed_domains: recipients there are passed over.
        only_mailers: these alone; None for all.
        message_ids: these messages alone; None for all.
        has_taken: called with the rows that were taken, before anybody else claims.
    """

    environment: str
    turns: Sequence[Turn] | None = None
    noting: Noting | None = None
    closed_mailers: Collection[str] = ()
    closed_routes: Collection[str] = ()
    closed_domains: Collection[str] = ()
    only_mailers: Collection[str] | None = None
    message_ids: Collection[int] | None = None
    has_taken: Callable[[Sequence[Claimed]], None] = lambda rows: None


def claim(
    using: str, wanted: Wanted, *, worker: str, limit: int, lease_seconds: float, suspects: bool = False
) -> Claim:
    """Take up to `limit` runnable recipients, and those of their messages that the limit would cut off.

    An API shows those whom it sends to, so a message in two parts would not be the same letter to both; and a quota in
    messages counts each part. What a quota leaves no room for is cut, and what another worker claims in that moment.

    Args:
        worker: its unique name.
        suspects: take one that had a worker die on it, and nothing else.
    """
    tables = Tables(using)
    # The fence of every later write. It is random and not counted, since a counter is a row that all claims would lock;
    # and never 0, which is the number of rows that nobody has claimed.
    number = secrets.randbits(62) + 1
    rows: list[Claimed] = []
    most = 1 if suspects else limit
    turns = _all_turns(tables, wanted) if wanted.turns is None else wanted.turns
    if wanted.noting is not None and not suspects:
        turns = [turn for turn in turns if not wanted.noting.is_drained(turn.lane)]
    for turn in turns[:_LANES_AT_ONCE]:
        room, more = most - len(rows), _MOST_OF_A_MESSAGE
        if turn.limit is not None:  # what one priority of a mailer takes is no more there for the others
            left = turn.limit - sum(row.mailer == turn.lane.mailer for row in rows)
            if left <= 0:
                continue
            room, more = min(room, left), min(more, max(left - room, 0))
        found = _claim_lane(tables, turn.lane, wanted, number, worker, room, lease_seconds, suspects=suspects)
        is_drained = len(found) < room
        # A second statement for the rest of a message that the limit cut: counted by the first, it would need a window
        # over all that waits in the lane.
        if not is_drained and more and not suspects:
            rest = replace(wanted, message_ids={row.message_id for row in found})
            found += _claim_lane(tables, turn.lane, rest, number, worker, more, lease_seconds, suspects=False)
        rows += found
        if wanted.noting is not None and not suspects:
            wanted.noting.note(turn.lane, is_drained=is_drained)
        if len(rows) >= most:
            break
    if rows:  # here, and not when the claim has come back: the next line's claim must count these as in hand
        wanted.has_taken(rows)
    point("claim:end")
    rows.sort(key=lambda one: (one.priority, one.message_id, one.position))
    return Claim(number=number, rows=rows, is_full=len(rows) >= most or len(turns) > _LANES_AT_ONCE)


_ANY_LANE = -1
# Messages that are named are found by their ids: one question is enough for all priorities.
_NAMED = Turn(Lane(PriorityRank.HIGH, _ANY_LANE))


def _all_turns(tables: Tables, wanted: Wanted) -> list[Turn]:
    if wanted.message_ids is not None:
        return [_NAMED]
    found = sorted((rank, -age, key) for rank, key, age in due_lanes(tables.connection) if age >= 0)
    return [Turn(Lane(rank, key)) for rank, _, key in found]


def _conditions(wanted: Wanted, lane: Lane, *, suspects: bool) -> tuple[str, list[Any]]:
    # What had a worker die on it is claimed alone: beside it, others would be accused of the next crash.
    words = ["environment = %s", "crashes > 0" if suspects else "crashes = 0"]
    parameters: list[Any] = [wanted.environment]
    states = RULES[Event.CLAIM].states
    # COALESCE and `+ 0` keep a planner off the lane's index, where named messages are to be found by their ids.
    is_named = wanted.message_ids is not None and lane.key != _ANY_LANE
    state = "COALESCE(state, '')" if is_named else "state"
    words.append(f"{state} IN ({marks(states)})")
    parameters += states
    if lane.key != _ANY_LANE:
        words.append("lane + 0 = %s" if is_named else "lane = %s")
        parameters.append(lane.key)
    if not lane.mailer and wanted.closed_mailers:
        words.append(f"mailer NOT IN ({marks(wanted.closed_mailers)})")
        parameters += wanted.closed_mailers
    if wanted.closed_routes:
        words.append(f"(unknowns = 0 OR pinned_route NOT IN ({marks(wanted.closed_routes)}))")
        parameters += wanted.closed_routes
    for domain in wanted.closed_domains:
        words.append("address NOT LIKE %s ESCAPE '!'")
        parameters.append("%@" + re.sub("([!%_])", r"!\1", domain))
    if not lane.mailer and wanted.only_mailers is not None:
        words.append(f"mailer IN ({marks(wanted.only_mailers)})" if wanted.only_mailers else "1 = 0")
        parameters += wanted.only_mailers
    if wanted.message_ids is not None:
        words.append(f"message_id IN ({marks(wanted.message_ids)})" if wanted.message_ids else "1 = 0")
        parameters += wanted.message_ids
    return " AND ".join(words), parameters


def _claim_lane(
    tables: Tables,
    lane: Lane,
    wanted: Wanted,
    number: int,
    worker: str,
    room: int,
    lease_seconds: float,
    *,
    suspects: bool,
) -> list[Claimed]:
    name = tables.recipient
    where, parameters = _conditions(wanted, lane, suspects=suspects)
    # Named messages of a lane are found by their ids: by the index of the lane all that waits in it would be read.
    plain = wanted.message_ids is not None and lane.key != _ANY_LANE
    where, order = f"due_at <= {tables.now()} AND {where}", "due_at, id"
    if lane.key == _ANY_LANE:
        order = f"priority, {order}"
    else:
        rank = "priority + 0" if plain else "priority"
        where, parameters = f"{rank} = %s AND {where}", [lane.rank.value, *parameters]
    due = f"FROM {name} WHERE {where} ORDER BY {order} LIMIT %s"
    due_parameters = [*parameters, room]
    # What the last claim left is cleared in the same statement: rescue would read it as this claim's.
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
            # One writer at a time: while this statement runs, nobody else can claim what it has found.
            sql = f"{change} WHERE id IN (SELECT id {due}) RETURNING {columns}, {is_over}"
            found = tables.rows("claim", sql, [*change_parameters, *due_parameters])
        case _:
            # Without UPDATE … RETURNING (MySQL, MariaDB): the SELECT locks the rows until the UPDATE is committed.
            with transaction.atomic(tables.using):
                sql = f"SELECT {columns}, {is_over} {due} FOR UPDATE SKIP LOCKED"
                found = tables.rows("claim:select", sql, due_parameters)
                ids = [row[0] for row in found]
                if ids:
                    tables.run("claim:update", f"{change} WHERE id IN ({marks(ids)})", [*change_parameters, *ids])
    first = Delivery(state=State.CLAIMED, claim=number)
    return [_claimed(row, first) for row in found]


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
    # A lease that has ended is not renewed, not even by its holder: rescue may be taking the row at this moment, and
    # renewed behind that it would be held by two.
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
