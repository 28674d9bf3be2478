# ruff: noqa: S608 - see tables
"""Reservations of quota for a permission, in the same commit that gives the permission.

The row of the route is changed on the condition that it is the one which is known, and the permission on the condition
that this row was changed: so that several workers together never use more than there is, and none waits for another.
Where a row has changed meanwhile nothing is permitted; whoever asked takes from the quota first, and asks again.

Of a large quota a few more are taken at once, for the next permissions of this process: at most a sixty-fourth of what
is left, and used within the bucket of the ledger in which they were taken.
"""

import json
import secrets
import threading
from collections import defaultdict
from collections.abc import Sequence

from reliable_email.delivery import quota
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore, quota_shares
from reliable_email.delivery.words import Priority
from reliable_email.outbox.rows.pipeline import Step
from reliable_email.outbox.rows.sql import Changed, Tables
from reliable_email.process_state import remember
from reliable_email.records import dataclass, record
from reliable_email.store.memory.route_rows import ledger_to_json
from reliable_email.store.memory.route_state import DatabaseRouteStateStore

_MOST_AHEAD = 63
_SHARE_AHEAD = 64
_WINDOW_AHEAD = 3600  # of shorter windows nothing is kept: it would be used in a later one


@record(frozen=True, slots=True, kw_only=True)
class Reserve:
    """The quota that a permission takes from a route."""

    store: DatabaseRouteStateStore
    route: Route
    count: int
    priority: Priority

    @property
    def key(self) -> "_Key":
        """The key of the reservations that can serve it."""
        return self.store, self.route.alias, self.route.fingerprint, self.priority


_Key = tuple[DatabaseRouteStateStore, str, str, Priority]


@dataclass(slots=True)
class _Ahead:
    """Taken, and not yet used."""

    reserve: Reserve
    left: int
    taken_at: float
    ends_at: float


_ahead: dict[_Key, _Ahead] = {}
_lock = threading.Lock()


class Reservations:
    """The reservations of one commit, for the intents that it permits.

    Args:
        reserves: of each intent; None for those that need none.
    """

    def __init__(self, tables: Tables, reserves: Sequence[Reserve | None]) -> None:
        self._reserves = reserves
        self._changes: list[tuple[list[int], Reserve, quota.Ledger, int, int, int]] = []
        self.refused: set[int] = set()
        self.tokens: dict[int, int] = {}  # by intent: the version of the row that says that it was taken
        self.steps: list[Step] = []
        wanted: defaultdict[str, list[int]] = defaultdict(list)
        for number, reserve in enumerate(reserves):
            if reserve is not None and not _take_ahead(reserve):
                wanted[reserve.route.alias].append(number)
        for _, numbers in sorted(wanted.items()):
            self._plan(tables, numbers)

    def _plan(self, tables: Tables, numbers: list[int]) -> None:
        first = self._reserves[numbers[0]]
        assert first is not None
        store, route, now = first.store, first.route, first.store.now()
        ledger, before = store.known_ledger(route)
        if before is None:
            self.refused.update(numbers)
            return
        going: list[int] = []
        last = first
        for number in numbers:
            reserve = self._reserves[number]
            assert reserve is not None
            taken = _reserved(ledger, reserve, reserve.count, now)
            if taken is None:
                self.refused.add(number)
            else:
                ledger, last = taken, reserve
                going.append(number)
        if not going:
            return
        extra = _extra(ledger, last, now)
        more = _reserved(ledger, last, extra, now, messages=extra) if extra else None
        if more is None:
            extra = 0
        version = secrets.randbits(62) + 1
        self._changes.append((going, last, more or ledger, before, version, extra))
        self.tokens.update(dict.fromkeys(going, version))
        self.steps.append(_step(tables, route.alias, more or ledger, before, version))

    @property
    def versions(self) -> list[int]:
        """The version that the row of each step has once it is changed."""
        return [version for *_, version, _ in self._changes]

    def written(self, changed: Sequence[Changed]) -> None:
        """The commit is done, and has changed so many rows by each step."""
        for (numbers, last, ledger, before, version, extra), one in zip(self._changes, changed, strict=True):
            if not one.count:
                self.refused.update(numbers)
                continue
            last.store.note_ledger(last.route, ledger, before=before, version=version)
            if extra:
                _keep_ahead(last, extra)

    def is_taken(self, number: int) -> bool:
        """Return whether the quota was charged for this intent."""
        return self._reserves[number] is not None and number not in self.refused


