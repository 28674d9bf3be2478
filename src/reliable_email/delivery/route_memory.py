"""The memory of routes between sends: the state of each breaker and the use of each quota.

All processes share it where the app's tables are there (`store.memory.route_state`), else each has its own. It is never
written or read inside a caller's transaction (a rollback would undo it, a row lock would queue every request behind
it), so an implementation answers from what the process knows and writes later; it never raises.

This module has the protocol, what every implementation does with an event, and the implementation in the process.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from django.core.exceptions import ImproperlyConfigured

from reliable_email import conf, signals
from reliable_email.classification import Failure
from reliable_email.delivery import breaker, quota, registry
from reliable_email.delivery.breaker import LONGEST_SECONDS, BreakerState, Permission, Phase
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.telling.log_records import log_breaker
from reliable_email.delivery.words import Priority
from reliable_email.process_state import remember
from reliable_email.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEvent:
    """One event on a route: the input of the state machine, also afterwards.

    Attributes:
        failure: None for a success.
        effect: the policy's word on the failure.
        sender_domain: of the message.
        receivers: domains of the recipients whose receiver refused the sender, for `CLOSE_SENDER_THERE`.
        recipients: how many of the transaction were accepted.
        message_bytes: size of the message, for `LEARN_SIZE`.
        opening: the `number` of the route's state when the transaction began; None for the one that it has now.
    """

    failure: Failure | None
    effect: Effect = Effect.NONE
    sender_domain: str = ""
    receivers: frozenset[str] = frozenset()
    recipients: int = 0
    message_bytes: int = 0
    opening: int | None = None


class RouteStateStore(Protocol):
    """A store of route state. Every method is quick, thread-safe, and raises nothing."""

    def now(self) -> float:
        """Seconds of the clock by which the states' instants are meant; the database's where it is shared."""

    def read(self, route: Route) -> BreakerState:
        """The route's state, at most a second old."""

    def ask(self, route: Route, *, sender_domain: str) -> Permission:
        """Return whether a message may use the route. PROBE is given to one caller, which then owns the probe."""

    def begin_standby_probe(self, route: Route, *, every_seconds: float) -> bool:
        """Take the turn to probe the route without a message; True for one caller alone, who then does and tells."""

    def hurry(self, route: Route) -> None:
        """Mail waits for the route, which nothing else could take: let it be probed within a minute, where it may."""

    def tell(self, route: Route, event: RouteEvent) -> None:
        """Note what happened."""

    def reserve(self, route: Route, count: int, *, priority: Priority) -> bool:
        """Take so many recipients from the route's quotas; False, and nothing is taken, where they do not fit."""

    def room(self, route: Route, *, priority: Priority) -> int | None:
        """Return the number of recipients that still fit into the route's quotas; None for no limit."""

    def goes_on_at(self, route: Route, *, priority: Priority) -> float | None:
        """Return the time, by its clock, from which the route may take a message again; None if not known."""

    def settle(self, route: Route, *, reserved: int, used: int, reserved_at: float) -> None:
        """Give back what was reserved at that moment of its clock, and not used."""

    def flush(self) -> None:
        """Write what was noted where it could not be written at once."""


class _Restraint(threading.local):
    """The database access that this thread is allowed.

    Attributes:
        reads_nothing: it may ask for no route.
        writes_nothing: it may not write what it knows of routes.
    """

    reads_nothing = False
    writes_nothing = False


restraint = _Restraint()
remember(__name__, after_fork=restraint.__dict__.clear)  # whatever the thread that forked was, its child is none such


@contextmanager
def answering_from_memory() -> Iterator[None]:
    """Let this thread ask no database for routes: it answers by what the process knows, and notes what it is told.

    For a thread that many wait for, such as the one that drives a worker's connections. Whoever uses it sees to it that
    other threads read now and then, and flush.
    """
    before = restraint.reads_nothing, restraint.writes_nothing
    restraint.reads_nothing = restraint.writes_nothing = True
    try:
        yield
    finally:
        restraint.reads_nothing, restraint.writes_nothing = before


@contextmanager
def writing_nothing() -> Iterator[None]:
    """Let this thread read routes and write none: a row that somebody holds must not hold up whoever reads."""
    before = restraint.writes_nothing
    restraint.writes_nothing = True
    try:
        yield
    finally:
        restraint.writes_nothing = before


