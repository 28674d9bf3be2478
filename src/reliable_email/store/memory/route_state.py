"""Route state that all processes share: one row for each route, changed by a conditional UPDATE on its version.

It is never read nor written inside a caller's transaction: there it answers from what the process knows, remembers what
it was told, and writes that at the first call outside of one, or at `flush`. Where the tables are missing or the
database is away, the process goes on with what it knows. Nothing here raises.

The clock is the database's, as an offset that is measured now and then: breakers and quotas are about minutes.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from django.db import DEFAULT_DB_ALIAS, IntegrityError, OperationalError, connections, router, transaction
from django.utils import timezone

from reliable_email.delivery import breaker, quota
from reliable_email.delivery.breaker import BreakerState, Permission
from reliable_email.delivery.route import Route
from reliable_email.delivery.route_memory import (
    RouteEvent,
    announce,
    apply_event,
    apply_to_ledger,
    goes_on_at,
    quota_shares,
    restraint,
)
from reliable_email.delivery.submission import Priority
from reliable_email.delivery.telling.log_records import log_breaker, log_fields
from reliable_email.process_state import remember
from reliable_email.store.memory.learned_limits import shared_memory, use
from reliable_email.store.memory.openings import note_opening
from reliable_email.store.memory.route_rows import (
    NOTHING,
    KnownRoute,
    breaker_from_json,
    breaker_to_json,
    for_configuration,
    ledger_from_json,
    ledger_to_json,
)
from reliable_email.store.sql.away import away_errors, is_away_for_all
from reliable_email.store.sql.clock import DatabaseNow, database_now
from reliable_email.store.sql.outages import is_deadlock, sentence
from reliable_email.store.sql.texts import storable_json
from reliable_email.store.tables.shared import RouteState

logger = logging.getLogger("reliable_email.store")

_FRESH_SECONDS = 1.0
_OFFSET_SECONDS = 60.0
_AWAY_SECONDS = 10.0
_TRIES = 20
_FREE_TRIES = 5  # then the row is held while it is changed, so that somebody gets through
_TOGETHER = 200


# A change of what is known; None where it does not want to change it.
_Change = Callable[[KnownRoute, float], KnownRoute | None]


_stores: "WeakSet[DatabaseRouteStateStore]" = WeakSet()


class DatabaseRouteStateStore:
    """A store of route state in the database, shared by all processes.

    Args:
        using: alias of the database; None for the router's choice.

    It is long because it is all of `RouteStateStore`, and each method is a change of the same rows under the same lock.
    """

    def __init__(self, using: str | None = None) -> None:
        self._using = using
        self._lock = threading.RLock()
        self._known: dict[str, KnownRoute] = {}
        # By alias: what is known, for which configuration, and what it is for that one; asked for with every message.
        self._configured: dict[str, tuple[KnownRoute, str, KnownRoute]] = {}
        self._unchanged_by_success: dict[str, KnownRoute] = {}
        self._pending: list[tuple[Route, _Change]] = []
        self._flushing = 0
        self._offset_seconds = 0.0
        self._offset_at = float("-inf")
        self._away_until = float("-inf")
        _stores.add(self)
        use()

    def begin_in_child(self) -> None:
        """Replace the lock and drop unwritten state after a fork, because the parent writes it."""
        self._lock = threading.RLock()
        self._pending = []

    @property
    def using(self) -> str:
        """The alias of the database."""
        return self._using or router.db_for_write(RouteState) or DEFAULT_DB_ALIAS

    # The protocol.

    def now(self) -> float:
        """Return the database's time, in seconds."""
        return self._now()

    def read(self, route: Route) -> BreakerState:
        """Return the state of the route's breaker, at most a moment old."""
        return self._look(route, max_age_seconds=_FRESH_SECONDS).breaker

    def ask(self, route: Route, *, sender_domain: str) -> Permission:
        """Return whether a message may use the route; gives the probe to one caller of all processes."""
        answer = breaker.permission(self.read(route), now=self._now(), sender_domain=sender_domain)
        if answer is not Permission.PROBE:
            return answer
        is_mine = False

        def take_probe(known: KnownRoute, now: float) -> KnownRoute | None:
            nonlocal is_mine
            is_mine = breaker.permission(known.breaker, now=now, sender_domain=sender_domain) is Permission.PROBE
            return replace(known, breaker=breaker.begin_probe(known.breaker, now=now)) if is_mine else None

        self._change(route, take_probe)
        return Permission.PROBE if is_mine else Permission.NO

    def begin_standby_probe(self, route: Route, *, every_seconds: float) -> bool:
        """Begin a standby probe if the last one is `every_seconds` old; return whether this process began it."""

        def begin(state: BreakerState, now: float) -> BreakerState | None:
            return breaker.begin_standby_probe(state, now=now, every_seconds=every_seconds)

        if begin(self.read(route), self._now()) is None:
            return False
        is_mine = False

        def take_turn(known: KnownRoute, now: float) -> KnownRoute | None:
            nonlocal is_mine
            begun = begin(known.breaker, now)
            is_mine = begun is not None
            return replace(known, breaker=begun) if begun is not None else None

        self._change(route, take_turn)
        return is_mine

    def hurry(self, route: Route) -> None:
        """Make the next probe of a closed route earlier, because mail waits for it."""

        def bring_forward(known: KnownRoute, now: float) -> KnownRoute | None:
            state = breaker.hurried(known.breaker)
            return None if state is known.breaker else replace(known, breaker=state)

        state = self.read(route)
        if breaker.hurried(state) is not state:
            self._change(route, bring_forward)

    def tell(self, route: Route, event: RouteEvent) -> None:
        """Apply an event to the route's state, and send the signals of a change."""

        def note(known: KnownRoute, now: float) -> KnownRoute | None:
            state = apply_event(known.breaker, event, now=now)
            ledger = apply_to_ledger(known.ledger, event, route, known.breaker, state, now=now)
            is_same = state == known.breaker and ledger == known.ledger
            return None if is_same else replace(known, breaker=state, ledger=ledger)

        if event.failure is None:
            # The usual case: nothing to change, found out without asking the database.
            known = self._look(route, max_age_seconds=_FRESH_SECONDS)
            if self._unchanged_by_success.get(route.alias) is known:
                return
            if note(known, self._now()) is None:
                if not known.breaker.closed_senders:  # else it depends on the sender
                    self._unchanged_by_success[route.alias] = known
                return
        self._change(route, note)

    def reserve(self, route: Route, count: int, *, priority: Priority) -> bool:
        """Take from the route's quotas; return whether all of it fitted."""
        if not route.quotas:
            return True
        fits = False

        def take(known: KnownRoute, now: float) -> KnownRoute | None:
            nonlocal fits
            ledger = quota.reserve(known.ledger, route.quotas, count, now=now, priority=priority, shares=quota_shares())
            fits = ledger is not None
            return replace(known, ledger=ledger) if ledger is not None else None

        def note(known: KnownRoute, now: float) -> KnownRoute:
            # It was given before the row could be asked, and is used by now: room or not, it counts.
            return replace(known, ledger=quota.spend(known.ledger, route.quotas, count, now=now))

        # Where the row is there, and nobody gets it, nothing was taken.
        return self._change(route, take, later=note) and fits

    def room(self, route: Route, *, priority: Priority) -> int | None:
        """Return the number of recipients that still fit into the quotas; None for no limit."""
        if not route.quotas:
            return None
        return quota.room(self.ledger(route), route.quotas, now=self._now(), priority=priority, shares=quota_shares())

    def goes_on_at(self, route: Route, *, priority: Priority) -> float | None:
        """Return the time from which the route may take a message again; None if it is not known."""
        known = self._look(route, max_age_seconds=_FRESH_SECONDS)
        return goes_on_at(known.breaker, known.ledger, route, now=self._now(), priority=priority)

    def settle(self, route: Route, *, reserved: int, used: int, reserved_at: float) -> None:
        """Give back the part of a reservation that was not used."""
        if route.quotas and used < reserved:
            rest = reserved - used

            def give_back(known: KnownRoute, now: float) -> KnownRoute:
                return replace(known, ledger=quota.refund(known.ledger, route.quotas, rest, now=now, at=reserved_at))

            self._change(route, give_back)

    def known_ledger(self, route: Route) -> tuple[quota.Ledger, int | None]:
        """Return the known ledger and the version of its row; None as the version if the row must be read first."""
        with self._lock:
            known = for_configuration(self._known.get(route.alias, NOTHING), route)
            # What is noted is in the ledger that is known, and would be done once more to a row that had it already.
            is_behind = bool(self._flushing) or any(one.alias == route.alias for one, _ in self._pending)
        return known.ledger, None if is_behind else known.version

    def note_ledger(self, route: Route, ledger: quota.Ledger, *, before: int, version: int) -> None:
        """Note that another commit wrote the ledger to the row that had the version `before`."""
        with self._lock:
            known = self._known.get(route.alias)
            if known is not None and known.version == before:
                self._known[route.alias] = replace(known, ledger=ledger, version=version)

    def pause(self, route: Route, *, by: str) -> None:
        """Take a route out of use, in all processes."""
        self._change(route, lambda known, now: replace(known, breaker=breaker.pause(known.breaker, by=by, now=now)))

    def resume(self, route: Route) -> None:
        """Put it back, with a clean record."""

        def put_back(known: KnownRoute, now: float) -> KnownRoute:
            ledger = quota.without_learned_limits(known.ledger)
            return replace(known, breaker=breaker.resume(known.breaker), ledger=ledger)

        self._change(route, put_back)

    def ledger(self, route: Route) -> quota.Ledger:
        """Return the use of the route's quotas, to show it."""
        return self._look(route, max_age_seconds=_FRESH_SECONDS).ledger

    @property
    def is_behind(self) -> bool:
        """True if something is still to be written."""
        return bool(self._pending)

    def flush(self) -> None:
        """Write what was remembered inside transactions, if this is outside of one."""
        is_behind = self._pending or shared_memory.is_behind
        if not is_behind or restraint.writes_nothing or not self._may_use_database():
            return
        shared_memory.exchange(self.using, now=self._now(), may_write=True)
        with self._lock:
            pending, self._pending = self._pending, []
            self._flushing += 1
        try:
            for route, change in pending:
                self._change(route, change)
        finally:
            with self._lock:
                self._flushing -= 1

    # How.

    def _may_use_database(self) -> bool:
        return (
            not restraint.reads_nothing
            and not connections[self.using].in_atomic_block
            and time.monotonic() >= self._away_until
        )

    def _now(self) -> float:
        if time.monotonic() - self._offset_at > _OFFSET_SECONDS and self._may_use_database():
            try:
                moment = database_now(self.using)
            except away_errors() as error:
                self._is_away(error)
            else:
                if timezone.is_naive(moment):
                    moment = timezone.make_aware(moment)
                self._offset_seconds = moment.timestamp() - time.time()
                self._offset_at = time.monotonic()
        return time.time() + self._offset_seconds

    def _look(self, route: Route, *, max_age_seconds: float) -> KnownRoute:
        alias, fingerprint = route.alias, route.fingerprint
        known = self._known.get(alias, NOTHING)
        if time.monotonic() - known.read_at >= max_age_seconds and self._may_use_database():
            self.flush()
            try:
                shared_memory.exchange(self.using, now=self._now(), may_write=False)
                known = self._load_together(alias, max_age_seconds)
            except away_errors() as error:
                self._is_away(error)
        before = self._configured.get(alias)
        if before is not None and before[0] is known and before[1] == fingerprint:
            return before[2]
        configured = for_configuration(known, route)
        self._configured[alias] = known, fingerprint, configured
        return configured

    def _load_together(self, alias: str, max_age_seconds: float) -> KnownRoute:
        """Read the row, and in the same statement those of all routes that were asked for and are as old."""
        now = time.monotonic()
        stale = [one for one, known in list(self._known.items()) if now - known.read_at >= max_age_seconds]
        wanted = {alias, *stale[:_TOGETHER]}
        rows = {row.alias: row for row in RouteState._base_manager.using(self.using).filter(alias__in=wanted)}
        for one in wanted - {alias}:
            self._loaded(one, rows.get(one))
        return self._loaded(alias, rows.get(alias))

    def _loaded(self, alias: str, row: RouteState | None) -> KnownRoute:
        known = KnownRoute(read_at=time.monotonic())
        if row is not None:
            state, ledger = breaker_from_json(row.breaker), ledger_from_json(row.ledger)
            known = replace(known, breaker=state, ledger=ledger, version=row.version)
        with self._lock:
            before = self._known.get(alias)
            self._known[alias] = known
        if before is not None:
            announce(alias, before.breaker, known.breaker, sender=type(self))
        return known

    def _change(self, route: Route, change: _Change, *, later: _Change | None = None) -> bool:
        """Change the row; or what the process knows, where the row cannot be reached now: it is changed later.

        What `later` replaces cannot be refused then: False, and nothing is done, where too many change the row.
        """
        if not restraint.writes_nothing and self._may_use_database():
            self.flush()
            try:
                if self._change_row(route, change):
                    return True
                if later is not None:
                    return False
            except away_errors() as error:
                self._is_away(error)
        with self._lock:
            known = self._known.get(route.alias, NOTHING)
            changed = self._changed(route, known, change)
            if changed is not None:
                self._known[route.alias] = changed
                self._pending.append((route, later or change))
        return True

    def _change_row(self, route: Route, change: _Change) -> bool:
        alias = route.alias
        for number in range(_TRIES):
            try:
                if number < _FREE_TRIES:
                    known, changed, is_written = self._try(route, change)
                else:
                    with transaction.atomic(self.using):
                        RouteState._base_manager.using(self.using).select_for_update().filter(alias=alias).first()
                        known, changed, is_written = self._try(route, change)
            except OperationalError as error:
                # The loser of a deadlock is a lost race, and no database that is away: there, a quota would be guessed.
                if not is_deadlock(error) or number + 1 == _TRIES:
                    raise
                continue
            if changed is None:
                return True
            if is_written:
                # By whoever wrote it alone: the others only take notice.
                note_opening(self.using, alias, known.breaker, changed.breaker)
                log_breaker(alias, known.breaker, changed.breaker, now=self._now())
                announce(alias, known.breaker, changed.breaker, sender=type(self))
                return True
        words = "The state of route %s is changed by too many at once; it is noted later"
        logger.warning(words, route.alias, extra=log_fields(route=route.alias))
        return False

    def _try(self, route: Route, change: _Change) -> tuple[KnownRoute, KnownRoute | None, bool]:
        """Try a change once; return what was known, what it is changed to, and whether that was written."""
        alias = route.alias
        known = self._loaded(alias, RouteState._base_manager.using(self.using).filter(alias=alias).first())
        changed = self._changed(route, known, change)
        return known, changed, changed is not None and self._write(alias, known, changed)

    def _changed(self, route: Route, known: KnownRoute, change: _Change) -> KnownRoute | None:
        return change(for_configuration(known, route), self._now())

    def _write(self, alias: str, before: KnownRoute, after: KnownRoute) -> bool:
        rows = RouteState._base_manager.using(self.using)
        version = (before.version or 0) + 1
        values: dict[str, Any] = {
            "breaker": storable_json(connections[self.using], breaker_to_json(after.breaker)),
            "ledger": ledger_to_json(after.ledger),
            "version": version,
            "updated_at": DatabaseNow(),
        }
        if before.version is None:
            try:
                with transaction.atomic(self.using):
                    rows.create(alias=alias, **values)
            except IntegrityError:
                return False
        elif not rows.filter(alias=alias, version=before.version).update(**values):
            return False
        with self._lock:
            self._known[alias] = replace(after, version=version, read_at=time.monotonic())
        return True

    def _is_away(self, error: Exception) -> None:
        if time.monotonic() >= self._away_until:
            words = "Route state is kept in this process for now. %s"
            logger.warning(words, sentence(self.using, error), extra=log_fields())
        if is_away_for_all(error):
            self._away_until = time.monotonic() + _AWAY_SECONDS


_store: DatabaseRouteStateStore | None = None


def database_store() -> DatabaseRouteStateStore:
    """Return this process's store."""
    global _store
    if _store is None:
        _store = DatabaseRouteStateStore()
    return _store


def flush() -> None:
    """Write what this process has not written yet, where it has asked for the state of any route."""
    if _store is not None:
        _store.flush()


def reset() -> None:
    """Forget what this process knows; the rows stay."""
    global _store
    _store = None


def _after_fork() -> None:
    for store in list(_stores):
        store.begin_in_child()


remember(__name__, after_fork=_after_fork, reset=reset)
