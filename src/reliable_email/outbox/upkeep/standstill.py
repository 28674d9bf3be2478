"""Lanes that wait although a message in them is due: which, until when, and why. Logged once, not at every look."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from reliable_email.delivery.breaker import Permission, permission
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import RouteStateStore
from reliable_email.delivery.telling.log_records import log_fields
from reliable_email.outbox.rows.held import held_routes
from reliable_email.outbox.rows.lanes import Lane
from reliable_email.records import dataclass, field
from reliable_email.store.tables.states import PriorityRank

logger = logging.getLogger("reliable_email.outbox")

_SAID_AGAIN_SECONDS = 3600.0


@dataclass(slots=True)
class _Look:
    """The result of one look at the lanes: for each mailer, the priorities that wait and those that continue."""

    waiting: dict[str, dict[PriorityRank, float | None]] = field(default_factory=dict)
    going: set[str] = field(default_factory=set)
    is_any_quota: set[str] = field(default_factory=set)


class Standstill:
    """Decides how much of a lane may go now, and keeps what stands still; asked by one thread at a time.

    Args:
        routes_of: the routes of a mailer; raises where it cannot be used, which is told where a message needs it.
        in_hand: how many recipients of a mailer the worker has taken and not yet finished.
    """

    def __init__(
        self,
        routes_of: Callable[[str], Sequence[Route]],
        store: RouteStateStore,
        in_hand: Callable[[str], int],
    ) -> None:
        self._routes_of = routes_of
        self._store = store
        self._in_hand = in_hand
        self._look = _Look()
        self._told: dict[str, int] = {}  # mailers that wait, and how loud that was said
        self._said_at: dict[str, float] = {}  # when it was said aloud for the last time
        self.is_complete = False  # something is due, and none of it may go

    def begin(self) -> None:
        """Look at all lanes anew."""
        self._look = _Look()

    def room_for(self, lane: Lane) -> int | None:
        """Return the number of recipients of a lane that its routes may take now; None for no limit."""
        try:
            routes = self._routes_of(lane.mailer) if lane.mailer else ()
        except Exception:  # noqa: BLE001 - whoever needs it for a message tells what is wrong
            routes = ()
        priority, now = lane.rank.priority, self._store.now()
        if not routes:
            self._look.going.add(lane.mailer)
            return None
        permissions = {one.alias: permission(self._store.read(one), now=now) for one in routes}
        open_routes = [one for one in routes if permissions[one.alias] is not Permission.NO]
        rooms = {one.alias: self._store.room(one, priority=priority) for one in open_routes}
        ways = [one for one in open_routes if rooms[one.alias] != 0]
        if not ways:
            self._note_waiting(lane, routes, has_quota=bool(open_routes))
            return 0
        self._look.going.add(lane.mailer)
        if ways[0].is_full() or held_routes.holds(ways[0].alias):
            return 0  # its overflow does not go to the others
        if all(permissions[one.alias] is Permission.PROBE for one in ways):
            return max(1 - self._in_hand(lane.mailer), 0)  # one message is enough to find out
        limits = [rooms[one.alias] for one in ways]
        if None in limits:
            return None
        return max(sum(limit or 0 for limit in limits) - self._in_hand(lane.mailer), 0)

    def end(self) -> None:
        """Say what has changed since the last look."""
        look = self._look
        self.is_complete = bool(look.waiting) and not look.going
        for mailer, ranks in look.waiting.items():
            if mailer in look.going or mailer in self._told or mailer not in look.is_any_quota:
                continue  # a closed route was told of when it closed
            level = self._told[mailer] = self._level(mailer)
            times = [at for at in ranks.values() if at is not None]
            goes_on = f"; it goes on at {_clock(min(times))}" if times else ""
            logger.log(
                level,
                "Mail of %s (%s) waits: the quota of its routes is used up%s",
                mailer,
                ", ".join(rank.priority.value for rank in sorted(ranks)),
                goes_on,
                extra=log_fields(cause="quota_exceeded"),
            )
        for mailer in [one for one in self._told if one in look.going]:
            level = min(self._told.pop(mailer), logging.INFO)
            logger.log(level, "Mail of %s goes on", mailer, extra=log_fields())

    def _level(self, mailer: str) -> int:
        """Return the log level for a mailer that waits: WARNING once an hour, DEBUG in between."""
        now = self._store.now()
        if now - self._said_at.get(mailer, float("-inf")) < _SAID_AGAIN_SECONDS:
            return logging.DEBUG
        self._said_at[mailer] = now
        return logging.WARNING

    def _note_waiting(self, lane: Lane, routes: Sequence[Route], *, has_quota: bool) -> None:
        times = []
        for route in routes:
            self._store.hurry(route)  # a closed one may be probed sooner while this waits
            at = self._store.goes_on_at(route, priority=lane.rank.priority)
            if at is not None:
                times.append(at)
        self._look.waiting.setdefault(lane.mailer, {})[lane.rank] = min(times, default=None)
        if has_quota:
            self._look.is_any_quota.add(lane.mailer)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