def quota_shares() -> Mapping[Priority, float]:
    """Return how much of a quota each priority may use on this site.

    Their defaults are used where RELIABLE_EMAIL cannot be read, which is a check's business.
    """
    try:
        settings = conf.get()
    except ImproperlyConfigured:
        return quota.SHARES
    return quota.shares(soft_limit=settings.quota_soft_limit, reserve=settings.quota_reserve)


def goes_on_at(
    state: BreakerState, ledger: quota.Ledger, route: Route, *, now: float, priority: Priority
) -> float | None:
    """Return the time from which breaker and quotas both let a message through; None if it is not known."""
    opens_at = breaker.opens_at(state, now=now)
    if opens_at is None or not route.quotas:
        return opens_at
    has_room_at = quota.room_at(ledger, route.quotas, now=now, priority=priority, shares=quota_shares())
    return None if has_room_at is None else max(opens_at, has_room_at)


def apply_to_ledger(
    ledger: quota.Ledger, event: RouteEvent, route: Route, before: BreakerState, after: BreakerState, *, now: float
) -> quota.Ledger:
    """The ledger after an event: the provider may say that its quota is used up, of the account as it is now."""
    if event.effect is not Effect.EXHAUSTED or (event.opening is not None and event.opening < before.number):
        return ledger
    # For no longer than the route is closed: the ledger must not outlast what the provider said.
    until = after.until if after.phase in (Phase.OPEN, Phase.HALF_OPEN) else None
    return quota.lowered(ledger, route.quotas, now=now, until=until)


def apply_event(state: BreakerState, event: RouteEvent, *, now: float) -> BreakerState:
    """The breaker's next state; shared by every store."""
    if event.failure is None:
        return breaker.after_success(state, opening=event.opening, sender_domain=event.sender_domain)
    return breaker.after_failure(
        state,
        event.effect,
        event.failure,
        now=now,
        opening=event.opening,
        sender_domain=event.sender_domain,
        receivers=event.receivers,
        recipients=event.recipients,
        message_bytes=event.message_bytes,
    )


def announce(alias: str, before: BreakerState, after: BreakerState, *, sender: type) -> None:
    """Send the signal `route_opened` or `route_closed` where one state leads to the other.

    Args:
        sender: the class of the store that noticed.
    """
    was_in_use, is_in_use = before.phase is Phase.CLOSED, after.phase is Phase.CLOSED
    if was_in_use and not is_in_use:
        signals.route_opened.send_robust(
            sender=sender,
            route=alias,
            reason=after.reason,
            until=_until(after),
            evidence=after.evidence or after.paused_by,
        )
    if is_in_use and not was_in_use:
        signals.route_closed.send_robust(sender=sender, route=alias, evidence=before.evidence)


def _until(state: BreakerState) -> datetime | None:
    if state.needs_person or state.phase is Phase.PAUSED:
        return None
    now = time.time()
    return datetime.fromtimestamp(min(max(state.until, now), now + LONGEST_SECONDS), tz=UTC)


