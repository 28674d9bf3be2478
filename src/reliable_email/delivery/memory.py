"""Route state in the process: where the app is not installed, and wherever the database is away."""

import threading
import time
from collections.abc import Callable

from reliable_email.delivery import breaker, quota
from reliable_email.delivery.announcing import announce
from reliable_email.delivery.breaker import BreakerState, Permission, Phase
from reliable_email.delivery.logged import log_breaker
from reliable_email.delivery.policy import Effect
from reliable_email.delivery.route import Route
from reliable_email.delivery.shares import quota_shares
from reliable_email.delivery.state import RouteEvent
from reliable_email.delivery.submission import Priority
from reliable_email.process_state import remember


class MemoryRouteStateStore:
    """See `RouteStateStore`."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._states: dict[str, BreakerState] = {}
        self._ledgers: dict[str, quota.Ledger] = {}

    def now(self) -> float:
        """See `RouteStateStore`."""
        return self._clock()

    def read(self, route: Route) -> BreakerState:
        """See `RouteStateStore`."""
        state = self._states.get(route.alias)
        if state is None:
            state = self._states.setdefault(route.alias, BreakerState(fingerprint=route.fingerprint))
        return breaker.with_configuration(state, route.fingerprint)

    def ask(self, route: Route, *, sender_domain: str) -> Permission:
        """See `RouteStateStore`."""
        with self._lock:
            state = self.read(route)
            now = self._clock()
            answer = breaker.permission(state, now=now, sender_domain=sender_domain)
            if answer is Permission.PROBE:
                self._states[route.alias] = breaker.begin_probe(state, now=now)
            return answer

    def begin_standby_probe(self, route: Route, *, every_seconds: float) -> bool:
        """See `RouteStateStore`."""
        with self._lock:
            begun = breaker.begin_standby_probe(self.read(route), now=self._clock(), every_seconds=every_seconds)
            if begun is not None:
                self._states[route.alias] = begun
            return begun is not None

    def hurry(self, route: Route) -> None:
        """See `RouteStateStore`."""
        with self._lock:
            self._states[route.alias] = breaker.hurried(self.read(route))

    def tell(self, route: Route, event: RouteEvent) -> None:
        """See `RouteStateStore`."""
        with self._lock:
            known = self.read(route)
            told = apply_event(known, event, now=self._clock())
            if event.failure is None and told == known:
                return  # as nearly always
            before, after = self._change(route, told)
            ledger = apply_to_ledger(self.ledger(route), event, route, before, after, now=self._clock())
            self._ledgers[route.alias] = ledger
        # Whoever listens may take its time, or ask this store: not under its lock.
        announce(route.alias, before, after, sender=type(self))

    def reserve(self, route: Route, count: int, *, priority: Priority) -> bool:
        """See `RouteStateStore`."""
        if not route.quotas:
            return True
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
        """See `RouteStateStore`."""
        if not route.quotas:
            return None
        return quota.room(self.ledger(route), route.quotas, now=self._clock(), priority=priority, shares=quota_shares())

    def goes_on_at(self, route: Route, *, priority: Priority) -> float | None:
        """See `RouteStateStore`."""
        return goes_on_at(self.read(route), self.ledger(route), route, now=self._clock(), priority=priority)

    def settle(self, route: Route, *, reserved: int, used: int, reserved_at: float) -> None:
        """See `RouteStateStore`."""
        if not route.quotas or used >= reserved:
            return
        with self._lock:
            ledger = self.ledger(route)
            self._ledgers[route.alias] = quota.refund(
                ledger, route.quotas, reserved - used, now=self._clock(), at=reserved_at
            )

    def flush(self) -> None:
        """See `RouteStateStore`: nothing is written anywhere."""

    def ledger(self, route: Route) -> quota.Ledger:
        """What was used of its quotas, for surfaces."""
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


def goes_on_at(
    state: BreakerState, ledger: quota.Ledger, route: Route, *, now: float, priority: Priority
) -> float | None:
    """When breaker and quotas both let a message through; None where nobody knows."""
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


memory_store = MemoryRouteStateStore()


def process_store() -> MemoryRouteStateStore:
    """This process's."""
    return memory_store


def reset() -> None:
    """Forget what this process knows of every route."""
    memory_store.forget()


# What was learned stays true in the child; only the lock may be held by a thread that is not there.
remember(__name__, after_fork=lambda: setattr(memory_store, "_lock", threading.RLock()))


remember(__name__, reset=reset)