def condition(tables: Tables, alias: str, version: str) -> str:
    """SQL that says whether the row of a route was changed by this very commit."""
    return f"EXISTS (SELECT 1 FROM {tables.route_state} WHERE alias = {alias} AND account = '' AND version = {version})"


def give_back(store: RouteStateStore) -> None:
    """Give back what was taken ahead by this process and not used."""
    with _lock:
        mine = [key for key, ahead in _ahead.items() if ahead.reserve.store is store]
        left = [_ahead.pop(key) for key in mine]
    for one in left:
        _return(one)


def _reserved(
    ledger: quota.Ledger, reserve: Reserve, count: int, now: float, *, messages: int = 1
) -> quota.Ledger | None:
    return quota.reserve(
        ledger,
        reserve.route.quotas,
        count,
        now=now,
        priority=reserve.priority,
        shares=quota_shares(),
        messages=messages,
    )


def _extra(ledger: quota.Ledger, reserve: Reserve, now: float) -> int:
    """Return the number of further reservations that are worth taking in advance."""
    quotas = reserve.route.quotas
    if reserve.priority is Priority.HIGH or min(one.window_seconds for one in quotas) < _WINDOW_AHEAD:
        return 0
    shares = quota_shares()
    left = min(quota.left(ledger, one, now=now, priority=reserve.priority, shares=shares) for one in quotas)
    return min(left // _SHARE_AHEAD, _MOST_AHEAD)


def _step(tables: Tables, alias: str, ledger: quota.Ledger, before: int, version: int) -> Step:
    """Update the row if it is unchanged and not locked, so that the commit of all lines waits for no single route."""
    changes = [json.dumps(ledger_to_json(ledger)), version]
    is_known, known = "alias = %s AND account = '' AND version = %s", [alias, before]
    name = tables.route_state
    # LIMIT: MySQL would merge the derived table into the UPDATE, forget SKIP LOCKED and wait for the row.
    free = f"(SELECT id AS free_id FROM {name} WHERE {is_known} LIMIT 1 FOR UPDATE SKIP LOCKED) AS free"
    match tables.vendor:
        case "postgresql":
            sql = (
                f"UPDATE {name} SET ledger = %s::jsonb, version = %s, updated_at = {tables.now()} "
                f"FROM {free} WHERE id = free_id"
            )
            return Step(sql, [*changes, *known])
        case "sqlite":
            sql = f"UPDATE {name} SET ledger = %s, version = %s, updated_at = {tables.now()} WHERE {is_known}"
            return Step(sql, [*changes, *known])
        case _:
            sql = (
                f"UPDATE {name} JOIN {free} ON id = free_id SET ledger = %s, version = %s, updated_at = {tables.now()}"
            )
            return Step(sql, [*known, *changes])


def _take_ahead(reserve: Reserve) -> bool:
    over = None
    with _lock:
        ahead = _ahead.get(reserve.key)
        if ahead is None:
            return False
        is_over = reserve.store.now() >= ahead.ends_at or reserve.route.quotas != ahead.reserve.route.quotas
        if is_over or not ahead.left:
            over = _ahead.pop(reserve.key)
        elif ahead.left >= reserve.count:
            ahead.left -= reserve.count
            return True
    if over is not None:
        _return(over)
    return False


def _keep_ahead(reserve: Reserve, count: int) -> None:
    now = reserve.store.now()
    ends_at = min(quota.bucket_ends_at(one, now=now) for one in reserve.route.quotas)
    with _lock:
        before = _ahead.get(reserve.key)
        _ahead[reserve.key] = _Ahead(reserve, count, now, ends_at)
    if before is not None:
        _return(before)


def _return(ahead: _Ahead) -> None:
    reserve = ahead.reserve
    reserve.store.settle(reserve.route, reserved=ahead.left, used=0, reserved_at=ahead.taken_at)


def reset() -> None:
    """Forget what was taken ahead; it counts as used."""
    with _lock:
        _ahead.clear()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _ahead.clear()  # it is the parent's


remember(__name__, after_fork=_after_fork, reset=reset)