class MemoryRouteStateStore:
    """Keep what is remembered in the process: without the app's tables, and in tests. See `RouteStateStore`."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._states: dict[str, BreakerState] = {}
        self._ledgers: dict[str, quota.Ledger] = {}

    def now(self) -> float:
        """Return the time of the process's clock, in seconds."""
        return self._clock()

    def read(self, route: Route) -> BreakerState:
        """Return the state of the route's breaker, reset if the route's configuration has changed."""
        state = self._states.get(route.alias)
        if state is None:
            state = self._states.setdefault(route.alias, BreakerState(fingerprint=route.fingerprint))
        return breaker.with_configuration(state, route.fingerprint)

    def ask(self, route: Route, *, sender_domain: str) -> Permission:
        """Return whether a message may use the route; gives the probe to one caller."""
        # Asked and noted under one lock: two callers who both found the time come would both probe a broken server.
        with self._lock:
            state = self.read(route)
            now = self._clock()
            answer = breaker.permission(state, now=now, sender_domain=sender_domain)
            if answer is Permission.PROBE:
                self._states[route.alias] = breaker.begin_probe(state, now=now)
            return answer

    def begin_standby_probe(self, route: Route, *, every_seconds: float) -> bool:
        """Begin a standby probe if the last one is `every_seconds` old; return whether it began."""
        with self._lock:
            begun = breaker.begin_standby_probe(self.read(route), now=self._clock(), every_seconds=every_seconds)
            if begun is not None:
                self._states[route.alias] = begun
            return begun is not None

    def hurry(self, route: Route) -> None:
        """Make the next probe of a closed route earlier, because mail waits for it."""
        with self._lock:
            self._states[route.alias] = breaker.hurried(self.read(route))

    def tell(self, route: Route, event: RouteEvent) -> None:
        """Apply an event to the route's state, and send the signals of a change."""
        with self._lock:
            known = self.read(route)
            # `apply_event` ignores what belongs to an earlier opening: a late success must not close a later one.
            told = apply_event(known, event, now=self._clock())
            if event.failure is None and told == known:
                return  # as nearly always
            before, after = self._change(route, told)
            ledger = apply_to_ledger(self.ledger(route), event, route, before, after, now=self._clock())
            self._ledgers[route.alias] = ledger
        # Whoever listens may take its time, or ask this store: not under its lock.
        announce(route.alias, before, after, sender=type(self))

    def reserve(self, route: Route, count: int, *, priority: Priority) -> bool:
        """Take from the route's quotas; return whether all of it fitted."""
        if not route.quotas:
            return True
        # Counted and taken under one lock: between the two another thread could take the same room.
        with self._lock:
            ledger = self.ledger(route)
            taken = quota.reserve(
                ledger, route.quotas, count, now=self._clock(), priority=priority, shares=quota_shares()
            )
            if taken is None:
                return False
            self._ledgers[route.alias] = taken
            return True

    def room(self, route: Route, *, priority: Priority) -> int | None:
        """Return the number of recipients that still fit into the quotas; None for no limit."""
        if not route.quotas:
            return None
        return quota.room(self.ledger(route), route.quotas, now=self._clock(), priority=priority, shares=quota_shares())

    def goes_on_at(self, route: Route, *, priority: Priority) -> float | None:
        """Return the time from which the route may take a message again; None if it is not known."""
        return goes_on_at(self.read(route), self.ledger(route), route, now=self._clock(), priority=priority)

    def settle(self, route: Route, *, reserved: int, used: int, reserved_at: float) -> None:
        """Give back the part of a reservation that was not used."""
        if not route.quotas or used >= reserved:
            return
        with self._lock:
            ledger = self.ledger(route)
            self._ledgers[route.alias] = quota.refund(
                ledger, route.quotas, reserved - used, now=self._clock(), at=reserved_at
            )

    def flush(self) -> None:
        """Do nothing: this store writes nowhere."""

    def ledger(self, route: Route) -> quota.Ledger:
        """Return the use of the route's quotas, to show it."""
        return quota.with_configuration(self._ledgers.get(route.alias, quota.Ledger()), route.fingerprint)

    def pause(self, route: Route, *, by: str) -> None:
        """Take a route out of use in this process."""
        with self._lock:
            before, after = self._change(route, breaker.pause(self.read(route), by=by, now=self._clock()))
        announce(route.alias, before, after, sender=type(self))

    def resume(self, route: Route) -> None:
        """Put it back."""
        with self._lock:
            before, after = self._change(route, breaker.resume(self.read(route)))
            self._ledgers[route.alias] = quota.without_learned_limits(self.ledger(route))
        announce(route.alias, before, after, sender=type(self))

    def _change(self, route: Route, after: BreakerState) -> tuple[BreakerState, BreakerState]:
        before, self._states[route.alias] = self.read(route), after
        log_breaker(route.alias, before, after, now=self._clock())
        return before, after

    def forget(self) -> None:
        """Forget everything."""
        self._lock = threading.RLock()
        self._states.clear()
        self._ledgers.clear()


memory_store = MemoryRouteStateStore()
# What was learned stays true in the child; only the lock may be held by a thread that is not there.
remember(__name__, after_fork=lambda: setattr(memory_store, "_lock", threading.RLock()), reset=memory_store.forget)


def store_in_use() -> RouteStateStore:
    """Return the store that the installed app has registered, else this process's."""
    return registry.store_factory() if registry.store_factory is not None else memory_store
